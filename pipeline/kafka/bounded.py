"""Bounded waits, also for calls that ignore a cancellation."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


async def within(seconds: float, action: Coroutine[Any, Any, _Result]) -> _Result:
    """Awaits the action and returns the result. Raises TimeoutError after `seconds`.

    `asyncio.wait_for` cancels the action too, but then waits until the action has ended, however long that takes. This
    function cancels the action and leaves it.
    """
    task = asyncio.ensure_future(action)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        abandon(task)
    if not task.done():
        raise TimeoutError(f"no answer within {seconds:g} s")
    return task.result()


def abandon(task: "asyncio.Task[Any]") -> None:
    """Cancels an unfinished task and marks the result as retrieved, so the loop logs nothing."""
    if not task.done():
        task.cancel()
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

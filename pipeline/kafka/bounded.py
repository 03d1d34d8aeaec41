"""Waiting that ends in time, whatever it waits for."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


async def within(seconds: float, action: Coroutine[Any, Any, _Result]) -> _Result:
    """Returns what the action returns. Raises TimeoutError after `seconds`.

    `asyncio.wait_for` cancels the action too, but then waits until the action has ended, however long that takes; this
    leaves the action to itself.
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
    """Cancels a task that has not ended; nobody is going to ask for its result, and the loop need not complain."""
    if not task.done():
        task.cancel()
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

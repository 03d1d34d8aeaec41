"""Waiting that ends in time, whatever it waits for."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from pipeline.kafka.bounded import within
from tests.patience import SOON


def _run(test: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await test()

    asyncio.run(run())


def test_an_answer_in_time_is_returned_and_an_error_raised() -> None:
    async def answer() -> int:
        return 7

    async def refuse() -> int:
        raise ValueError("no")

    async def test() -> None:
        assert await within(5, answer()) == 7
        with pytest.raises(ValueError, match="no"):
            await within(5, refuse())

    _run(test)


def test_who_does_not_care_about_a_cancellation_is_left_behind() -> None:
    told: list[str] = []

    async def stubborn() -> None:
        for _ in range(2):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3 * SOON)
            told.append("cancelled")

    async def test() -> None:
        started = time.monotonic()
        with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
            await within(0.05, stubborn())
        assert time.monotonic() - started < SOON
        await asyncio.sleep(0)
        assert told == ["cancelled"]

    _run(test)


def test_who_is_cancelled_cancels_what_it_waits_for() -> None:
    ended = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def test() -> None:
        waiting = asyncio.create_task(within(60, wait()))
        await asyncio.sleep(0.01)
        waiting.cancel()
        async with asyncio.timeout(SOON):
            await ended.wait()

    _run(test)

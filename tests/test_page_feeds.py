"""Feeds of the page: one query a tick however many people watch, the newest state for slow ones, and trouble said."""

import asyncio
import json
import time
from collections.abc import Callable

import pytest

from pipeline.errors import Refused, SchemaDrift, Unavailable
from pipeline.page import feeds as feeds_module
from pipeline.page.feeds import FeedKey, Feeds, PartAnswer, Viewer, message
from tests.patience import SOON

KEY = FeedKey("rising")


class Counting:
    """A part whose content is how often it was read; `failing` is raised instead."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds = seconds
        self.reads = 0
        self.failing: Exception | None = None
        self.took = 0.0
        self.content: Callable[[int], PartAnswer] = lambda reads: PartAnswer({"reads": reads})

    async def read(self) -> PartAnswer:
        self.reads += 1
        reads = self.reads
        await asyncio.sleep(self.took)
        if self.failing is not None:
            raise self.failing
        return self.content(reads)


def parsed(raw: bytes) -> list[tuple[str, dict[str, object]]]:
    """The events of a piece of a stream: name and content."""
    found = []
    for block in raw.decode().split("\n\n"):
        if block:
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_two_hundred_viewers_cost_one_query_a_tick() -> None:
    async def watch(viewers: int) -> tuple[int, int]:
        part, started = Counting(), time.monotonic()
        feeds = Feeds(lambda key: part)
        everybody = [feeds.join([KEY]) for _ in range(viewers)]
        got = await asyncio.gather(*(viewer.messages(5) for viewer in everybody))
        assert {parsed(raw)[0][0] for raw in got} == {"rising"}
        await asyncio.sleep(1)
        await feeds.stop()
        return part.reads, 1 + int((time.monotonic() - started) / part.seconds)

    for viewers in (1, 200):
        reads, ticks = asyncio.run(watch(viewers))
        assert 3 <= reads <= ticks


def test_a_slow_viewer_gets_the_newest_state_alone() -> None:
    async def scenario() -> None:
        viewer = Viewer()
        viewer.offer(KEY, b"whole 1")
        viewer.offer(KEY, b"whole 2", b"change 2")
        # The change builds on a state that was never fetched, so all of it is sent.
        assert await viewer.messages(1) == b"whole 2"
        viewer.offer(KEY, b"whole 3", b"change 3")
        assert await viewer.messages(1) == b"change 3"
        assert await viewer.messages(0.01) == b""

    asyncio.run(scenario())


def test_changes_reach_those_who_have_the_state_before_and_newcomers_get_all() -> None:
    async def scenario() -> None:
        part = Counting()
        part.content = lambda reads: PartAnswer({"all": reads}, {"only": reads})
        feeds = Feeds(lambda key: part)
        first = feeds.join([KEY])
        assert parsed(await first.messages(5)) == [("rising", {"all": 1})]
        assert parsed(await first.messages(5)) == [("rising", {"only": 2})]
        second = feeds.join([KEY])
        [(_, content)] = parsed(await second.messages(5))
        assert "all" in content
        await feeds.stop()

    asyncio.run(scenario())


def test_equal_content_is_not_sent_again() -> None:
    async def scenario() -> None:
        part = Counting()
        part.content = lambda reads: PartAnswer({"same": True})
        feeds = Feeds(lambda key: part)
        viewer = feeds.join([KEY])
        assert parsed(await viewer.messages(5)) == [("rising", {"same": True})]
        assert await viewer.messages(0.4) == b""
        assert part.reads > 2
        await feeds.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (Unavailable("away"), "away"),
        (SchemaDrift("no table"), "schema"),
        (Refused("no grant"), "refused"),
        (ValueError("a defect"), "fault"),
    ],
)
def test_trouble_is_said_and_ends(monkeypatch: pytest.MonkeyPatch, failure: Exception, cause: str) -> None:
    monkeypatch.setattr(feeds_module, "RETRY_SECONDS", 0.05)

    async def scenario() -> None:
        part = Counting()
        part.content = lambda reads: PartAnswer({"same": True}, {"change": True})
        feeds = Feeds(lambda key: part)
        viewer = feeds.join([KEY])
        assert parsed(await viewer.messages(5)) == [("rising", {"same": True})]
        part.failing = failure
        [(name, content)] = parsed(await viewer.messages(5))
        assert (name, content["cause"], content["part"]) == ("trouble", cause, "rising")
        part.failing = None
        while (raw := await viewer.messages(5)) and parsed(raw)[0][0] == "trouble":
            pass
        # Content that is as before is sent again, so that the browser takes the notice away.
        assert parsed(raw) == [("rising", {"same": True})]
        await feeds.stop()

    asyncio.run(scenario())


def test_a_feed_ends_after_its_last_viewer_and_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds_module, "LINGER_SECONDS", 0.1)

    async def scenario() -> None:
        parts: list[Counting] = []

        def make(key: FeedKey) -> Counting:
            parts.append(Counting())
            return parts[-1]

        feeds = Feeds(make)
        viewer = feeds.join([KEY])
        await viewer.messages(5)
        assert feeds.viewers == 1
        feeds.leave(viewer, [KEY])
        await asyncio.sleep(0.5)
        reads = parts[0].reads
        await asyncio.sleep(0.3)
        assert (feeds.viewers, parts[0].reads) == (0, reads)
        again = feeds.join([KEY])
        await again.messages(5)
        assert len(parts) == 2
        await feeds.stop()

    asyncio.run(scenario())


def test_a_slow_database_is_asked_less_often() -> None:
    async def scenario() -> tuple[int, float]:
        part, started = Counting(seconds=0.01), time.monotonic()
        part.took = 0.2
        feeds = Feeds(lambda key: part)
        feeds.join([KEY])
        await asyncio.sleep(2.1)
        await feeds.stop()
        return part.reads, time.monotonic() - started

    # A read takes 0.2 s and a rest as long follows: at most six begin within 2.1 s.
    reads, seconds = asyncio.run(scenario())
    assert 3 <= reads <= 1 + seconds / 0.4


def test_closing_wakes_viewers() -> None:
    async def scenario() -> None:
        part = Counting(seconds=60)
        feeds = Feeds(lambda key: part)
        viewer = feeds.join([KEY])
        await viewer.messages(5)
        waiting = asyncio.create_task(viewer.messages(60))
        await asyncio.sleep(0.05)
        feeds.close()
        assert await asyncio.wait_for(waiting, SOON) == b""
        assert feeds.is_closed
        await feeds.stop()

    asyncio.run(scenario())


def test_a_message_is_one_line_of_data_whatever_the_text() -> None:
    raw = message("post", {"text": "two\nlines\r\n\n<script>\u2028\u202e"})
    assert parsed(raw) == [("post", {"text": "two\nlines\r\n\n<script>\u2028\u202e"})]
    assert raw.count(b"\n") == 3

"""Feeds: one query a tick, however many people watch.

A feed belongs to a part of a view and its argument (`post` of post p1). It runs while somebody watches, asks the
database once a tick, and hands the same bytes to all viewers, if they differ from those of the tick before. A viewer
who reads slowly gets the newest state, never a queue of old ones.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pipeline.errors import EngagementError, Refused, SchemaDrift
from pipeline.observability.outages import OutageLog

LINGER_SECONDS: Final = 5.0
"""How long a feed runs on after its last viewer: a reload does not start it anew."""

REST: Final = 1.0
"""A feed rests at least this many times as long as its last reading took: a slow database is asked less often."""

RETRY_SECONDS: Final = 3.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartAnswer:
    """The content of a part: all of it, and what changed since the last tick where that is much less."""

    whole: Any
    change: Any = None


class Part(Protocol):
    """A part of a view, read anew at each tick."""

    seconds: float
    """Shortest time between two ticks."""

    async def read(self) -> PartAnswer:
        """Returns the content as of now. Raises EngagementError."""


@dataclass(frozen=True)
class FeedKey:
    """The name of a part, and its subject: a post, conversation, author or spike."""

    part: str
    subject: str = ""


class Viewer:
    """The unsent messages of a viewer: at most one of each part, the newest."""

    def __init__(self) -> None:
        self._waiting: dict[FeedKey, bytes] = {}
        self._some = asyncio.Event()

    def offer(self, key: FeedKey, whole: bytes, change: bytes | None = None) -> None:
        """Leaves a message: the change, or all of it where an earlier change was not fetched."""
        self._waiting[key] = whole if change is None or key in self._waiting else change
        self._some.set()

    def wake(self) -> None:
        """Lets `messages` return now."""
        self._some.set()

    async def messages(self, seconds: float) -> bytes:
        """Waits for messages and takes all of them; returns nothing after so many seconds of silence."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._some.wait(), seconds)
        self._some.clear()
        taken = b"".join(self._waiting.values())
        self._waiting.clear()
        return taken


class Feed:
    """A part, read once a tick for all viewers."""

    def __init__(self, key: FeedKey, part: Part, when_over: Callable[[FeedKey], None]) -> None:
        self._key = key
        self._part = part
        self._when_over = when_over
        self._viewers: set[Viewer] = set()
        self._last: bytes | None = None
        self._trouble: bytes | None = None
        self._left_at = time.monotonic()
        self._outages = OutageLog(log)
        self._task = asyncio.create_task(self._run(), name=f"feed {key.part}")

    @property
    def viewers(self) -> int:
        """The number of viewers."""
        return len(self._viewers)

    def join(self, viewer: Viewer) -> None:
        """Adds a viewer, who gets the last content at once."""
        self._viewers.add(viewer)
        if self._last is not None:
            viewer.offer(self._key, self._last)
        elif self._trouble is not None:
            viewer.offer(self._key, self._trouble)

    def leave(self, viewer: Viewer) -> None:
        """Takes a viewer away."""
        self._viewers.discard(viewer)
        self._left_at = time.monotonic()

    async def stop(self) -> None:
        """Ends the feed."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._viewers or time.monotonic() - self._left_at < LINGER_SECONDS:
                started = time.monotonic()
                wait = self._part.seconds if await self._tick() else RETRY_SECONDS
                took = time.monotonic() - started
                await asyncio.sleep(max(wait - took, took * REST, 0.05))
        finally:
            self._when_over(self._key)

    async def _tick(self) -> bool:
        try:
            answer = await self._part.read()
        except EngagementError as error:
            self._outages.note(self._key.part, str(error))
            self._trouble = message("trouble", {"part": self._key.part, "cause": _cause(error), "at": time.time()})
            self._send(self._trouble, None)
            return False
        except Exception:
            # A feed must not end in silence: its viewers would look at old numbers.
            log.exception("the part %s of the page has a defect", self._key.part)
            self._trouble = message("trouble", {"part": self._key.part, "cause": "fault", "at": time.time()})
            self._send(self._trouble, None)
            return False
        self._outages.note(self._key.part, None)
        recovered, self._trouble = self._trouble is not None, None
        whole = message(self._key.part, answer.whole)
        if whole != self._last or recovered:
            # A newcomer has no earlier state, so a change is for those who had the state before it.
            is_new = self._last is None or recovered
            change = None if is_new or answer.change is None else message(self._key.part, answer.change)
            self._last = whole
            self._send(whole, change)
        return True

    def _send(self, whole: bytes, change: bytes | None) -> None:
        for viewer in self._viewers:
            viewer.offer(self._key, whole, change)


def _cause(error: EngagementError) -> str:
    """Names the cause for viewers: tables are missing, the page's user may not read, or the database is away."""
    return "schema" if isinstance(error, SchemaDrift) else "refused" if isinstance(error, Refused) else "away"


class Feeds:
    """The running feeds, by part and subject. `make` makes the part of a key."""

    def __init__(self, make: Callable[[FeedKey], Part]) -> None:
        self._make = make
        self._running: dict[FeedKey, Feed] = {}
        self._viewers: set[Viewer] = set()
        self.is_closed = False

    @property
    def viewers(self) -> int:
        """The number of viewers."""
        return len(self._viewers)

    def join(self, keys: list[FeedKey]) -> Viewer:
        """Returns a new viewer of the parts."""
        viewer = Viewer()
        for key in keys:
            feed = self._running.get(key)
            if feed is None:
                feed = self._running[key] = Feed(key, self._make(key), self._forget)
            feed.join(viewer)
        self._viewers.add(viewer)
        return viewer

    def leave(self, viewer: Viewer, keys: list[FeedKey]) -> None:
        """Takes a viewer out of the feeds."""
        self._viewers.discard(viewer)
        for key in keys:
            if key in self._running:
                self._running[key].leave(viewer)

    def close(self) -> None:
        """Wakes all viewers, who then find `is_closed`."""
        self.is_closed = True
        for viewer in self._viewers:
            viewer.wake()

    async def stop(self) -> None:
        """Ends all feeds."""
        running: list[Awaitable[None]] = [feed.stop() for feed in list(self._running.values())]
        await asyncio.gather(*running)

    def _forget(self, key: FeedKey) -> None:
        self._running.pop(key, None)


def message(event: str, content: Any) -> bytes:
    """Writes a server-sent event. JSON has no line ends, so one data line is enough."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"event: {event}\ndata: {text}\n\n".encode()

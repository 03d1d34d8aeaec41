"""The source of a Mastodon server: timelines for what is new, and the watched statuses for what became of them."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from pipeline.errors import Unavailable
from producers.mastodon.api import BATCH, StatusApi
from producers.mastodon.counters import CounterState, counter_event
from producers.mastodon.items import Made, dump_item, load_item, record_of
from producers.mastodon.statuses import (
    Status,
    actor_of,
    comment_event,
    created_at,
    is_public,
    post_event,
    retraction,
)
from producers.mastodon.streaming import Stream
from producers.mastodon.tracked import Tracked, TrackedStatuses
from producers.source import IDLE, BadInput, Source, SourceItem
from schemas.events import InvalidEvent, isoformat

COUNTERS: Final = {"like": "favourites_count", "share": "reblogs_count"}
PAGES_A_ROUND: Final = 10
"""Pages of one timeline that are read at once; what lies behind is read in the next round."""

AGE_PER_LOOK: Final = 20
"""A status is looked at again after a twentieth of its age: counters move fast first, and slowly later."""

LONGEST_BACKOFF: Final = 300.0

UNREADABLE: Final = (InvalidEvent, KeyError, TypeError, ValueError, AttributeError)
"""What reading a status raises that is not as Mastodon writes statuses."""


@dataclass(frozen=True)
class PollPolicy:
    """`timelines`: names as `StatusApi.timeline` has them. `interval`: seconds between two rounds. `watch_days`: how
    long a status is watched; `most`: how many at once. `rounds`: ends after so many; None: never."""

    timelines: tuple[str, ...]
    interval: float = 60.0
    watch_days: float = 7.0
    most: int = 50_000
    rounds: int | None = None


class MastodonSource(Source):
    """The events of a server. Likes and shares are differences of counters and have no actor; boosts that timelines
    show are therefore not sent, only what they boost is watched."""

    verb = "sent"
    is_live: ClassVar[bool] = True
    is_resumable = True

    def __init__(
        self,
        api: StatusApi,
        tracked: TrackedStatuses,
        policy: PollPolicy,
        stream: Stream | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api, self._tracked, self._policy, self._stream = api, tracked, policy, stream
        self._clock, self._sleep = clock, sleep
        self._notes: Counter[str] = Counter()
        self._yielded = 0
        """Number in the outbox of the last item that was yielded."""

    @property
    def notes(self) -> Mapping[str, int]:
        return self._notes

    def save_position(self) -> None:
        self._tracked.release(self._yielded)
        self._tracked.commit()

    def items(self) -> Iterator[SourceItem]:
        self._tracked.begin()
        for number, item in self._tracked.outbox():
            self._yielded = number
            yield load_item(item)
        done, failures = 0, 0
        while self._policy.rounds is None or done < self._policy.rounds:
            started = self._clock()
            try:
                yield from self._round()
                failures = 0
                done += 1
                wait = self._policy.interval
            except Unavailable:
                failures += 1
                self._notes["failed_rounds"] += 1
                wait = min(self._policy.interval * 2 ** min(failures, 10), LONGEST_BACKOFF)
            if self._policy.rounds is None or done < self._policy.rounds:
                yield from self._idle_until(started + wait)

    def _idle_until(self, end: float) -> Iterator[SourceItem]:
        while (left := end - self._clock()) > 0:
            yield IDLE
            if self._stream is None:
                self._sleep(min(left, 1.0))
            else:
                for name, item in self._stream.take(min(left, 1.0)):
                    try:
                        yield from self._kept(self._streamed(name, item))
                    except Unavailable:  # the timeline brings the status again
                        self._notes["failed_rounds"] += 1
                self._notes["dropped_from_stream"] = self._stream.dropped

    def _streamed(self, name: str, item: Any) -> Iterator[Made]:
        """Yields the events of an item of the stream."""
        try:
            if name == "update":
                yield from self._read(item)
                return
            watched = self._tracked.get(item if name == "delete" else str(item["id"]))
            if watched is not None:
                yield from self._take_back(watched) if name == "delete" else self._count(watched, item)
        except UNREADABLE as error:
            yield _bad(item, error)

    def _round(self) -> Iterator[SourceItem]:
        for name in self._policy.timelines:
            for _ in range(PAGES_A_ROUND):
                page = self._api.timeline(name, self._tracked.position(name))
                for status in page:
                    yield from self._kept(self._read(status), then=(name, str(status["id"])))
                if not page:
                    break
        while due := self._tracked.due(self._clock(), BATCH):
            yield from self._look_again(due)
        self._tracked.prune(self._clock() - self._policy.watch_days * 86_400, self._policy.most)

    def _kept(self, items: Iterable[Made], then: tuple[str, str] | None = None) -> Iterator[SourceItem]:
        """Yields items that are made together, once they are in the outbox and the state behind them is on
        disk. `then`: name and new position of a timeline. Where making them fails, no state changes."""
        try:
            made = list(items)
        except BaseException:
            self._tracked.rollback()
            raise
        numbers = [self._tracked.keep(dump_item(item)) for item in made]
        if then is not None:
            self._tracked.set_position(*then)
        self._tracked.commit()
        for number, item in zip(numbers, made, strict=True):
            self._yielded = number
            yield item

    def _read(self, status: Status) -> Iterator[Made]:
        """Yields the events of a status that was not seen before."""
        try:
            status = status.get("reblog") or status
            if not is_public(status):
                self._notes["not_public"] += 1
            elif self._tracked.get(str(status["id"])) is None:
                yield from self._events_of_new(status)
        except UNREADABLE as error:
            yield _bad(status, error)

    def _events_of_new(self, status: Status) -> Iterator[Made]:
        if status.get("in_reply_to_id") is None:
            yield from self._begin(status, post_event(status), str(status["uri"]))
            return
        above, _ = self._api.context(str(status["id"]))
        if not above or above[0].get("in_reply_to_id") is not None:
            self._notes["replies_without_thread"] += 1
            return
        root = str(above[0]["uri"])
        yield from self._begin(status, comment_event(status, root, str(above[-1]["uri"])), root)

    def _begin(self, status: Status, event: dict[str, Any], root: str) -> Iterator[Made]:
        """Yields the events of a status and its counters, and begins to watch the status."""
        yield record_of(event)
        watched = Tracked(
            id=str(status["id"]),
            uri=str(status["uri"]),
            root=root,
            kind=event["kind"],
            actor=actor_of(status),
            created=created_at(status).timestamp(),
            due=self._clock(),
        )
        yield from self._count(watched, status)

    def _count(self, watched: Tracked, status: Status) -> Iterator[Made]:
        """Yields the events by which the counters moved, and keeps the status with its next look."""
        now = self._clock()
        at = isoformat(datetime.fromtimestamp(max(now, watched.created), UTC))
        for kind, name in COUNTERS.items():
            kept = f"{kind}s"
            state = CounterState.load(getattr(watched, kept))
            for is_new, number in state.move_to(max(0, int(status.get(name) or 0))):
                yield record_of(counter_event({"uri": watched.uri}, kind, is_new, number) | {"occurred_at": at})
            setattr(watched, kept, state.dump())
        watched.due = now + max(self._policy.interval, (now - watched.created) / AGE_PER_LOOK)
        self._tracked.put(watched)

    def _look_again(self, due: list[Tracked]) -> Iterator[SourceItem]:
        found = {str(status["id"]): status for status in self._api.statuses([watched.id for watched in due])}
        for watched in due:
            yield from self._kept(self._again(watched, found.get(watched.id)))

    def _again(self, watched: Tracked, status: Status | None) -> Iterator[Made]:
        """Yields what became of a status since the last look."""
        if status is None:
            yield from self._take_back(watched)
            return
        try:
            replies = int(status.get("replies_count") or 0)
            if replies > watched.replies:
                yield from self._read_replies(watched)
            watched.replies = replies
            yield from self._count(watched, status)
        except UNREADABLE as error:
            yield _bad(status, error)
            watched.due = self._clock() + self._policy.interval
            self._tracked.put(watched)

    def _read_replies(self, watched: Tracked) -> Iterator[Made]:
        """Yields the answers below a status that were not seen before."""
        _, below = self._api.context(watched.id)
        uris = {watched.id: watched.uri} | {str(status["id"]): str(status["uri"]) for status in below}
        for status in below:
            parent = uris.get(str(status.get("in_reply_to_id")))
            if parent is None or not is_public(status) or self._tracked.get(str(status["id"])) is not None:
                continue
            yield from self._begin(status, comment_event(status, watched.root, parent), watched.root)

    def _take_back(self, watched: Tracked) -> Iterator[Made]:
        """Yields the retraction of a deleted status, and ends the watch."""
        self._tracked.drop(watched.id)
        self._notes["deleted"] += 1
        at = datetime.fromtimestamp(max(self._clock(), watched.created), UTC)
        yield record_of(retraction(watched.uri, watched.root, watched.kind, watched.actor, at))


def _bad(status: Any, error: Exception) -> BadInput:
    """Returns the bad input of a status, with its content for the dead letters."""
    flaw = error if isinstance(error, InvalidEvent) else InvalidEvent("", f"no status: {type(error).__name__} {error}")
    name = status.get("uri") or status.get("id") if isinstance(status, Mapping) else status
    value = json.dumps(status, default=str).encode()
    return BadInput(f"status {str(name)[:200]}", flaw.reason, value, flaw.field)

"""What was folded and is not stored yet."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import chain, compress
from typing import Any, Final

import numpy as np

from pipeline.dead_letters import DeadLetter
from processors.columnar.arrays import Array
from processors.engagement.fold import kernels
from processors.engagement.fold.columns import POST, EventColumns
from processors.engagement.fold.fold import Taken
from processors.engagement.rows.post_facts import PostEvent
from processors.runtime.records import Run
from schemas.topics import KINDS

Place = tuple[str, int]
"""Topic and partition."""

LANE_BITS: Final = 16


class Pending:
    """Runs since the last flush: their new events, the rows that they made dirty, their dead letters."""

    def __init__(self) -> None:
        self._new: list[EventColumns] = []
        self._own: list[EventColumns] = []
        self._owners: dict[str, None] = {}
        self._taken: list[Taken] = []
        self._received: list[Array] = []
        self.dead: list[DeadLetter] = []
        self.reached: dict[Place, tuple[int, int]] = {}
        """Newest occurred_at (microseconds) and the last record's received_at (milliseconds) of each."""

    def add(self, runs: Sequence[Run], events: EventColumns, taken: Taken, dead: Sequence[DeadLetter]) -> None:
        """What the fold took of some runs."""
        new = taken.outcomes <= kernels.LATE
        self._new.append(events.where(new))
        if (own := events.kind == POST).any():
            self._own.append(events.where(own & new))
            self._owners |= dict.fromkeys(compress(events.post_id, own.tolist()))
        self._taken.append(taken)
        self._received.append(events.received_ms)
        self.dead += dead
        self._note(runs, events)

    def new_events(self) -> EventColumns | None:
        """The events that the log lacks; None when there are none."""
        new = [events for events in self._new if len(events)]
        return _joined(new) if new else None

    def owners(self) -> list[str]:
        """Posts that an event of kind post has come for, a duplicate perhaps: a crash may have left their row
        unwritten."""
        return list(self._owners)

    def post_events(self) -> list[PostEvent]:
        """New events of kind post, in the order in which they came."""
        return [event for events in self._own for event in _post_events(events)]

    def posts(self) -> Array:
        """Rows of the fold whose post_metrics have to be written."""
        return _unique([taken.posts for taken in self._taken])

    def panes(self) -> Array:
        """Rows of the fold whose post_minutes have to be written."""
        return _unique([taken.panes for taken in self._taken])

    def received_ms(self) -> Array:
        """When Kafka took each event, in any order."""
        return np.concatenate(self._received) if self._received else np.empty(0)

    def _note(self, runs: Sequence[Run], events: EventColumns) -> None:
        topics = {}
        for run in runs:
            topics[KINDS.index(run.kind)] = run.topic
            newest, last = self.reached.get((run.topic, run.partition), (0, 0))
            self.reached[run.topic, run.partition] = newest, max(last, run.records[-1].timestamp)
        lanes, place = np.unique(events.kind.astype(np.int64) << LANE_BITS | events.partition, return_inverse=True)
        newest_us = np.zeros(len(lanes), np.int64)
        np.maximum.at(newest_us, place, events.occurred_us)
        for lane, occurred_us in zip(lanes.tolist(), newest_us.tolist(), strict=True):
            where = topics[lane >> LANE_BITS], lane & ((1 << LANE_BITS) - 1)
            newest, last = self.reached[where]
            self.reached[where] = max(newest, occurred_us), last


def further(
    reached: Mapping[Place, tuple[int, int]], more: Mapping[Place, tuple[int, int]]
) -> dict[Place, tuple[int, int]]:
    """The furthest of both, place by place."""
    return {
        place: tuple(map(max, reached.get(place, (0, 0)), more.get(place, (0, 0))))  # type: ignore[misc]
        for place in reached.keys() | more.keys()
    }


def _post_events(events: EventColumns) -> list[PostEvent]:
    columns = (
        events.post_id,
        events.event_id,
        events.target_id,
        events.occurred_us.tolist(),
        [author_id or actor_id for author_id, actor_id in zip(events.author_id, events.actor_id, strict=True)],
        events.channel,
        events.url,
        events.conversations,
        events.links,
        events.quotes,
        events.followers,
    )
    return [PostEvent(*values) for values in zip(*columns, strict=True)]


def _joined(parts: list[EventColumns]) -> EventColumns:
    if len(parts) == 1:
        return parts[0]
    columns: list[Any] = []
    for field in fields(EventColumns):
        values = [getattr(part, field.name) for part in parts]
        columns.append(np.concatenate(values) if isinstance(values[0], np.ndarray) else list(chain(*values)))
    return EventColumns(*columns)


def _unique(parts: list[Array]) -> Array:
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)

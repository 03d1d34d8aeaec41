"""Runs that are folded and not stored yet: the new events, the rows that they change and the dead letters."""

from collections.abc import Sequence
from dataclasses import fields
from itertools import chain, compress
from typing import Any, Final

import numpy as np

from pipeline.dead_letters import DeadLetter
from pipeline.kafka.group_policy import Partition
from processors.columnar.arrays import Array
from processors.engagement.fold import kernels
from processors.engagement.fold.columns import POST, EventColumns
from processors.engagement.fold.results import FoldedEvents
from processors.engagement.rows.post_facts import PostEvent
from processors.engagement.watermarks.watermarks import Reached
from processors.runtime.records import Run
from schemas.topics import KINDS

_PARTITION_BITS: Final = 16


class UnstoredRuns:
    """Collects the runs that were folded since the last flush."""

    def __init__(self) -> None:
        self._new: list[EventColumns] = []
        self._post_events: list[EventColumns] = []
        self._posts_with_events: dict[str, None] = {}
        self._outcomes: list[FoldedEvents] = []
        self._received: list[Array] = []
        self.dead: list[DeadLetter] = []
        self.reached: dict[Partition, tuple[int, int]] = {}
        """The newest occurred_at (microseconds since 1970; 0 before the first event) and the received_at of the last
        record (milliseconds since 1970) of each topic partition."""

    def add(
        self, runs: Sequence[Run], events: EventColumns, outcomes: FoldedEvents, dead: Sequence[DeadLetter]
    ) -> None:
        """Adds runs: their events, what the fold made of the events, and their dead letters."""
        is_new = outcomes.outcomes <= kernels.LATE
        self._new.append(events.where(is_new))
        if (is_post := events.kind == POST).any():
            self._post_events.append(events.where(is_post & is_new))
            self._posts_with_events |= dict.fromkeys(compress(events.post_id, is_post.tolist()))
        self._outcomes.append(outcomes)
        self._received.append(events.received_ms)
        self.dead += dead
        self._note_reached(runs, events)

    def new_events(self) -> EventColumns | None:
        """Returns the events that the log lacks; None when there are none."""
        new = [events for events in self._new if len(events)]
        return _join(new) if new else None

    def posts_with_events(self) -> list[str]:
        """Returns the ids of the posts for which an event of kind post came, also where the event was a duplicate: a
        crash may have left the post's row unwritten."""
        return list(self._posts_with_events)

    def post_events(self) -> list[PostEvent]:
        """Returns the new events of kind post, in the order in which they came."""
        return [event for events in self._post_events for event in _as_post_events(events)]

    def posts(self) -> Array:
        """Returns the rows of the fold whose post_metrics have to be written."""
        return _unique([outcomes.posts for outcomes in self._outcomes])

    def panes(self) -> Array:
        """Returns the rows of the fold whose post_minutes have to be written."""
        return _unique([outcomes.panes for outcomes in self._outcomes])

    def received_ms(self) -> Array:
        """Returns the received_at of each event in milliseconds since 1970, in any order."""
        return np.concatenate(self._received) if self._received else np.empty(0)

    def _note_reached(self, runs: Sequence[Run], events: EventColumns) -> None:
        topics = {}
        for run in runs:
            topics[KINDS.index(run.kind)] = run.topic
            newest, last = self.reached.get((run.topic, run.partition), (0, 0))
            self.reached[run.topic, run.partition] = newest, max(last, run.records[-1].timestamp)
        codes = events.kind.astype(np.int64) << _PARTITION_BITS | events.partition
        distinct, number = np.unique(codes, return_inverse=True)
        newest_us = np.zeros(len(distinct), np.int64)
        np.maximum.at(newest_us, number, events.occurred_us)
        for code, occurred_us in zip(distinct.tolist(), newest_us.tolist(), strict=True):
            partition = topics[code >> _PARTITION_BITS], code & ((1 << _PARTITION_BITS) - 1)
            newest, last = self.reached[partition]
            self.reached[partition] = max(newest, occurred_us), last


def furthest(reached: Reached, more: Reached) -> dict[Partition, tuple[int, int]]:
    """Returns the maximum of both for each topic partition."""
    return {
        partition: tuple(map(max, reached.get(partition, (0, 0)), more.get(partition, (0, 0))))  # type: ignore[misc]
        for partition in reached.keys() | more.keys()
    }


def _as_post_events(events: EventColumns) -> list[PostEvent]:
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
        events.labels,
        events.text,
    )
    return [PostEvent(*values) for values in zip(*columns, strict=True)]


def _join(parts: list[EventColumns]) -> EventColumns:
    if len(parts) == 1:
        return parts[0]
    columns: list[Any] = []
    for field in fields(EventColumns):
        values = [getattr(part, field.name) for part in parts]
        columns.append(np.concatenate(values) if isinstance(values[0], np.ndarray) else list(chain(*values)))
    return EventColumns(*columns)


def _unique(parts: list[Array]) -> Array:
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)

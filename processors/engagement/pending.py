"""What was folded and is not stored yet."""

from collections.abc import Sequence
from dataclasses import fields
from itertools import compress
from typing import Any

import numpy as np

from pipeline.dead_letters import DeadLetter
from processors.engagement import kernels
from processors.engagement.columns import POST, EventColumns
from processors.engagement.facts import PostEvent
from processors.engagement.fold import Taken

Array = np.ndarray[Any, Any]


class Pending:
    """Runs since the last flush: their new events, the rows that they made dirty, their dead letters."""

    def __init__(self) -> None:
        self._new: list[EventColumns] = []
        self._own: list[EventColumns] = []
        self._owners: dict[str, None] = {}
        self._taken: list[Taken] = []
        self._received: list[Array] = []
        self.dead: list[DeadLetter] = []

    def add(self, events: EventColumns, taken: Taken, dead: Sequence[DeadLetter]) -> None:
        """One run of the fold."""
        new = taken.outcomes <= kernels.LATE
        self._new.append(events.where(new))
        if (own := events.kind == POST).any():
            self._own.append(events.where(own & new))
            self._owners |= dict.fromkeys(compress(events.post_id, own.tolist()))
        self._taken.append(taken)
        self._received.append(events.received_ms)
        self.dead += dead

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


def _post_events(events: EventColumns) -> list[PostEvent]:
    return [
        PostEvent(
            post_id, event_id, retracts, occurred_us, author_id or actor_id, channel, url, conversations, followers
        )
        for (
            post_id,
            event_id,
            retracts,
            occurred_us,
            author_id,
            actor_id,
            channel,
            url,
            conversations,
            followers,
        ) in zip(
            events.post_id,
            events.event_id,
            events.target_id,
            events.occurred_us.tolist(),
            events.author_id,
            events.actor_id,
            events.channel,
            events.url,
            events.conversations,
            events.followers,
            strict=True,
        )
    ]


def _joined(parts: list[EventColumns]) -> EventColumns:
    if len(parts) == 1:
        return parts[0]
    columns: list[Any] = []
    for field in fields(EventColumns):
        values = [getattr(part, field.name) for part in parts]
        columns.append(
            np.concatenate(values)
            if isinstance(values[0], np.ndarray)
            else [value for part in values for value in part]
        )
    return EventColumns(*columns)


def _unique(parts: list[Array]) -> Array:
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)

"""Simulated events as columns: row i is an event, and parents and targets name events by row number."""

from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np

from schemas.topics import KINDS

Ints = np.ndarray[Any, np.dtype[np.int64]]

POST, LIKE, SHARE, COMMENT = map(KINDS.index, ("post", "like", "share", "comment"))
"""Numbers of kinds, as in `schemas.topics.KINDS`."""

NO_ROW: Final = -1


@dataclass
class SimulatedColumns:
    """The columns of a simulation. `occurred`: microseconds since 1970. `parent`, `target`: rows or NO_ROW; a row with
    a target is a retraction."""

    kind: Ints
    post: Ints
    actor: Ints
    parent: Ints
    target: Ints
    occurred: Ints
    ids: dict[int, str] = field(default_factory=dict)
    """event_ids that do not follow from the row."""
    targets: dict[int, str] = field(default_factory=dict)
    """target_ids that do not follow from a row: of events that do not exist."""
    tags: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Conversation of a row of a planted spike: (hashtag or mention, name)."""

    def __len__(self) -> int:
        return len(self.kind)

    def add(
        self,
        kind: Ints,
        post: Ints,
        actor: Ints,
        occurred: Ints,
        parent: Ints | None = None,
        target: Ints | None = None,
    ) -> Ints:
        """Appends rows and returns their numbers."""
        first, nothing = len(self), np.full(len(kind), NO_ROW)
        added = {"kind": kind, "post": post, "actor": actor, "occurred": occurred, "parent": parent, "target": target}
        for column in fields(self):
            if column.name in added:
                values = added[column.name]
                setattr(
                    self,
                    column.name,
                    np.concatenate([getattr(self, column.name), nothing if values is None else values]),
                )
        return np.arange(first, len(self))

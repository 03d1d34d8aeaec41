"""The state of the posts in memory: the fold of their events, and the conversations to which the posts belong."""

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.hashing import Hasher
from processors.engagement.cells import cell_kernels
from processors.engagement.cells.cells import Again
from processors.engagement.cells.memberships import Memberships
from processors.engagement.fold import kernels, layout
from processors.engagement.fold.columns import KEY_CODE, EventColumns, Identities
from processors.engagement.fold.fold import Fold
from processors.engagement.fold.results import FoldedEvents
from processors.engagement.fold.threads import ThreadPolicy
from processors.engagement.rows.post_facts import (
    Facts,
    PostEvent,
    TrackedKeys,
    added_of,
    conversations_of,
    facts_of,
    own_keys,
)
from schemas.metrics import MINUTE_US

CHANNELS_KEPT: Final = 10_000
"""The most names of channels in memory. Beyond it, names that no post in memory has are dropped with the next posts."""


class Tagged(NamedTuple):
    """A share or comment that names conversations itself; `kind` as in EventColumns."""

    post_id: str
    kind: int
    event_id: str
    conversations: list[str]


class OwnEvents(NamedTuple):
    """The events of kind post of one post: the facts that follow from them, and all its adds."""

    facts: Facts
    adds: list[PostEvent]


class PostsState:
    """The posts of some partitions. Not thread-safe."""

    def __init__(self, hasher: Hasher, tracked: TrackedKeys, of: int = 1, threads: ThreadPolicy | None = None) -> None:
        """`of`: the number of partitions of the topic `conversations`."""
        self._hasher, self._tracked, self.of = hasher, tracked, of
        self.fold = Fold(threads=threads)
        self.known = Memberships(hasher, of)

    @property
    def bytes(self) -> int:
        """The memory of the state in bytes."""
        return self.fold.bytes + self.known.bytes

    def add(self, post_ids: Sequence[str], partitions: Array) -> Array:
        """Adds posts that are not in memory, each named once, and returns their rows."""
        rows = self.fold.add(post_ids, partitions)
        self.known.make_room(len(self.fold))
        return rows

    def add_events(self, posts: Array, identified: Identities, events: EventColumns) -> FoldedEvents:
        """Adds new events of posts in memory."""
        taken = self.fold.add_events(posts, identified)
        self.known.learn_channels(self.known.new_channels(events.channel))
        adds = (taken.outcomes <= kernels.LATE) & identified.are_nodes & (identified.actions == kernels.ADD)
        numbers = [number for number in np.flatnonzero(adds).tolist() if events.conversations[number]]
        if numbers:
            named = [own_keys(events.conversations[number], self._tracked) for number in numbers]
            self.known.tag(posts[numbers], identified.keys[numbers], named)
        return taken

    def tag(self, tagged: Sequence[Tagged]) -> None:
        """Adds the conversations that shares and comments name, which were folded from the log; each identity once."""
        if tagged:
            kinds = np.array([event.kind for event in tagged], np.uint64)
            with np.errstate(over="ignore"):
                keys = self._hasher.hashes([event.event_id for event in tagged]) + (2 * kinds + np.uint64(1)) * KEY_CODE
            rows = self.fold.find([event.post_id for event in tagged])
            # The log may hold more events than were folded: those that are missing here come again, as new ones.
            is_folded = cell_kernels.present(self.fold.tables, rows, keys)
            named = [own_keys(event.conversations, self._tracked) for event in compress(tagged, is_folded.tolist())]
            self.known.tag(rows[is_folded], keys[is_folded], named)

    def learn(self, by_post: Mapping[str, Sequence[PostEvent]]) -> dict[str, OwnEvents]:
        """Learns all events of kind post of these posts, which are in memory. Returns the own events of each post of
        which an add is known."""
        own = {
            post_id: OwnEvents(facts, added_of(events))
            for post_id, events in by_post.items()
            if (facts := facts_of(events, self._tracked))
        }
        if own:
            rows, newest = self.fold.find(list(own)), [events.facts for events in own.values()]
            created = np.array([facts.created_at // MINUTE_US for facts in newest], np.uint32)
            self.fold.learn(rows, created, self._hasher.actors([facts.author_id for facts in newest]))
            self.known.say(
                rows,
                [facts.conversations for facts in newest],
                [_left_conversations(events, self._tracked) for events in own.values()],
                [facts.channel for facts in newest],
                [facts.deleted_at is None for facts in newest],
            )
        return own

    def again(self, own: Mapping[str, OwnEvents]) -> Again:
        """Returns the rows of these posts, each with every minute in which an add dates the post."""
        pairs = [
            (row, add.occurred_us // MINUTE_US)
            for post_id, row in zip(own, self.fold.find(list(own)).tolist(), strict=True)
            for add in own[post_id].adds
        ]
        posts = np.array([row for row, _ in pairs], np.int64)
        return Again(posts, np.array([minute for _, minute in pairs], np.int64))

    def forget(self, rows: Array) -> list[str]:
        """Drops these posts with their events and conversations, and returns their ids. Renumbers the other rows, in
        O(all rows)."""
        keep = np.ones(len(self.fold), np.bool_)
        keep[rows] = False
        forgotten = self.fold.forget(rows)
        if forgotten:
            self.known.keep(keep)
            if len(self.known.channels) > CHANNELS_KEPT:
                tables = self.fold.tables
                self.known.keep_channels(np.unique(tables.channels["key"][: tables.sizes[layout.N_CHANNELS]]))
        return forgotten


def _left_conversations(own: OwnEvents, tracked: TrackedKeys) -> list[str]:
    """Returns the conversations that an event of the post names and to which the post does not belong now."""
    if len(own.adds) == 1:
        return []
    named = dict.fromkeys(key for add in own.adds for key in conversations_of(add, tracked))
    return [key for key in named if key not in own.facts.conversations]

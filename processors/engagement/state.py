"""All that is in memory of some posts: the fold of their events, and what they belong to. One forgets what the other
does."""

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
from processors.engagement.fold.columns import CODE, MINUTE_US, EventColumns, Identities
from processors.engagement.fold.fold import Fold, Taken
from processors.engagement.fold.threads import ThreadPolicy
from processors.engagement.rows.post_facts import BrandKeys, Facts, PostEvent, added_of, facts_of, keys_of, own_keys

CHANNELS_KEPT: Final = 10_000
"""Names of channels; beyond it those that no post in memory has are dropped when posts are."""


class Tagged(NamedTuple):
    """A share or comment that names conversations itself; `kind` as in EventColumns."""

    post_id: str
    kind: int
    event_id: str
    conversations: list[str]


class Said(NamedTuple):
    """What a post says of itself, and all the adds that say so."""

    facts: Facts
    adds: list[PostEvent]


class State:
    """Of the posts of some partitions. Not thread-safe."""

    def __init__(self, hasher: Hasher, brands: BrandKeys, of: int = 1, threads: ThreadPolicy | None = None) -> None:
        """`of`: partitions of the topic of conversations."""
        self._hasher, self._brands, self.of = hasher, brands, of
        self.fold = Fold(threads=threads)
        self.known = Memberships(hasher, of)

    @property
    def bytes(self) -> int:
        """Memory."""
        return self.fold.bytes + self.known.bytes

    def add(self, post_ids: Sequence[str], partitions: Array) -> Array:
        """Rows for posts that are not in memory and each named once."""
        rows = self.fold.add(post_ids, partitions)
        self.known.make_room(len(self.fold))
        return rows

    def take(self, posts: Array, identified: Identities, events: EventColumns) -> Taken:
        """Takes events that have just come, of posts that are in memory."""
        taken = self.fold.take(posts, identified)
        self.known.learn_channels(self.known.new_channels(events.channel))
        adds = (taken.outcomes <= kernels.LATE) & identified.are_nodes & (identified.actions == kernels.ADD)
        numbers = [number for number in np.flatnonzero(adds).tolist() if events.conversations[number]]
        if numbers:
            named = [own_keys(events.conversations[number], self._brands) for number in numbers]
            self.known.tag(posts[numbers], identified.keys[numbers], named)
        return taken

    def tag(self, tagged: Sequence[Tagged]) -> None:
        """What shares and comments name, which were folded from the log. Each identity once."""
        if tagged:
            kinds = np.array([one.kind for one in tagged], np.uint64)
            with np.errstate(over="ignore"):
                keys = self._hasher.hashes([one.event_id for one in tagged]) + (2 * kinds + np.uint64(1)) * CODE
            rows = self.fold.find([one.post_id for one in tagged])
            # The log may have got more since it was folded: what is missing comes again, as new.
            there = cell_kernels.present(self.fold.tables, rows, keys)
            named = [own_keys(one.conversations, self._brands) for one in compress(tagged, there.tolist())]
            self.known.tag(rows[there], keys[there], named)

    def learn(self, own: Mapping[str, Sequence[PostEvent]]) -> dict[str, Said]:
        """All events of kind post of these posts, which are in memory; says what follows, for the posts of which an add
        is known."""
        said = {
            post_id: Said(facts, added_of(events))
            for post_id, events in own.items()
            if (facts := facts_of(events, self._brands))
        }
        if said:
            rows, newest = self.fold.find(list(said)), [one.facts for one in said.values()]
            created = np.array([facts.created_at // MINUTE_US for facts in newest], np.uint32)
            self.fold.learn(rows, created, self._hasher.actors([facts.author_id for facts in newest]))
            self.known.say(
                rows,
                [facts.conversations for facts in newest],
                [_left(one, self._brands) for one in said.values()],
                [facts.channel for facts in newest],
                [facts.deleted_at is None for facts in newest],
            )
        return said

    def again(self, said: Mapping[str, Said]) -> Again:
        """These posts, with every minute in which they may have been made."""
        pairs = [
            (row, add.occurred_us // MINUTE_US)
            for post_id, row in zip(said, self.fold.find(list(said)).tolist(), strict=True)
            for add in said[post_id].adds
        ]
        posts = np.array([row for row, _ in pairs], np.int64)
        return Again(posts, np.array([minute for _, minute in pairs], np.int64))

    def forget(self, rows: Array) -> list[str]:
        """Drops these posts and all that belongs to them; returns their ids. O(all rows). Row numbers change."""
        keep = np.ones(len(self.fold), np.bool_)
        keep[rows] = False
        forgotten = self.fold.forget(rows)
        if forgotten:
            self.known.keep(keep)
            if len(self.known.channels) > CHANNELS_KEPT:
                tables = self.fold.tables
                self.known.keep_channels(np.unique(tables.channels["key"][: tables.sizes[layout.N_CHANNELS]]))
        return forgotten


def _left(said: Said, brands: BrandKeys) -> list[str]:
    """Conversations that an event of the post names and that it does not belong to now."""
    if len(said.adds) == 1:
        return []
    ever = dict.fromkeys(key for add in said.adds for key in keys_of(add, brands))
    return [key for key in ever if key not in said.facts.conversations]

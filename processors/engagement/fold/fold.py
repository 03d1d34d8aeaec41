"""The fold: the state of each post, as a pure function of the set of its events (law 2).

It knows nothing of Faust, Kafka and ClickHouse, and has no clock, environment or I/O. Events may come in any order and
any number of times.
"""

from collections.abc import Sequence
from itertools import repeat
from typing import Final

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.panes import NONE
from processors.engagement.fold import hash_index, kernels, layout, snapshot_kernels, tree_rebuild, trees
from processors.engagement.fold.columns import Identities
from processors.engagement.fold.results import FoldedEvents, Panes, Snapshot, Trees
from processors.engagement.fold.tables import Tables, bytes_of, empty_tables, kept, with_room
from processors.engagement.fold.threads import ThreadPolicy, ThreadState
from schemas.metrics import HOT_HALF_LIFE, LEVELS_SHOWN, MEASURES, TREE_EVENTS, WEIGHT_SETS, WINDOWS

POST_TEXT_BYTES: Final = 220
"""Memory of a post's id in Python: its string, its entry in a dict and in a list (sys.getsizeof, ids of 20 to 60
characters)."""

_WINDOWS: Final = np.array(list(WINDOWS.values()), np.int64)
_WEIGHTS: Final = np.array(WEIGHT_SETS["default"].weights, np.float64)
_HALF_LIFE: Final = float(HOT_HALF_LIFE[1])


class Fold:
    """The state of some posts. Not thread-safe. A post is named by its row, a number that stays the same until
    `forget`."""

    def __init__(self, tree_events: int = TREE_EVENTS, threads: ThreadPolicy | None = None) -> None:
        """Gives up the trees of posts of more than `tree_events` events. Without a policy no brand is tracked."""
        self._tree_events = tree_events
        self._threads = ThreadState(threads or ThreadPolicy())
        self.post_ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._tables: Tables = empty_tables()
        self._run = 0

    def __len__(self) -> int:
        return len(self.post_ids)

    @property
    def tables(self) -> Tables:
        """The rows of all posts, for reading: only the fold writes to them.

        The next call of `add`, `take` or `forget` may put others in their place. They are not marked read-only, because
        numba takes a read-only array for another type and would compile every loop over them a second time.
        """
        return self._tables

    @property
    def run(self) -> int:
        """The number of the last run of events."""
        return self._run

    @property
    def events(self) -> int:
        """Distinct events in memory."""
        return int(self._tables.sizes[layout.N_EVENTS])

    @property
    def bytes(self) -> int:
        """The memory of the state."""
        return bytes_of(self._tables, len(self)) + self._threads.bytes + POST_TEXT_BYTES * len(self)

    @property
    def full(self) -> bool:
        """Whether posts have to be forgotten however much memory there is, because an index numbers only MOST_ROWS
        rows."""
        return int(self._tables.sizes.max()) > hash_index.MOST_ROWS // 2

    def find(self, post_ids: Sequence[str]) -> Array:
        """Returns the row of each post, -1 where the post is not in memory."""
        return np.fromiter(map(self._rows.get, post_ids, repeat(-1)), np.int64, len(post_ids))

    def add(self, post_ids: Sequence[str], partitions: Array) -> Array:
        """Adds posts without events, each named once and not in memory; returns their rows."""
        first = len(self)
        self._tables = with_room(self._tables, first + len(post_ids))
        rows = np.arange(first, first + len(post_ids))
        posts = self._tables.posts
        posts[rows] = np.zeros(1, posts.dtype)
        for field in ("ordered", "late", "channels", "tallies", "tree", "levels", "created"):
            posts[field][rows] = NONE
        posts["partition"][rows] = partitions
        self._rows.update(zip(post_ids, rows.tolist(), strict=True))
        self.post_ids.extend(post_ids)
        return rows

    def learn(self, rows: Array, created: Array, authors: Array) -> None:
        """Sets what posts tell about themselves, each row once: the minute (since 1970; NONE: not known) and the author
        (`Hasher.actors`; 0: not known)."""
        self._tables.posts["created"][rows] = created
        self._tables.posts["author"][rows] = authors

    def partitions(self, rows: Array) -> Array:
        """Returns the partition of each of these posts."""
        found: Array = self._tables.posts["partition"][rows]
        return found

    def post_events(self, rows: Array) -> Array:
        """Returns the number of events of kind post of each of these posts."""
        found: Array = self._tables.posts["post_events"][rows]
        return found

    def add_events(self, posts: Array, events: Identities) -> FoldedEvents:
        """Adds events of posts in memory. About 0.5 us an event."""
        self._run += 1
        count = len(posts)
        self._tables = with_room(self._tables, len(self), count, int(np.count_nonzero(events.are_nodes)))
        outcomes = np.empty(count, np.uint8)
        dirty = np.empty(2 * count, np.int64)
        faded = np.empty(count, np.int64)
        first = self._tables.sizes[layout.N_NODES]
        marks, fades = kernels.fold(
            self._tables,
            np.uint32(self._run),
            posts.astype(np.int64),
            events.keys,
            events.targets,
            events.actors,
            events.channels,
            events.parents,
            events.minutes,
            events.checks,
            events.measures,
            events.actions,
            _WEIGHTS,
            _HALF_LIFE,
            outcomes,
            dirty,
            faded,
        )
        trees.grow(self._tables, first, faded[:fades], self._tree_events)
        return FoldedEvents(outcomes, np.unique(posts), self._expand(np.unique(dirty[:marks])))

    def seen(self, rows: Array) -> tuple[Array, Array]:
        """Returns the distinct events of each post, and the end of the minute of its newest event (minutes since
        1970)."""
        posts = self._tables.posts[rows]
        return posts["events_seen"], posts["newest"].astype(np.int64) + 1

    def snapshot(self, rows: Array) -> Snapshot:
        """Measures these posts as of the end of the newest minute of each."""
        count = len(rows)
        windows = np.zeros((count, len(_WINDOWS), 2, len(MEASURES)), np.int64)
        channels = np.zeros(count, np.uint32)
        entropy = np.empty(count, np.float64)
        snapshot_kernels.measure(
            self._tables, rows.astype(np.int64), _WINDOWS, _WEIGHTS, _HALF_LIFE, windows, channels, entropy
        )
        top, known = np.empty(count, np.int64), np.empty(count, np.int64)
        snapshot_kernels.concentrate(self._tables, rows.astype(np.int64), top, known)
        posts = self._tables.posts[rows]
        with np.errstate(divide="ignore", invalid="ignore"):
            hot = np.where(posts["hot"] > 0, np.log2(posts["hot"]) + (posts["hot_minute"] + 1.0) / _HALF_LIFE, np.nan)
            concentration = top / known
        return Snapshot(
            events_seen=posts["events_seen"],
            as_of=posts["newest"].astype(np.int64) + 1,
            net=posts["net"],
            actors=posts["actors"],
            unmatched=posts["unmatched"],
            channels=channels,
            entropy=entropy,
            hot=hot,
            windows=windows,
            actors_of=posts["actors_of"],
            concentration=concentration,
            trees=self.trees(rows),
        )

    def trees(self, rows: Array) -> Trees:
        """Measures the trees of these posts. O(levels) each, O(nodes) where sizes are stale."""
        rows = rows.astype(np.int64)
        self.settle(rows)
        sizes, depths, breadths, named = (np.zeros((len(rows), layout.TREE_COUNT), np.uint32) for _ in range(4))
        wieners = np.zeros((len(rows), layout.TREE_COUNT), np.uint64)
        levels = np.zeros((len(rows), layout.TREE_COUNT, LEVELS_SHOWN), np.uint32)
        trees.describe_trees(self._tables, rows, self._tree_events, sizes, depths, breadths, wieners, levels, named)
        truncated = self._tables.posts["events_seen"][rows] > self._tree_events
        return Trees(truncated, sizes, depths, breadths, wieners, levels, named)

    def settle(self, rows: Array) -> None:
        """Builds stale trees of these posts anew. Needed before anything walks their nodes."""
        of = self._tables.posts["tree"][rows]
        put_off = self._tables.trees[of[of != NONE]]
        put_off = put_off[put_off["stale"] != 0]
        twins = put_off["nodes"][put_off["twins"] != 0]
        if len(twins):
            self._tables = with_room(self._tables, len(self), levels=2 * int(twins.sum()))
        most = int(put_off["nodes"].max(initial=0))
        nodes, order = np.empty(most, np.uint32), np.empty(most, np.uint32)
        tree_rebuild.settle(
            self._tables, rows.astype(np.int64), self._tree_events, nodes, order, np.empty(most + 2, np.int64)
        )

    def threads(self, rows: Array) -> dict[str, Array]:
        """Computes the thread columns of post_metrics for these posts."""
        self.settle(rows)
        truncated = self._tables.posts["events_seen"][rows] > self._tree_events
        return self._threads.columns(self._tables, rows, truncated)

    def panes(self, rows: Array) -> Panes:
        """Returns the contents of these panes."""
        panes = self._tables.panes[rows]
        retracted = np.zeros((len(panes), len(MEASURES)), np.uint32)
        seen = panes["adds"].sum(axis=1, dtype=np.int64)
        touched = panes["taken"] != NONE
        taken = self._tables.taken[panes["taken"][touched]]
        retracted[touched] = taken["retracted"]
        seen[touched] += taken["changes"]
        return Panes(panes["post"], panes["key"], panes["adds"], retracted, seen)

    def panes_of(self, posts: Array) -> Array:
        """Returns the rows of all panes of these posts."""
        chosen = np.zeros(len(self) + 1, np.bool_)
        chosen[posts] = True
        return np.flatnonzero(chosen[self._tables.panes["post"][: self._tables.sizes[layout.N_PANES]]])

    def forget(self, rows: Array) -> list[str]:
        """Drops these posts and all their rows; returns their ids. O(all rows). The rows of other posts change."""
        keep = np.ones(len(self), np.bool_)
        keep[rows] = False
        forgotten = [self.post_ids[row] for row in np.flatnonzero(~keep).tolist()]
        if forgotten:
            tables, self._tables = self._tables._asdict(), empty_tables()
            self._tables = kept(tables, keep)
            self._threads.keep(keep)
            self.post_ids = [post_id for post_id, stays in zip(self.post_ids, keep.tolist(), strict=True) if stays]
            self._rows = {post_id: row for row, post_id in enumerate(self.post_ids)}
        return forgotten

    def idlest(self, share: float) -> Array:
        """Returns the posts without events for longest that together hold at most this share of all events; at least
        one."""
        posts = self._tables.posts[: len(self)]
        order = np.argsort(posts["touched"], kind="stable")
        held = np.cumsum(posts["events_seen"][order].astype(np.int64) + 2)
        return order[: max(1, np.searchsorted(held, share * held[-1], "right"))] if len(order) else order

    def touched_since(self, run: int) -> Array:
        """Returns the posts that had an event in a run after number `run`."""
        return np.flatnonzero(self._tables.posts["touched"][: len(self)] > run)

    def _expand(self, marks: Array) -> Array:
        """Returns sorted panes for sorted `dirty` marks of the kernels, where -1 - post stands for all panes of the
        post that retractions touched."""
        panes = marks[np.searchsorted(marks, 0) :]
        if len(panes) == len(marks):
            return panes
        touched = self.panes_of(-1 - marks[: len(marks) - len(panes)])
        return np.union1d(panes, touched[self._tables.panes["taken"][touched] != NONE])

"""The memory of the fold: tables of fixed-width rows, found by (post, key) through hash indexes (layout.py has the
fields).

Why not objects: a post of ten events as Python objects takes 6.7 KB and a like 365 bytes; as rows 1.3 KB and 70 bytes,
and the loop over them compiles (benchmarks/memory.py prints both). Rows are only ever appended; forgetting posts keeps
the others and builds the indexes anew, so there are no free lists and no tombstones.

    posts      a row per post: counts, newest minute, where its panes and channels start
    events     a row per distinct event: identity, and what must be undone when it is taken back
    actors     a row per (post, actor): how many of its likes, shares and comments stand
    takebacks  a row per (post, target): how many retractions name it, the earliest minute of these,
               and how many have it
    panes      a row per (post, minute): adds
    taken      a row per pane that a retraction touched: retractions in it, adds of it that were lost to one, and what
               retractions add to the version of its row (kernels.py)
    channels   a row per (post, channel): net engagements
    waiting    a row per (post, parent that is not in the tree): the nodes that wait for it
    nodes      a row per share or comment, found through its event or its pane: its place in the trees of trees.py
    trees      a row per post that has nodes: what is kept of its three trees, of all, of shares and of comments
    levels     a row per level of a tree: how many nodes stand there
    tallies    a row per (post, number of engagements from two on): how many actors have as many
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.mmap_arrays import zeros
from processors.columnar.panes import NONE, PostPanes
from processors.engagement.fold.hash_index import MOST_ROWS, build_index
from processors.engagement.fold.layout import (
    KEYED,
    LISTED,
    N_WAITERS,
    OF_NODES,
    POST_ROW,
    REFERENCES,
    ROWS_PER_EVENT,
    TREE_OF,
)
from processors.engagement.fold.trees import mark_levels

_GROWTH: Final = 2.0
"""The factor by which a full table grows. Room takes no memory until it is used."""

INDEX_LOAD: Final = 0.7
"""The largest share of used places of an index: linear probing then takes 3 to 6 steps, in one cache line (Knuth
6.4)."""


class Tables(NamedTuple):
    """All rows, as compiled loops take them. `sizes` has the number of rows in use of each table of KEYED and LISTED,
    at N_EVENTS, N_ACTORS, ...; further rows are room. Its last number is that of the nodes that wait for a parent."""

    posts: Any
    events: Any
    event_index: Any
    actors: Any
    actor_index: Any
    takebacks: Any
    takeback_index: Any
    panes: Any
    pane_index: Any
    taken: Any
    taken_index: Any
    channels: Any
    channel_index: Any
    waiting: Any
    waiting_index: Any
    nodes: Any
    levels: Any
    tallies: Any
    trees: Any
    sizes: Any

    def post_panes(self, posts: Array) -> PostPanes:
        """Returns the panes of these posts, given by their rows."""
        return PostPanes(self.posts["ordered"][posts], self.posts["late"][posts], self.panes, self.taken)


def empty_tables() -> Tables:
    """Makes tables without rows."""
    return _tables(
        np.zeros(64, POST_ROW), {name: np.zeros(64, dtype) for name, dtype in (KEYED | LISTED).items()}, {}, 0
    )


def with_room(tables: Tables, posts: int, events: int = 0, nodes: int = 0, levels: int = 0) -> Tables:
    """Returns the same rows with room for `posts` posts in all, for `events` more events, `nodes` of them shares and
    comments, and for `levels` more levels than these need. O(rows) where a table grows, amortised O(1)."""
    grown: dict[str, Any] = {}
    if posts > len(tables.posts):
        grown["posts"] = _grow(tables.posts, len(tables.posts), max(posts, int(len(tables.posts) * _GROWTH)))
    for number, (name, most) in enumerate(ROWS_PER_EVENT.items()):
        rows, size = getattr(tables, name), int(tables.sizes[number])
        needed = size + most * (nodes if name in OF_NODES else events)
        if name == "levels":
            needed += most * int(tables.sizes[N_WAITERS]) + levels
        # Room for every event is a bound: a viral post fills one pane a minute. So a table grows by what is in use.
        if needed > len(rows):
            rows = grown[name] = _grow(rows, size, max(needed, int(size * _GROWTH)))
        if name not in KEYED:
            continue
        if needed > MOST_ROWS:
            raise MemoryError(f"more than {MOST_ROWS:,} {name} in memory: set a smaller ENGAGEMENT_MEMORY_MB")
        if needed > INDEX_LOAD * len(index := getattr(tables, index_of(name))):
            index = zeros(_places(needed / INDEX_LOAD), np.uint32)
            build_index(rows, size, index)
            grown[index_of(name)] = index
    return tables._replace(**grown) if grown else tables


def kept(tables: dict[str, Any], keep: "np.ndarray[Any, np.dtype[np.bool_]]") -> Tables:
    """Returns the rows of the posts where `keep` (one flag per post in use) is true, renumbered without gaps. O(rows).

    `tables` is a `Tables._asdict()` and is empty afterwards: each table is freed as soon as its remaining rows are
    copied, unless somebody else holds it, so that memory hardly rises.
    """
    for name in KEYED:
        del tables[index_of(name)]
    sizes = tables.pop("sizes")
    used = {name: slice(int(sizes[number])) for number, name in enumerate(ROWS_PER_EVENT)}
    stay = {name: _of_posts(tables, name, tables[name][used[name]], keep) for name in ROWS_PER_EVENT}
    renumbered = np.cumsum(keep, dtype=np.uint32) - np.uint32(1)
    survivors, moved = {"posts": tables.pop("posts")[: len(keep)][keep]}, {}
    for name, stays in stay.items():
        moved[name] = np.append(np.cumsum(stays, dtype=np.uint32) - np.uint32(1), NONE)
        survivors[name] = tables.pop(name)[used[name]][stays]
        if "post" in survivors[name].dtype.names:
            survivors[name]["post"] = renumbered[survivors[name]["post"]]
    for table, field, name in REFERENCES:
        survivors[table][field] = _follow(moved[name], survivors[table][field])
    events = survivors["events"]
    of_nodes, of_actors = (_follow(moved[name], events["actor"]) for name in ("nodes", "actors"))
    events["actor"] = np.where(TREE_OF[events["measure"]] > 0, of_nodes, of_actors)
    posts = survivors.pop("posts")
    return _tables(
        posts, survivors, {name: len(survivors[name]) for name in survivors}, int(survivors["trees"]["waits"].sum())
    )


def bytes_of(tables: Tables, posts: int) -> int:
    """Returns the memory of the rows in use, `posts` posts among them, and of all indexes."""
    rows = posts * tables.posts.itemsize
    for number, name in enumerate(ROWS_PER_EVENT):
        rows += int(tables.sizes[number]) * getattr(tables, name).itemsize
    return int(rows) + sum(int(getattr(tables, index_of(name)).nbytes) for name in KEYED)


def index_of(name: str) -> str:
    """Returns the field of `Tables` that has the index of a table."""
    return f"{name.removesuffix('s')}_index"


def _tables(posts: Any, rows: Mapping[str, Any], sizes: Mapping[str, int], waiters: int) -> Tables:
    """Makes tables of these rows with indexes. `sizes` may leave out empty tables."""
    indexes = {}
    for name in KEYED:
        size = sizes.get(name, 0)
        index = indexes[index_of(name)] = zeros(max(128, _places(size / INDEX_LOAD)), np.uint32)
        build_index(rows[name], size, index)
    in_use = np.array([*(sizes.get(name, 0) for name in ROWS_PER_EVENT), waiters], np.int64)
    return Tables(posts=posts, **rows, **indexes, sizes=in_use)


def _of_posts(tables: Mapping[str, Any], name: str, rows: Any, chosen: Any) -> Any:
    """Returns which of these rows of a table belong to the chosen posts."""
    if name == "levels":
        found = np.zeros(len(rows), np.bool_)
        mark_levels(tables["posts"], chosen, rows, found)
        return found
    return chosen[tables["events"]["post"][rows["event"]] if name == "nodes" else rows["post"]]


def _grow(rows: Any, used: int, capacity: int) -> Any:
    grown = zeros(capacity, rows.dtype)
    grown[:used] = rows[:used]
    return grown


def _places(at_least: float) -> int:
    """Returns the number of places of an index: a power of two, or three quarters of one."""
    places = 1 << max(int(at_least), 1).bit_length()
    return places * 3 // 4 if at_least <= places * 3 // 4 else places


def _follow(moved: Any, references: Any) -> Any:
    return moved[np.minimum(references, np.uint32(len(moved) - 1))]

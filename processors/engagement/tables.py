"""The memory of the fold: one table of fixed-width rows per kind of thing, each found by (post, key) through a hash
index.

Why not objects: a post of ten events as Python objects takes 6.7 KB and a like 365 bytes; as rows 1.3 KB and 70 bytes,
and the loop over them compiles (benchmarks/memory.py prints both). Rows are only ever appended; forgetting posts keeps
the others and builds the indexes anew, so there are no free lists and no tombstones.

    posts      a row per post: counts, newest minute, where its panes and channels start
    events     a row per distinct event: identity, and what must be undone when it is taken back
    actors     a row per (post, actor): how many of its net engagements stand
    takebacks  a row per (post, target): how many retractions name it, and the earliest minute of these
    panes      a row per (post, minute): adds
    taken      a row per pane that a retraction touched: retractions in it, and adds of it that were lost to one
    channels   a row per (post, channel): net engagements
"""

from typing import Any, Final, NamedTuple

import numpy as np

from processors.engagement import kernels

NONE: Final = kernels.NONE

POST: Final = np.dtype(
    [
        ("events_seen", "u4"),
        ("post_events", "u4"),  # events of kind post, retractions included
        ("newest", "u4"),  # minute of the newest event of any kind
        ("net", "u4", 3),
        ("actors", "u4"),
        ("unmatched", "u4"),
        ("takebacks", "u4"),
        ("ordered", "u4"),  # newest pane of the list in which each is older than the one before
        ("late", "u4"),  # first of the panes that came when a newer one was there, in no order
        ("channels", "u4"),
        ("hot", "f8"),  # weighted net engagement, decayed to the end of hot_minute
        ("hot_minute", "u4"),
        ("hot_stale", "u1"),  # something was taken back: the sum has to be built anew from the panes
        ("partition", "u2"),
        ("touched", "u4"),  # number of the last run that had an event of it
    ]
)
EVENT: Final = np.dtype(
    [
        ("post", "u4"),
        ("key", "u8"),
        ("actor", "u4"),
        ("channel", "u4"),
        ("minute", "u4"),
        ("check", "u4"),
        ("measure", "i1"),
    ]
)
ACTOR: Final = np.dtype([("post", "u4"), ("key", "u8"), ("count", "u4")])
TAKEBACK: Final = np.dtype([("post", "u4"), ("key", "u8"), ("count", "u4"), ("minute", "u4")])
PANE: Final = np.dtype([("post", "u4"), ("key", "u4"), ("next", "u4"), ("taken", "u4"), ("adds", "u4", 3)])
TAKEN: Final = np.dtype([("post", "u4"), ("key", "u4"), ("retracted", "u4", 3), ("lost", "u4", 3)])
CHANNEL: Final = np.dtype([("post", "u4"), ("key", "u8"), ("next", "u4"), ("count", "u4")])

KEYED: Final[dict[str, np.dtype[Any]]] = {
    "events": EVENT,
    "actors": ACTOR,
    "takebacks": TAKEBACK,
    "panes": PANE,
    "taken": TAKEN,
    "channels": CHANNEL,
}
"""Tables with an index, in the order of `Tables.sizes`."""

ROWS_PER_EVENT: Final = {"events": 1, "actors": 1, "takebacks": 1, "panes": 2, "taken": 2, "channels": 1}
"""The most rows that one event can add: its own pane, and that of the retraction that was waiting for it."""

GROWTH: Final = 1.25
LOAD: Final = 0.7
"""Most full an index gets: linear probing over one cache line finds a free place in 3 to 6 steps there (Knuth 6.4)."""


class Tables(NamedTuple):
    """All rows, as the compiled loops take them. `sizes[i]` rows of the i-th keyed table are in use, the rest is
    room."""

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
    sizes: Any


def empty_tables() -> Tables:
    """Tables without a row."""
    keyed: list[Any] = []
    for dtype in KEYED.values():
        keyed += [np.zeros(64, dtype), np.zeros(128, np.uint32)]
    return Tables._make((np.zeros(64, POST), *keyed, np.zeros(len(KEYED), np.int64)))


def with_room(tables: Tables, posts: int, events: int) -> Tables:
    """The same rows with room for `posts` posts in all and for `events` more events. O(rows) when it has to grow,
    amortised O(1)."""
    grown: dict[str, Any] = {}
    if posts > len(tables.posts):
        grown["posts"] = _grow(tables.posts, max(posts, int(len(tables.posts) * GROWTH)))
    for number, name in enumerate(KEYED):
        rows, size = getattr(tables, name), int(tables.sizes[number])
        needed = size + ROWS_PER_EVENT[name] * events
        if needed > kernels.MOST_ROWS:
            raise MemoryError(f"more than {kernels.MOST_ROWS:,} {name} in memory: set a smaller ENGAGEMENT_MEMORY_MB")
        # Room for every event is a bound, not a need: a viral post fills one pane a minute. What is used pays for the
        # growth.
        if needed > len(rows):
            rows = grown[name] = _grow(rows, max(needed, int(size * GROWTH)))
        if needed > LOAD * len(index := getattr(tables, index_of(name))):
            index = np.zeros(_power_of_two(needed / LOAD), np.uint32)
            kernels.build_index(rows, size, index)
            grown[index_of(name)] = index
    return tables._replace(**grown) if grown else tables


def kept(tables: Tables, keep: "np.ndarray[Any, np.dtype[np.bool_]]") -> Tables:
    """Only the rows of the posts where `keep` (one flag per post in use), renumbered without gaps. O(rows)."""
    renumbered = np.cumsum(keep, dtype=np.uint32) - np.uint32(1)
    survivors, moved = {}, {}
    for number, name in enumerate(KEYED):
        rows = getattr(tables, name)[: tables.sizes[number]]
        stays = keep[rows["post"]]
        moved[name] = np.append(np.cumsum(stays, dtype=np.uint32) - np.uint32(1), NONE)
        survivors[name] = rows[stays]
        survivors[name]["post"] = renumbered[survivors[name]["post"]]
    posts = tables.posts[: len(keep)][keep]
    for field, name in (("ordered", "panes"), ("late", "panes"), ("channels", "channels")):
        posts[field] = _follow(moved[name], posts[field])
    for table, field, name in (
        ("events", "actor", "actors"),
        ("events", "channel", "channels"),
        ("panes", "next", "panes"),
        ("panes", "taken", "taken"),
        ("channels", "next", "channels"),
    ):
        survivors[table][field] = _follow(moved[name], survivors[table][field])
    keyed: list[Any] = []
    for rows in survivors.values():
        index = np.zeros(max(128, _power_of_two(len(rows) / LOAD)), np.uint32)
        kernels.build_index(rows, len(rows), index)
        keyed += [rows, index]
    sizes = np.array([len(rows) for rows in survivors.values()], np.int64)
    return Tables._make((posts, *keyed, sizes))


def bytes_of(tables: Tables) -> int:
    """Memory of all arrays, room included."""
    return sum(array.nbytes for array in tables)


def index_of(name: str) -> str:
    return f"{name.removesuffix('s')}_index"


def _grow(rows: Any, capacity: int) -> Any:
    grown = np.zeros(capacity, rows.dtype)
    grown[: len(rows)] = rows
    return grown


def _power_of_two(at_least: float) -> int:
    return 1 << max(int(at_least), 1).bit_length()


def _follow(moved: Any, references: Any) -> Any:
    return moved[np.minimum(references, np.uint32(len(moved) - 1))]

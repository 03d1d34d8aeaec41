"""Derived rows anew from the log, or only held against what is stored. Truth here is the set of events in `events`,
nothing else.

Works through the posts in order, some at a time, so memory is bounded whatever the log holds; may run beside workers:
what it writes is as absolute as what they write, and the row that has seen more events wins. Rows are read before the
log, which is stored first (law 1): a row that claims to have seen more than the log has is forged. No write would win
over it, so it is removed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.compare_rows import Columns, Difference, Key, compare, difference, emptied, keys_of, plain
from processors.columnar.hashing import Hasher
from processors.engagement.cells.cells import cells_of, conversation_posts
from processors.engagement.fold.fold import Fold
from processors.engagement.job import JobPolicy
from processors.engagement.ports import EventLog, RowStore
from processors.engagement.read_through import add_logged_posts, read_logged_posts
from processors.engagement.rows import post_rows
from processors.engagement.rows.carry_over import carry_over
from processors.engagement.rows.spread import Spreading
from processors.engagement.state import PostsState
from processors.virality.parameters import load_parameters
from schemas.metrics import MINUTE
from schemas.tables import (
    CARRY_OVER,
    CONVERSATION_POSTS,
    KNOWN_POSTS,
    POST_METRICS,
    POST_MINUTES,
    POSTS,
    Table,
)

CHUNK_EVENTS: Final = 500_000
CHUNK_POSTS: Final = 20_000

DERIVED_TABLES: Final = (POST_METRICS, POST_MINUTES, POSTS, CONVERSATION_POSTS, CARRY_OVER)

EMPTIED: Final = (POST_MINUTES, CONVERSATION_POSTS)
"""Tables in which a row of zeros says that there is nothing."""

UNFOUNDED: Final = (POSTS, CARRY_OVER)
"""Tables in which nothing mends a row that should not be: no zeros say that it is not."""


class Stored(Protocol):
    """What recount reads besides the log."""

    def census(self) -> Iterator[tuple[str, int]]:
        """Every post of the log or of a derived table, once, in order, with its number of stored events (0: not in the
        log)."""
        ...

    def rows(self, table: Table, columns: Sequence[str], post_ids: Sequence[str]) -> Columns:
        """The current rows of these posts, as they are sent: times in ticks, NULL of a float as NaN."""
        ...

    def remove(self, table: Table, keys: Sequence[Key], versions: Sequence[int]) -> None:
        """Removes these rows, each in this version alone. Keys as in the table's ORDER BY."""
        ...


@dataclass(frozen=True)
class Chunk:
    """What became of some posts."""

    posts: int
    events: int
    differences: list[Difference]


@dataclass(frozen=True)
class _Expected:
    """What follows from the log: rows by table, and for each post that it has the number of its events of kind post."""

    rows: Mapping[Table, Columns]
    post_events: Mapping[str, int]

    def versions(self, table: Table, keys: Sequence[Key]) -> dict[Key, int]:
        """Finds the highest version that a row of each of these keys can have: that of the row that follows from the
        log; where none does, that of an empty one; -1 where there can be none."""
        found = dict.fromkeys(keys, -1)
        if table in EMPTIED:
            place = table.order_by.index("post_id")
            known = [key for key in keys if key[place] in self.post_events]
            # An empty pane has seen nothing, an empty cell what the post says of itself.
            seen = [self.post_events[key[place]] if table is CONVERSATION_POSTS else 0 for key in known]
            found |= zip(known, post_rows.versions(np.array(seen, np.int64)).tolist(), strict=True)
        columns = self.rows[table]
        return found | dict(zip(keys_of(table, columns), plain(columns["version"]), strict=True))


def recount_posts(
    log: EventLog, stored: Stored, hasher: Hasher, store: RowStore | None, policy: JobPolicy | None = None
) -> Iterator[Chunk]:
    """Compares chunk by chunk; with a `store` also writes every row anew. `policy`: that of the workers. Blocks. Raises
    Unavailable, Refused."""
    policy = policy or JobPolicy()
    spreading = Spreading(policy.forecast or load_parameters())
    for post_ids in _chunks(stored.census()):
        found = {table: stored.rows(table, table.sent, post_ids) for table in DERIVED_TABLES}
        shown = dict(zip(*(plain(found[POST_METRICS][name]) for name in ("post_id", "spread_as_of")), strict=True))
        expected = _expected(log, hasher, post_ids, policy, spreading, shown)
        unknown = _unknown(stored, list(expected.post_events))
        differences = [difference(KNOWN_POSTS, (post_id,), "row", None, "a row") for post_id in unknown]
        if unknown and store is not None:
            store.upsert(KNOWN_POSTS.name, {"post_id": unknown})
        for table, columns in expected.rows.items():
            surplus = compare(table, columns, found[table], differences)
            if store is not None:
                _mend(table, expected, found[table], surplus, stored, store)
        events = int(expected.rows[POST_METRICS]["events_seen"].sum())
        yield Chunk(len(post_ids), events, differences)


def _mend(
    table: Table, expected: _Expected, found: Columns, surplus: Sequence[Key], stored: Stored, store: RowStore
) -> None:
    shown = dict(zip(keys_of(table, found), plain(found["version"]), strict=True))
    versions = expected.versions(table, list(shown))
    unfounded = set(surplus) if table in UNFOUNDED else set()
    # No upsert mends a row that has seen more events than there are, or that should not be where nothing says so.
    forged = {key: version for key, version in shown.items() if version > versions[key] or key in unfounded}
    if forged:
        stored.remove(table, list(forged), list(forged.values()))
    if len(expected.rows[table]["version"]):
        store.upsert(table.name, expected.rows[table])
    if table in EMPTIED and (left := [key for key in surplus if key not in forged]):
        store.upsert(table.name, emptied(table, left, [versions[key] for key in left]))


def _unknown(stored: Stored, logged: Sequence[str]) -> list[str]:
    """Posts of the log that a worker would take for new."""
    known = set(plain(stored.rows(KNOWN_POSTS, KNOWN_POSTS.sent, logged)["post_id"])) if logged else set()
    return [post_id for post_id in logged if post_id not in known]


def _chunks(census: Iterator[tuple[str, int]]) -> Iterator[list[str]]:
    chunk: list[str] = []
    events = 0
    for post_id, count in census:
        if chunk and (events + count > CHUNK_EVENTS or len(chunk) >= CHUNK_POSTS):
            yield chunk
            chunk, events = [], 0
        chunk.append(post_id)
        events += count
    if chunk:
        yield chunk


def _expected(
    log: EventLog,
    hasher: Hasher,
    post_ids: Sequence[str],
    policy: JobPolicy,
    spreading: Spreading,
    shown: Mapping[str, int],
) -> _Expected:
    """`shown`: spread_as_of of the rows of post_metrics that are there."""
    state = PostsState(hasher, policy.brands, threads=policy.threads)
    fold = state.fold
    read = read_logged_posts(log, hasher, post_ids, state)
    state.add(post_ids, np.zeros(len(post_ids), np.uint16))
    said = add_logged_posts(read, state)
    seen, _ = fold.seen(np.arange(len(fold)))
    real = np.flatnonzero(seen > 0)
    panes = fold.panes_of(real)
    versions = post_rows.versions(fold.post_events(fold.find(list(said))))
    cells = [conversation_posts(cells) for cells in cells_of(fold, state.known, panes, state.again(said), 1)]
    return _Expected(
        {
            POST_METRICS: spreading.rows(fold, real, _as_shown(fold, real, shown)),
            POST_MINUTES: post_rows.of_panes(fold, panes),
            POSTS: post_rows.posts(list(said), [one.facts for one in said.values()], versions),
            CONVERSATION_POSTS: _joined(cells),
            CARRY_OVER: carry_over(said, versions),
        },
        dict(zip([post_ids[row] for row in real.tolist()], fold.post_events(real).tolist(), strict=True)),
    )


def _as_shown(fold: Fold, posts: Array, shown: Mapping[str, int]) -> Array:
    """What these posts' spread is meant for: each row is compared at its own time, where that is one that it can
    have."""
    said = np.array([shown.get(fold.post_ids[row], 0) // MINUTE for row in posts.tolist()], np.int64)
    return np.where(Spreading.times(fold, posts, said) == said, said, fold.seen(posts)[1])


def _joined(parts: Sequence[Columns]) -> Columns:
    if not parts:
        return {name: np.empty(0, object) for name in CONVERSATION_POSTS.sent}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

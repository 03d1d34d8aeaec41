"""Recounts the derived rows of posts from the log: compares them with the stored rows, and writes them anew.

The set of events in the table `events` is the only truth. The recount goes through the posts in order, chunk by chunk,
so memory is bounded whatever the log holds. It may run beside workers: its rows are as absolute as theirs, and the row
that has seen more events wins. Rows are read before the log, which is stored first (law 1), so a row that claims more
events than the log has is forged. No write would win over a forged row, so it is removed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from processors.columnar.arrays import Array, Columns
from processors.columnar.compare_rows import Difference, Key, compare, difference, emptied, keys_of, plain
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
"""Tables in which a row of zeros stands for an empty pane or cell."""

UNFOUNDED: Final = (POSTS, CARRY_OVER)
"""Tables in which a row that should not exist is removed, because no row of zeros can replace it."""


class Stored(Protocol):
    """The stored rows, which the recount reads besides the log."""

    def census(self) -> Iterator[tuple[str, int]]:
        """Reads every post of the log or of a derived table, once, in order, with the number of events in the log."""
        ...

    def rows(self, table: Table, columns: Sequence[str], post_ids: Sequence[str]) -> Columns:
        """Reads the current rows of the given posts in the form of an INSERT: times in ticks, NULL of a float as
        NaN."""
        ...

    def remove(self, table: Table, keys: Sequence[Key], versions: Sequence[int]) -> None:
        """Removes these rows, each in the given version alone. Keys are those of Table.key."""
        ...


@dataclass(frozen=True)
class Chunk:
    """The result for one chunk of posts."""

    posts: int
    events: int
    differences: list[Difference]


@dataclass(frozen=True)
class ExpectedRows:
    """The expected content: rows by table, and for each post of the log the number of its events of kind post."""

    rows: Mapping[Table, Columns]
    post_events: Mapping[str, int]

    def versions(self, table: Table, keys: Sequence[Key]) -> dict[Key, int]:
        """Finds the highest possible version of a row of each key: the version of the expected row, or of an empty row
        where none is expected; -1 where no row can be."""
        versions = dict.fromkeys(keys, -1)
        if table in EMPTIED:
            position = table.key.index("post_id")
            known = [key for key in keys if key[position] in self.post_events]
            # The version of an empty pane counts no events, that of an empty cell the post's own events.
            seen = [self.post_events[key[position]] if table is CONVERSATION_POSTS else 0 for key in known]
            versions |= zip(known, post_rows.versions(np.array(seen, np.int64)).tolist(), strict=True)
        columns = self.rows[table]
        return versions | dict(zip(keys_of(table, columns), plain(columns["version"]), strict=True))


def recount_posts(
    log: EventLog, stored: Stored, hasher: Hasher, store: RowStore | None, policy: JobPolicy | None = None
) -> Iterator[Chunk]:
    """Compares all rows, chunk by chunk; with a `store` also writes every row anew. `policy` is that of the workers.
    Blocks. Raises Unavailable, Refused."""
    policy = policy or JobPolicy()
    spreading = Spreading(policy.forecast or load_parameters())
    for post_ids in chunks(stored.census()):
        present = {table: stored.rows(table, table.sent, post_ids) for table in DERIVED_TABLES}
        shown = dict(zip(*(plain(present[POST_METRICS][name]) for name in ("post_id", "spread_as_of")), strict=True))
        expected = expected_rows(log, hasher, post_ids, policy, spreading, shown)
        unknown = _unknown(stored, list(expected.post_events))
        differences = [difference(KNOWN_POSTS, (post_id,), "row", None, "a row") for post_id in unknown]
        if unknown and store is not None:
            store.upsert(KNOWN_POSTS.name, {"post_id": unknown})
        for table, columns in expected.rows.items():
            surplus = compare(table, columns, present[table], differences)
            if store is not None:
                _mend(table, expected, present[table], surplus, stored, store)
        events = int(expected.rows[POST_METRICS]["events_seen"].sum())
        yield Chunk(len(post_ids), events, differences)


def _mend(
    table: Table, expected: ExpectedRows, present: Columns, surplus: Sequence[Key], stored: Stored, store: RowStore
) -> None:
    shown = dict(zip(keys_of(table, present), plain(present["version"]), strict=True))
    versions = expected.versions(table, list(shown))
    unfounded = set(surplus) if table in UNFOUNDED else set()
    # No upsert replaces a row that claims more events than there are, or one in a table without rows of zeros.
    forged = {key: version for key, version in shown.items() if version > versions[key] or key in unfounded}
    if forged:
        stored.remove(table, list(forged), list(forged.values()))
    if len(expected.rows[table]["version"]):
        store.upsert(table.name, expected.rows[table])
    if table in EMPTIED and (left := [key for key in surplus if key not in forged]):
        store.upsert(table.name, emptied(table, left, [versions[key] for key in left]))


def _unknown(stored: Stored, logged: Sequence[str]) -> list[str]:
    """Returns the posts of the log that a worker would take for new."""
    known = set(plain(stored.rows(KNOWN_POSTS, KNOWN_POSTS.sent, logged)["post_id"])) if logged else set()
    return [post_id for post_id in logged if post_id not in known]


def chunks(census: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    """Splits posts, each with the number of its events, into chunks that fit into memory when they are folded."""
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


def expected_rows(
    log: EventLog,
    hasher: Hasher,
    post_ids: Sequence[str],
    policy: JobPolicy,
    spreading: Spreading,
    shown: Mapping[str, int],
) -> ExpectedRows:
    """Folds the log's events of these posts and makes their rows. `shown`: spread_as_of of the stored rows of
    post_metrics."""
    state = PostsState(hasher, policy.tracked, threads=policy.threads)
    fold = state.fold
    read = read_logged_posts(log, hasher, post_ids, state)
    state.add(post_ids, np.zeros(len(post_ids), np.uint16))
    own = add_logged_posts(read, state)
    seen, _ = fold.seen(np.arange(len(fold)))
    real = np.flatnonzero(seen > 0)
    panes = fold.panes_of(real)
    versions = post_rows.versions(fold.post_events(fold.find(list(own))))
    cells = [conversation_posts(cells) for cells in cells_of(fold, state.known, panes, state.again(own), 1)]
    return ExpectedRows(
        {
            POST_METRICS: spreading.rows(fold, real, _as_shown(fold, real, shown)),
            POST_MINUTES: post_rows.of_panes(fold, panes),
            POSTS: post_rows.posts(list(own), [events.facts for events in own.values()], versions),
            CONVERSATION_POSTS: _joined(cells),
            CARRY_OVER: carry_over(own, versions),
        },
        dict(zip([post_ids[row] for row in real.tolist()], fold.post_events(real).tolist(), strict=True)),
    )


def _as_shown(fold: Fold, posts: Array, shown: Mapping[str, int]) -> Array:
    """Returns the minute at which R_t and forecast of each post are compared: that of its stored row, where a row can
    have it, else the minute of its newest event."""
    stored = np.array([shown.get(fold.post_ids[row], 0) // MINUTE for row in posts.tolist()], np.int64)
    return np.where(Spreading.times(fold, posts, stored) == stored, stored, fold.seen(posts)[1])


def _joined(parts: Sequence[Columns]) -> Columns:
    if not parts:
        return {name: np.empty(0, object) for name in CONVERSATION_POSTS.sent}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

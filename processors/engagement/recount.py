"""Derived rows anew from the log, or only held against what is stored. Truth here is the set of events in `events`,
nothing else.

Works through the posts in order, some at a time, so memory is bounded whatever the log holds; may run beside workers:
what it writes is as absolute as what they write, and the row that has seen more events wins. Rows are read before the
log, which is stored first (law 1): a row that claims to have seen more than the log has is forged. No write would win
over it, so it is removed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import numpy as np

from pipeline.brands import Brands
from processors.engagement import rows
from processors.engagement.facts import PostEvent, facts_of
from processors.engagement.fold import Fold
from processors.engagement.hashing import Hasher
from processors.engagement.ports import Log, Store
from schemas.tables import KNOWN_POSTS, POST_METRICS, POST_MINUTES, POSTS, Table

CHUNK_EVENTS: Final = 500_000
CHUNK_POSTS: Final = 20_000
FLOAT_TOLERANCE: Final = 1e-9
"""Relative: sums of floats depend on their order in the last digits."""

KEYS: Final = {POST_METRICS.name: ("post_id",), POST_MINUTES.name: ("post_id", "minute"), POSTS.name: ("post_id",)}

Columns = Mapping[str, Any]
Key = tuple[Any, ...]


class Stored(Protocol):
    """What recount reads besides the log."""

    def census(self) -> Iterator[tuple[str, int]]:
        """Every post of the log or of a derived table, once, in order, with its number of stored events (0: not in the
        log)."""
        ...

    def rows(self, table: Table, columns: Sequence[str], post_ids: Sequence[str]) -> Columns:
        """The current rows of these posts; times in ticks, NULL of a float as NaN."""
        ...

    def remove(self, table: Table, keys: Sequence[Key], versions: Sequence[int]) -> None:
        """Removes these rows, each in this version alone. Keys are post_id, and where the table has it minute."""
        ...


@dataclass(frozen=True)
class Difference:
    """One value that is not what the log says. `stored` or `expected` is None where the whole row is missing there."""

    table: str
    key: Key
    column: str
    stored: Any
    expected: Any

    def __str__(self) -> str:
        post_id, *minutes = self.key
        times = [datetime.fromtimestamp(seconds, UTC).strftime(" %Y-%m-%dT%H:%MZ") for seconds in minutes]
        where = f"{self.table} {post_id}{''.join(times)} {self.column}"
        return f"{where}: stored {self.stored}, the log says {self.expected}"


@dataclass(frozen=True)
class Chunk:
    """What became of some posts."""

    posts: int
    events: int
    differences: list[Difference]


def recount(log: Log, stored: Stored, hasher: Hasher, store: Store | None) -> Iterator[Chunk]:
    """Compares chunk by chunk; with a `store` also writes every row anew. Blocks. Raises Unavailable, Refused."""
    for post_ids in _chunks(stored.census()):
        found = {name: stored.rows(table, table.sent, post_ids) for name, table in TABLES.items()}
        expected = _expected(log, hasher, post_ids)
        differences = [
            Difference(KNOWN_POSTS.name, (post_id,), "row", None, "a row") for post_id in _unknown(stored, expected)
        ]
        if differences and store is not None:
            store.upsert(KNOWN_POSTS.name, {"post_id": [difference.key[0] for difference in differences]})
        for table, columns in expected.items():
            surplus = _compare(table, columns, found[table], differences)
            if store is not None:
                forged = _forged(table, found[table], expected[POST_METRICS.name], surplus)
                if forged:
                    stored.remove(TABLES[table], list(forged), list(forged.values()))
                if len(columns["post_id"]):
                    store.upsert(table, columns)
                if table == POST_MINUTES.name and (left := [key for key in surplus if key not in forged]):
                    store.upsert(table, _emptied(left, expected[POST_METRICS.name]))
        yield Chunk(len(post_ids), int(expected[POST_METRICS.name]["events_seen"].sum()), differences)


TABLES: Final = {table.name: table for table in (POST_METRICS, POST_MINUTES, POSTS)}


def _unknown(stored: Stored, expected: Mapping[str, Columns]) -> list[str]:
    """Posts of the log that a worker would take for new."""
    logged = _plain(expected[POST_METRICS.name]["post_id"])
    known = set(_plain(stored.rows(KNOWN_POSTS, KNOWN_POSTS.sent, logged)["post_id"])) if logged else set()
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


def _expected(log: Log, hasher: Hasher, post_ids: Sequence[str]) -> dict[str, Columns]:
    fold = Fold()
    fold.add(post_ids, np.zeros(len(post_ids), np.uint16))
    hashes = hasher.hashes(post_ids)
    order = np.argsort(hashes)
    for block in log.read(post_ids):
        fold.take(order[np.searchsorted(hashes, block.posts, sorter=order)], block.events)
    seen, _ = fold.seen(np.arange(len(fold)))
    real = np.flatnonzero(seen > 0)
    return {
        POST_METRICS.name: rows.of_posts(fold, real),
        POST_MINUTES.name: rows.of_panes(fold, fold.panes_of(real)),
        POSTS.name: _posts(log, fold, [post_ids[row] for row in real.tolist() if fold.post_events(np.array([row]))[0]]),
    }


def _posts(log: Log, fold: Fold, post_ids: Sequence[str]) -> Columns:
    own: dict[str, list[PostEvent]] = {post_id: [] for post_id in post_ids}
    for event in log.read_posts(post_ids) if post_ids else ():
        own[event.post_id].append(event)
    facts = {post_id: found for post_id, events in own.items() if (found := facts_of(events, Brands()))}
    return rows.posts(list(facts), list(facts.values()), rows.versions(*fold.seen(fold.find(list(facts)))))


def _compare(table: str, expected: Columns, stored: Columns, into: list[Difference]) -> list[Key]:
    """Appends the differences; returns the keys of rows that are stored and should not be. Panes without any count are
    none."""
    keys = KEYS[table]
    columns = [name for name in expected if name != "version"]
    counts = [name for name in columns if name not in keys] if table == POST_MINUTES.name else []
    ours, theirs = (_by_key(side, keys, counts) for side in (expected, stored))
    into += [Difference(table, key, "row", None, "a row") for key in ours.keys() - theirs.keys()]
    surplus = list(theirs.keys() - ours.keys())
    into += [Difference(table, key, "row", "a row", None) for key in surplus]
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return surplus
    left, right = np.array([ours[key] for key in both]), np.array([theirs[key] for key in both])
    for name in columns:
        if name in keys:
            continue
        should, does = _values(expected[name], left), _values(stored[name], right)
        for number in np.flatnonzero(~_equal(should, does)).tolist():
            into.append(Difference(table, both[number], name, does[number], should[number]))
    return surplus


def _forged(table: str, stored: Columns, posts: Columns, surplus: Sequence[Key]) -> dict[Key, int]:
    """Key -> version of the rows that no upsert mends: those that have seen more events than there are, those of posts
    that the log does not know, and facts of a post whose own event it does not have."""
    seen = dict(zip(_plain(posts["post_id"]), posts["version"].tolist(), strict=True))
    unfounded = set(surplus) if table == POSTS.name else set()
    keys = zip(*(_plain(stored[name]) for name in KEYS[table]), strict=True)
    return {
        key: version
        for key, version in zip(keys, _plain(stored["version"]), strict=True)
        if version > seen.get(key[0], -1) or key in unfounded
    }


def _by_key(columns: Columns, keys: Sequence[str], counts: Sequence[str]) -> dict[Key, int]:
    found = zip(*(_plain(columns[name]) for name in keys), strict=True)
    if not counts:
        return {key: number for number, key in enumerate(found)}
    filled = np.any([np.asarray(columns[name]) != 0 for name in counts], axis=0) if len(columns[keys[0]]) else []
    return {key: number for number, (key, full) in enumerate(zip(found, filled, strict=True)) if full}


def _values(column: Any, places: Any) -> Any:
    if isinstance(column, np.ndarray) and column.dtype != object:
        return column[places]
    values = np.empty(len(places), object)
    values[:] = [_hashable(column[place]) for place in places.tolist()]
    return values


def _equal(left: Any, right: Any) -> Any:
    if left.dtype.kind == "f" or right.dtype.kind == "f":
        return np.isclose(left.astype(float), right.astype(float), rtol=FLOAT_TOLERANCE, atol=0, equal_nan=True)
    return left == right


def _emptied(keys: Sequence[Key], posts: Columns) -> Columns:
    version = dict(zip(_plain(posts["post_id"]), posts["version"].tolist(), strict=True))
    ids = np.empty(len(keys), object)
    ids[:] = [post_id for post_id, _ in keys]
    names = [name for name in TABLES[POST_MINUTES.name].sent if name not in ("post_id", "minute", "version")]
    return {
        "post_id": ids,
        "minute": np.array([minute for _, minute in keys], np.uint32),
        **{name: np.zeros(len(keys), np.uint32) for name in names},
        "version": np.array([version.get(post_id, 0) for post_id, _ in keys], np.uint64),
    }


def _plain(column: Any) -> list[Any]:
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | np.ndarray) else value

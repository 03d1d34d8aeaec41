"""A log and a store in memory, as ClickHouse is: the highest version wins, the last among equals; INSERTs land in part.

    database = Database()
    store = FakeStore(database, hasher, Faults({3: "after"}))   # the third call takes effect and then fails

Several stores, each with its own hasher and faults, may share one database, as several workers do.
tests/test_store_contract.py holds it and the real thing to the same behaviour.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

from pipeline.errors import Unavailable
from processors.columnar.hashing import Hasher, Hashes
from processors.columnar.partitioning import partitions_of
from processors.engagement.fold.columns import POST, EventColumns, identities
from processors.engagement.ports import LoggedEvents
from processors.engagement.rows.post_facts import PostEvent
from processors.engagement.state import Tagged
from schemas.tables import TABLES, Table
from schemas.topics import KINDS

KEYS = {table.name: table.key for table in TABLES}

PACKED = ("Array(String)", "Array(UInt64)")
"""What travels as text within a column (pipeline/clickhouse/insert_format.py), and is kept as lists."""

Fault = Literal["before", "partly", "after"]
"""A call fails before it does anything, in the middle, or after all of it."""

Row = dict[str, Any]


@dataclass
class Faults:
    """Which calls fail. `at`: number of the call, from 1. `share`: how many fail by chance."""

    at: Mapping[int, Fault] = field(default_factory=dict)
    share: float = 0.0
    rng: random.Random = field(default_factory=random.Random)
    calls: int = 0

    def next(self) -> Fault | None:
        self.calls += 1
        if self.rng.random() < self.share:
            return self.rng.choice(("before", "partly", "after"))
        return self.at.get(self.calls)


class Database:
    """What survives every worker."""

    def __init__(self) -> None:
        self.events: list[Row] = []
        """As inserted: reads may see an event twice until a merge has come."""
        self.tables: dict[str, dict[tuple[Any, ...], Row]] = {}
        self.known: set[str] = set()

    def log(self, row: Row) -> None:
        self.events.append(row)
        self.known.add(row["post_id"])

    def upsert(self, table: str, row: Row) -> None:
        rows = self.tables.setdefault(table, {})
        key = tuple(row[name] for name in KEYS[table])
        if key not in rows or rows[key]["version"] <= row["version"]:
            rows[key] = row

    def rows(self, table: str) -> list[Row]:
        """The rows that stand."""
        return list(self.tables.get(table, {}).values())


class FakeStore:
    """Log and Store of one worker."""

    def __init__(
        self,
        database: Database,
        hasher: Hasher,
        faults: Faults | None = None,
        before_call: Callable[[str], None] = lambda name: None,
    ) -> None:
        """`before_call` is told each call by name; it may raise, as a crash would."""
        self._database, self._hasher = database, hasher
        self._faults, self._before_call = faults or Faults(), before_call

    def known(self, partitions: Sequence[int], of: int) -> Iterator[Hashes]:
        self._fail("known")
        posts = sorted(self._database.known)
        owned = np.isin(partitions_of(posts, of), list(partitions)) if posts else np.empty(0, np.bool_)
        mine = self._hasher.hashes([post for post, mine in zip(posts, owned, strict=True) if mine])
        yield from (mine[start : start + 7] for start in range(0, len(mine), 7))

    def read(self, post_ids: Sequence[str]) -> Iterator[LoggedEvents]:
        self._fail("read")
        wanted = set(post_ids)
        found = [row for row in self._database.events if row["post_id"] in wanted]
        for start in range(0, len(found), 7):
            yield self._logged(sorted(found[start : start + 7], key=lambda row: row["occurred_us"]))

    def read_posts(self, post_ids: Sequence[str]) -> Sequence[PostEvent]:
        self._fail("read_posts")
        wanted = set(post_ids)
        found = [row for row in self._database.events if row["kind"] == POST and row["post_id"] in wanted]
        return [
            PostEvent(
                row["post_id"],
                row["event_id"],
                row["target_id"],
                row["occurred_us"],
                row["author_id"] or row["actor_id"],
                row["channel"],
                row["url"],
                row["conversations"],
                row["links"],
                row["quotes"],
                row["followers"],
                row["labels"],
                row["text"],
            )
            for row in sorted(found, key=lambda row: row["offset"])
        ]

    def read_tagged(self, post_ids: Sequence[str]) -> Sequence[Tagged]:
        self._fail("read_tagged")
        wanted = set(post_ids)
        first: dict[tuple[str, int, str], Tagged] = {}
        for row in sorted(self._database.events, key=lambda row: row["offset"]):
            if row["post_id"] in wanted and KINDS[row["kind"]] in ("share", "comment") and row["action"] == 0:
                one = Tagged(row["post_id"], row["kind"], row["event_id"], row["conversations"])
                first.setdefault(one[:3], one)
        return [one for one in first.values() if one.conversations]

    def retired(self, post_ids: Sequence[str]) -> Mapping[str, int]:
        self._before_call("retired")
        rows = self._database.tables.get("retired_posts", {})
        found = (rows[post_id,] for post_id in post_ids if (post_id,) in rows)
        return {row["post_id"]: row["as_of"] for row in found if row["state"] != "kept"}

    def retired_since(self, version: int) -> tuple[Sequence[str], int]:
        self._before_call("retired_since")
        rows = [
            row for row in self._database.rows("retired_posts") if row["version"] >= version and row["state"] != "kept"
        ]
        return [row["post_id"] for row in rows], max((row["version"] for row in rows), default=version)

    def read_channels(self, post_ids: Sequence[str]) -> Sequence[str]:
        self._fail("read_channels")
        wanted = set(post_ids)
        return list({row["channel"] for row in self._database.events if row["post_id"] in wanted})

    def append(self, events: EventColumns) -> None:
        names = [column.name for column in fields(EventColumns)]
        self._store("append", _rows({name: getattr(events, name) for name in names}), self._database.log)

    def upsert(self, table: str, columns: Mapping[str, Sequence[Any] | Any]) -> None:
        packed = [column.name for column in _declared(table).columns if column.type in PACKED]
        rows = [row | {name: _unpacked(row[name]) for name in packed if name in row} for row in _rows(columns)]
        self._store("upsert", rows, lambda row: self._database.upsert(table, row))

    def _store(self, name: str, rows: list[Row], put: Callable[[Row], None]) -> None:
        fault = self._fail(name)
        for row in rows[: len(rows) // 2] if fault == "partly" else rows:
            put(row)
        if fault:
            raise Unavailable(f"{name}: cut off")

    def _fail(self, name: str) -> Fault | None:
        self._before_call(name)
        fault = self._faults.next()
        if fault == "before" or (fault and name not in ("append", "upsert")):
            raise Unavailable(f"{name}: no answer")
        return fault

    def _logged(self, rows: list[Row]) -> LoggedEvents:
        def hashes(name: str) -> Hashes:
            return self._hasher.hashes([row[name] for row in rows])

        events = identities(
            np.array([row["kind"] for row in rows], np.int8),
            np.array([row["action"] for row in rows], np.int8),
            np.array([row["occurred_us"] for row in rows], np.int64),
            *(hashes(name) for name in ("event_id", "target_id")),
            self._hasher.actors([row["actor_id"] for row in rows]),
            *(hashes(name) for name in ("parent_id", "channel")),
            np.array([row["parent_id"] in ("", row["post_id"]) for row in rows], np.bool_),
        )
        return LoggedEvents(hashes("post_id"), events)


def _declared(name: str) -> Table:
    return next(table for table in TABLES if table.name == name)


def _unpacked(value: Any) -> list[Any]:
    if isinstance(value, bytes):
        return np.frombuffer(value, "<u8").tolist()
    if isinstance(value, str):
        return value.split("\0") if value else []
    return list(value)


def _rows(columns: Mapping[str, Any]) -> list[Row]:
    values = [column.tolist() if isinstance(column, np.ndarray) else list(column) for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]

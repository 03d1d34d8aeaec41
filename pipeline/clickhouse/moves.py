"""Moves the rows of a table into another sorting key or partitioning, while workers write.

A migration creates the table to be, named `<table>_<number of the migration>`. Then, for each table:

    1. a feed (materialized view) copies every further insert into the table to be
    2. inserts that had begun before the feed end: these are waited for
    3. the partitions are copied, one after the other; each is streamed, so memory is bounded
    4. the two tables change names (EXCHANGE TABLES, atomic), and the feed is dropped
    5. inserts that had begun before end, and what the old table has got since step 3 is copied once more, because such
       an insert may have found the old table under both names; then the old table is dropped

Rows are absolute and the newest version wins, so rows that are copied twice change nothing. Each step may be repeated:
after a crash at any point the next `init` begins with step 1, or with step 5, for all parts, where the names have been
changed. Workers of the version before may go on: they find the same columns. Meanwhile the disk holds one table twice.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.ddl import render
from pipeline.errors import Refused
from pipeline.settings import Settings


@dataclass(frozen=True)
class Moves:
    """The tables whose rows a migration moves, one for each statement of its file, and how the sorting keys of the
    tables to be begin, by which a table that has been moved is recognised."""

    tables: tuple[str, ...]
    sorted_by: str


MOVES: Final[Mapping[str, Moves]] = {
    "0011_days.sql": Moves(
        ("post_minutes", "conversation_posts", "conversation_minutes", "conversation_closed"), "toDate(minute)"
    )
}
"""Migration -> what it moves."""

LOCK: Final = "schema_lock"
"""The table that exists while a client changes feeds and names. ClickHouse creates a table once: whoever does holds
the lock."""

STALE_SECONDS: Final = 60
"""Age from which on a lock is that of a client that has died: a holder needs some tenths of a second."""

LONGEST_INSERT_SECONDS: Final = 600
REPLICA_INSERT_SECONDS: Final = 30
"""How long inserts without the feed are waited for: on this server until none runs, at most the first; on a cluster,
whose other servers are not asked, the second."""


def table_to_be(table: str, migration: str) -> str:
    """Returns the name under which a migration creates the table to be.

    >>> table_to_be("post_minutes", "0011_days.sql")
    'post_minutes_0011'
    """
    return f"{table}_{migration.partition('_')[0]}"


def run_statements(migration: str, statements: Sequence[str], clickhouse: ClickHouse, settings: Settings) -> None:
    """Runs the statements of a migration, and moves rows where it is one that does; may be repeated. Blocks.

    Raises Refused, also where another client moves the same rows at this moment; Unavailable.
    """
    if moves := MOVES.get(migration):
        for table, statement in zip(moves.tables, statements, strict=True):
            _Move(table, table_to_be(table, migration), moves.sorted_by, clickhouse, settings).run(statement)
    else:
        for statement in statements:
            clickhouse.execute(statement)


class _Move:
    def __init__(self, table: str, to_be: str, sorted_by: str, clickhouse: ClickHouse, settings: Settings) -> None:
        self._table, self._to_be, self._feed = table, to_be, f"{to_be}_feed"
        self._sorted_by, self._clickhouse, self._settings = sorted_by, clickhouse, settings
        self._copied: dict[str, str] = {}

    def run(self, create: str) -> None:
        if not self._is_done:
            # A replicated table to be must not be created again once its name has been changed: its path is taken.
            self._clickhouse.execute(create)
            if any(self._clickhouse.select(f"SELECT 1 FROM {self._table} LIMIT 1")):
                self._refuse_shards()
                self._make_feed()
                self._wait_for_inserts()
                self._copied = self._parts()
                self._copy()
            self._change_names()
        self._drop("VIEW", self._feed)
        self._copy_late()
        self._drop("TABLE", self._to_be)

    @property
    def _is_done(self) -> bool:
        """Whether the names have been changed."""
        [[key]] = self._clickhouse.select(
            "SELECT sorting_key FROM system.tables WHERE database = currentDatabase() AND name = %(table)s",
            {"table": self._table},
        )
        return str(key).startswith(self._sorted_by)

    def _refuse_shards(self) -> None:
        if cluster := self._settings.clickhouse_cluster:
            [[shards]] = self._clickhouse.select(
                "SELECT uniqExact(shard_num) FROM system.clusters WHERE cluster = %(cluster)s", {"cluster": cluster}
            )
            if shards > 1:
                raise Refused(
                    f"the cluster {cluster} has {shards} shards, and `engagement init` would copy {self._table} on one "
                    "of them: stop the workers, see docs/operations.md#kafka-and-clickhouse, and copy on each shard"
                )

    def _make_feed(self) -> None:
        with _locked(self._clickhouse, self._settings):
            if not self._is_done:
                self._do(
                    f"CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.{self._feed} {{cluster}} "
                    f"TO {{database}}.{self._to_be} AS SELECT * FROM {{database}}.{self._table}"
                )

    def _wait_for_inserts(self) -> None:
        if self._settings.clickhouse_cluster:
            time.sleep(REPLICA_INSERT_SECONDS)
            return
        [[began]] = self._clickhouse.select("SELECT toUnixTimestamp64Milli(now64(3))")
        until = time.monotonic() + LONGEST_INSERT_SECONDS
        while time.monotonic() < until:
            [[running]] = self._clickhouse.select(
                "SELECT count() FROM system.processes WHERE query_kind IN ('Insert', 'AsyncInsertFlush') "
                f"AND toUnixTimestamp64Milli(now64(3)) - 1000 * elapsed < {began} AND position(query, %(table)s) > 0",
                {"table": self._table},
            )
            if not running:
                return
            time.sleep(0.2)
        raise Refused(
            f"an insert into {self._table} has been running for {LONGEST_INSERT_SECONDS} s, and its rows would be lost "
            "by a move of the table: end it (KILL QUERY), and run `engagement init`"
        )

    def _parts(self) -> dict[str, str]:
        """Part -> partition, of the parts that the table has now."""
        columns = self._clickhouse.select(
            "SELECT name, partition_id FROM system.parts "
            "WHERE database = currentDatabase() AND table = %(table)s AND active",
            {"table": self._table},
        )
        return dict(zip(*columns, strict=True))

    def _copy(self) -> None:
        """Copies all partitions. The server streams each."""
        for partition in sorted(set(self._copied.values())):
            self._insert(self._to_be, self._table, "_partition_id = %(name)s", {"name": partition})

    def _copy_late(self) -> None:
        """Copies what the old table has got since it was copied, and older parts that were merged since: nothing where
        nobody wrote, all of it where the client that copied it has crashed."""
        there = self._clickhouse.select(
            "SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = %(name)s AND total_rows > 0",
            {"name": self._to_be},
        )
        if any(there):
            self._wait_for_inserts()
            self._insert(self._table, self._to_be, "_part NOT IN %(parts)s", {"parts": ("", *self._copied)})

    def _insert(self, into: str, source: str, which: str, params: Mapping[str, object]) -> None:
        self._clickhouse.execute(
            f"INSERT INTO {into} SELECT * FROM {source} WHERE {which} SETTINGS max_partitions_per_insert_block = 0, "
            "max_insert_threads = 1, max_execution_time = 0, insert_deduplicate = 0",
            params,
        )

    def _change_names(self) -> None:
        with _locked(self._clickhouse, self._settings):
            if not self._is_done:
                self._do(f"EXCHANGE TABLES {{database}}.{self._table} AND {{database}}.{self._to_be} {{cluster}}")
                self._drop("VIEW", self._feed)

    def _drop(self, what: str, name: str) -> None:
        self._do(f"DROP {what} IF EXISTS {{database}}.{name} {{cluster}}")

    def _do(self, sql: str) -> None:
        self._clickhouse.execute(render(sql, self._settings))


@contextmanager
def _locked(clickhouse: ClickHouse, settings: Settings) -> Iterator[None]:
    """Holds the lock. Raises Refused where another client holds it; `migrate` tries again then."""
    lock = f"{{database}}.{LOCK} {{cluster}}"
    [[now]] = clickhouse.select("SELECT toUnixTimestamp(now())")
    since = clickhouse.select(
        "SELECT toUInt32OrZero(extract(comment, '[0-9]+')) FROM system.tables "
        "WHERE database = currentDatabase() AND name = %(name)s",
        {"name": LOCK},
    )
    if since and since[0] and since[0][0] < now - STALE_SECONDS:
        clickhouse.execute(render(f"DROP TABLE IF EXISTS {lock} SYNC", settings))
    clickhouse.execute(
        render(f"CREATE TABLE {lock} (nothing UInt8) ENGINE = {{replacing()}} ORDER BY nothing ", settings)
        + f"COMMENT 'Held while `engagement init` renames tables: since {now}'"
    )
    try:
        yield
    finally:
        clickhouse.execute(render(f"DROP TABLE IF EXISTS {lock} SYNC", settings))

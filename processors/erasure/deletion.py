"""Deletes rows of ClickHouse without leaving their keys behind in a statement, a mutation or a system table.

The keys to delete lie in the table `erasing`, which exists during an erasure alone; statements name this table. A
lightweight DELETE hides the rows at once; the bytes leave when `APPLY DELETED MASK` or a merge has rewritten the parts.
What a crashed erasure has left in `erasing` is taken up by the next one.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.ddl import render
from pipeline.clickhouse.shards import stored_database, stored_settings
from pipeline.errors import CheckFailed
from pipeline.settings import Settings

ERASING: Final = "erasing"
_SHARE: Final = "erasing_share"
"""The table of keys, and on shards the part that each shard keeps. `target` says what the keys are of, `id` and `rest`
are their parts."""

_MAKE: Final = """
CREATE TABLE IF NOT EXISTS {database}.{erasing} {cluster} (target LowCardinality(String), id String, rest String)
ENGINE = {replacing()} ORDER BY (target, id, rest) COMMENT 'Keys of a running erasure; gone once it is done'
"""
_AT_ONCE: Final = 100_000
_REFRESH_SECONDS: Final = 600.0
"""The longest wait for a refresh, which takes seconds among a million active posts."""


class Deletion:
    """The table `erasing` and the deletions by it. Every method blocks, and raises Unavailable, Refused."""

    def __init__(self, clickhouse: ClickHouse, settings: Settings) -> None:
        self._clickhouse, self._settings = clickhouse, settings

    def begin(self) -> None:
        """Makes the table of keys, unless a crashed erasure has left it."""
        if not self._settings.clickhouse_sharded:
            self._clickhouse.execute(render(_MAKE.replace("{erasing}", ERASING), self._settings))
            return
        # Each shard keeps a share of the keys, and finds all of them by the same name as on one server.
        stored = stored_database(self._settings)
        distributed = (
            f"CREATE TABLE IF NOT EXISTS {ERASING} (target String, id String, rest String) ENGINE = "
            f"Distributed('{self._settings.clickhouse_cluster}', '{stored}', '{_SHARE}', cityHash64(id))"
        )
        for settings in self._shards():
            with ClickHouse(settings) as shard:
                shard.execute(render(_MAKE.replace("{erasing}", _SHARE), settings))
                shard.execute(distributed)
        self._clickhouse.execute(distributed)

    def add(self, target: str, keys: Iterable[tuple[str, str]]) -> None:
        """Notes keys."""
        distinct = list(dict.fromkeys(keys))
        for start in range(0, len(distinct), _AT_ONCE):
            some = distinct[start : start + _AT_ONCE]
            self._clickhouse.select(
                f"INSERT INTO {ERASING} (target, id, rest) SELECT target, id, rest FROM sent",
                tables={"sent": ("target String, id String, rest String", [(target, *key) for key in some])},
            )

    def keys(self, target: str, only: str = "1") -> list[tuple[str, str]]:
        """Reads the noted keys that meet a condition, in order."""
        answer = self._clickhouse.select(
            f"SELECT id, rest FROM {ERASING} FINAL WHERE target = %(target)s AND {only} ORDER BY id, rest",
            {"target": target},
        )
        return list(zip(*answer, strict=True)) if answer else []

    def delete(self, table: str, condition: str) -> int:
        """Deletes the rows for which a condition holds, and returns their number. The condition may name `erasing`, and
        nothing that nobody may read."""
        count = int(self._clickhouse.select(f"SELECT count() FROM {table} WHERE {condition}")[0][0])
        if count:
            # A subquery in a mutation of a replicated table has to be allowed: `erasing` is replicated too.
            allowed = " SETTINGS allow_nondeterministic_mutations = 1" if self._settings.clickhouse_cluster else ""
            on = render("{cluster}", self._settings)
            self._clickhouse.execute(f"DELETE FROM {table} {on} WHERE {condition}{allowed}")
        return count

    def purge(self) -> None:
        """Has the server rewrite all parts with deleted rows, those of a crashed erasure too, and does not wait."""
        for settings in self._shards():
            with ClickHouse(settings) as shard:
                Deletion(shard, settings).purge()
        answer = self._clickhouse.select(
            "SELECT DISTINCT table FROM system.parts "
            "WHERE database = currentDatabase() AND active AND has_lightweight_delete"
        )
        for table in sorted(answer[0] if answer else ()):
            sql = f"ALTER TABLE {{database}}.{table} {{cluster}} APPLY DELETED MASK SETTINGS mutations_sync = 0"
            self._clickhouse.execute(render(sql, self._settings))

    def wait_for_refreshes(self, view: str, seconds: float = _REFRESH_SECONDS) -> None:
        """Waits until no refresh of a view is under way, on every server: it has read rows that were deleted since, and
        writes them to another table. Raises CheckFailed after `seconds`."""
        sharded, cluster = self._settings.clickhouse_sharded, self._settings.clickhouse_cluster
        database = stored_database(self._settings) if sharded else self._settings.clickhouse_url.database
        source = "system.view_refreshes"
        sql = (
            f"SELECT count() FROM {f'clusterAllReplicas({cluster!r}, {source})' if cluster else source} "
            "WHERE database = %(database)s AND view = %(view)s AND status = 'Running'"
        )
        until = time.monotonic() + seconds
        while self._clickhouse.select(sql, {"database": database, "view": view})[0][0]:
            if time.monotonic() >= until:
                raise CheckFailed(
                    f"the refresh of {view} has not ended after {seconds:g} s: see system.view_refreshes, end it by "
                    f"SYSTEM CANCEL VIEW {view}, and run it again"
                )
            time.sleep(0.1)

    def end(self) -> None:
        """Drops the table of keys with its files."""
        for settings in self._shards():
            with ClickHouse(settings) as shard:
                shard.execute(f"DROP TABLE IF EXISTS {settings.clickhouse_url.database}.{_SHARE} SYNC")
                for database in (settings.clickhouse_url.database, self._settings.clickhouse_url.database):
                    shard.execute(f"DROP TABLE IF EXISTS {database}.{ERASING} SYNC")
        self._clickhouse.execute(
            render(f"DROP TABLE IF EXISTS {{database}}.{ERASING} {{cluster}} SYNC", self._settings)
        )

    def _shards(self) -> list[Settings]:
        return stored_settings(self._settings, self._clickhouse)

    def cut(self) -> int:
        """Returns a time of the server, in milliseconds since 1970: rows that are stored after this call are later."""
        since = self.server_ms()
        while self.server_ms() <= since:
            time.sleep(0.001)
        return since + 1

    def server_ms(self) -> int:
        """Reads the server's time in milliseconds since 1970."""
        return int(self._clickhouse.select("SELECT toUnixTimestamp64Milli(now64(3))")[0][0])


def noted(target: str, columns: Sequence[str]) -> str:
    """Returns the condition that these columns of a row, or these expressions, are a noted key."""
    parts = ("id", "rest")[: len(columns)]
    return f"({', '.join(columns)}) IN (SELECT {', '.join(parts)} FROM {ERASING} WHERE target = '{target}')"


def stored_before(milliseconds: int) -> str:
    """Returns the condition that a row was stored before this time of the server."""
    return f"stored_at < fromUnixTimestamp64Milli({int(milliseconds)})"

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
from pipeline.settings import Settings

ERASING: Final = "erasing"
"""The table of keys: `target` says what the keys are of, `id` and `rest` are their parts."""

_MAKE: Final = f"""
CREATE TABLE IF NOT EXISTS {{database}}.{ERASING} {{cluster}} (target LowCardinality(String), id String, rest String)
ENGINE = {{replacing()}} ORDER BY (target, id, rest) COMMENT 'Keys of a running erasure; gone once it is done'
"""
_AT_ONCE: Final = 100_000


class Deletion:
    """The table `erasing` and the deletions by it. Every method blocks, and raises Unavailable, Refused."""

    def __init__(self, clickhouse: ClickHouse, settings: Settings) -> None:
        self._clickhouse, self._settings = clickhouse, settings

    def begin(self) -> None:
        """Makes the table of keys, unless a crashed erasure has left it."""
        self._clickhouse.execute(render(_MAKE, self._settings))

    def add(self, target: str, keys: Iterable[tuple[str, str]]) -> None:
        """Notes keys."""
        distinct = list(dict.fromkeys(keys))
        for start in range(0, len(distinct), _AT_ONCE):
            some = distinct[start : start + _AT_ONCE]
            self._clickhouse.select(
                f"INSERT INTO {ERASING} (target, id, rest) SELECT target, id, rest FROM sent",
                tables={"sent": ("target String, id String, rest String", [(target, *key) for key in some])},
            )

    def keys(self, target: str) -> list[tuple[str, str]]:
        """Reads the noted keys, in order."""
        answer = self._clickhouse.select(
            f"SELECT id, rest FROM {ERASING} FINAL WHERE target = %(target)s ORDER BY id, rest", {"target": target}
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
        answer = self._clickhouse.select(
            "SELECT DISTINCT table FROM system.parts "
            "WHERE database = currentDatabase() AND active AND has_lightweight_delete"
        )
        for table in sorted(answer[0] if answer else ()):
            self._clickhouse.execute(
                render(f"ALTER TABLE {{database}}.{table} {{cluster}} APPLY DELETED MASK", self._settings)
            )

    def end(self) -> None:
        """Drops the table of keys with its files."""
        self._clickhouse.execute(
            render(f"DROP TABLE IF EXISTS {{database}}.{ERASING} {{cluster}} SYNC", self._settings)
        )

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

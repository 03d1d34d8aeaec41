"""Deletion of rows: hidden at once, and taken off the disk once enough of a table is hidden."""

from typing import Any, Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.ddl import render
from pipeline.clickhouse.shards import each_shard
from pipeline.settings import Settings

HIDDEN_SHARE: Final = 0.1
"""Share of a table's rows that may stay on disk after they were deleted. Merges free some of the room meanwhile."""


def delete_rows(
    clickhouse: ClickHouse, settings: Settings, table: str, condition: str, parameters: dict[str, Any] | None = None
) -> None:
    """Deletes the rows for which the condition holds; no query sees them afterwards. Rows that are inserted meanwhile
    stay. `condition` may have {database}. Blocks. May be repeated. Raises Unavailable, Refused."""
    sql = f"DELETE FROM {{database}}.{table} {{cluster}} WHERE {condition} SETTINGS lightweight_deletes_sync = 2"
    clickhouse.execute(render(sql, settings), parameters)


def free_space(clickhouse: ClickHouse, settings: Settings, table: str) -> bool:
    """Frees the disk space of deleted rows, where they are more than HIDDEN_SHARE of the table: rewrites its parts.
    Returns whether it did, on any shard. Blocks. Raises Unavailable, Refused."""
    if settings.clickhouse_sharded:
        shards = each_shard(settings, clickhouse, lambda its: _free_shard(its, table))
        return sum(shards) > 0
    parts = "system.parts WHERE active AND database = currentDatabase() AND table = %(table)s"
    [[on_disk], [shown]] = clickhouse.select(
        f"SELECT (SELECT sum(rows) FROM {parts}), (SELECT count() FROM {table})", {"table": table}
    )
    if on_disk - shown <= HIDDEN_SHARE * on_disk:
        return False
    sql = f"ALTER TABLE {{database}}.{table} {{cluster}} APPLY DELETED MASK SETTINGS mutations_sync = 2"
    clickhouse.execute(render(sql, settings))
    return True


def _free_shard(settings: Settings, table: str) -> bool:
    with ClickHouse(settings) as shard:
        return free_space(shard, settings, table)

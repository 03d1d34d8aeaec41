"""Views of the whole database: how fresh it is, and what ClickHouse does with its tables, which readers do not see."""

from deploy.clickhouse.drafting import Shown, View, view
from schemas.tables import Column

_TIME_OR_NULL = "Nullable(DateTime64(3, 'UTC'))"
_MINUTE_OR_NULL = "Nullable(DateTime('UTC'))"


def freshness_view() -> View:
    """Shows the freshness of the database in one row, also without any events."""
    shown: list[Shown] = [
        (
            Column("changed_at", _TIME_OR_NULL, "When a number of a post last changed; NULL: nothing has come yet"),
            "nullIf(m.changed_at, toDateTime64(0, 3, 'UTC'))",
        ),
        (
            Column("as_of", _MINUTE_OR_NULL, "End of the minute of the newest event; NULL: nothing has come yet"),
            "nullIf(m.as_of, toDateTime(0, 'UTC'))",
        ),
        (
            Column(
                "final_until",
                _MINUTE_OR_NULL,
                "Minutes of conversations before it are closed: no event of them is expected any more; NULL: none",
            ),
            "nullIf(c.final_until, toDateTime(0, 'UTC'))",
        ),
        (Column("asked_at", "DateTime64(3, 'UTC')", "The clock of ClickHouse when it was asked"), "now64(3, 'UTC')"),
    ]
    tail = """\
FROM (SELECT max(stored_at) AS changed_at, max(as_of) AS as_of FROM {database}.post_metrics) AS m
CROSS JOIN
(
    SELECT min(until) AS final_until
    FROM (SELECT max(closed_until) AS until FROM {database}.conversation_marks GROUP BY partition)
) AS c"""
    return view("freshness_v", "One row: how fresh and how final all numbers are", shown, tail)


def storage_view() -> View:
    """Shows one row per table of the database."""
    shown: list[Shown] = [
        (Column("table_name", "String", "Table"), "t.name"),
        (Column("rows", "UInt64", "Rows, with those that a merge will replace"), "ifNull(t.total_rows, 0)"),
        (Column("bytes", "UInt64", "Compressed bytes on disk"), "ifNull(t.total_bytes, 0)"),
        (Column("active_parts", "UInt64", "Parts that queries read"), "ifNull(t.active_parts, 0)"),
        (
            Column("parts_to_remove", "UInt64", "Parts that were merged into others and are still there"),
            "ifNull(t.parts - t.active_parts, 0)",
        ),
        (Column("most_in_partition", "UInt64", "Active parts of the partition with most of them"), "crowded.most"),
    ]
    tail = """\
FROM
(
    SELECT name, total_rows, total_bytes, parts, active_parts
    FROM system.tables
    WHERE database = '{database}' AND engine LIKE '%MergeTree'
) AS t
LEFT ANY JOIN
(
    SELECT table, max(parts) AS most
    FROM
    (
        SELECT table, partition, count() AS parts
        FROM system.parts
        WHERE active AND database = '{database}'
        GROUP BY table, partition
    )
    GROUP BY table
) AS crowded ON crowded.table = t.name"""
    return view("storage_v", "One row per table: rows, bytes and parts in ClickHouse", shown, tail)


def merges_view() -> View:
    """Shows one row per running merge or mutation."""
    shown: list[Shown] = [
        (Column("table_name", "String", "Table"), "table"),
        (Column("elapsed_seconds", "Float64", "Seconds since it began"), "elapsed"),
        (Column("progress", "Float64", "Share that is done, 0 to 1"), "progress"),
        (Column("parts", "UInt64", "Parts that become one"), "num_parts"),
        (Column("bytes", "UInt64", "Compressed bytes of these"), "total_size_bytes_compressed"),
        (Column("is_mutation", "UInt8", "1: rows are changed or deleted"), "is_mutation"),
    ]
    tail = "FROM system.merges\nWHERE database = '{database}'"
    return view("merges_v", "One row per merge of parts that ClickHouse runs now", shown, tail)

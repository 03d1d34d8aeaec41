"""Views of what ClickHouse itself does with the tables, for readers, who see no table."""

from deploy.clickhouse.drafting import Shown, View, view
from schemas.tables import Column


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
    """Shows one row per merge or mutation that runs."""
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

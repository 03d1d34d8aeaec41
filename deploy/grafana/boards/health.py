"""The dashboard of the pipeline itself: workers, memory, ClickHouse, sources, and the delivery of alerts."""

from deploy.grafana.board import CLICKHOUSE, Board, SqlQuery, ask, lines, stat, table
from deploy.grafana.boards.health_charts import (
    DEAD_RATIO,
    DELIVERY_CHARTS,
    FRESHNESS,
    MEMORY_CHARTS,
    SOURCES_CHARTS,
    WORKERS_CHARTS,
    Chart,
    quantile_of,
    rate_of,
)


def health_board() -> Board:
    """Makes the dashboard."""
    board = Board(
        "engagement-health",
        "Pipeline health",
        "Whether everything that comes is counted, how late, at what cost, and what fails.",
    )
    _add_numbers(board)
    _add_charts(board, "Workers", WORKERS_CHARTS)
    _add_dead_letters(board)
    _add_charts(board, "Memory", MEMORY_CHARTS)
    _add_clickhouse(board)
    _add_charts(board, "Sources and collector", SOURCES_CHARTS)
    _add_charts(board, "Spikes and their delivery", DELIVERY_CHARTS)
    return board


def _add_numbers(board: Board) -> None:
    ready = stat("Ready workers", "Workers whose /readyz says ready.", "none", [(None, "red"), (1, "green")])
    board.add(ask(ready, ("sum(engagement_ready)", "ready")), 4, 4)
    records = stat("Records per second", "Records read from the source topics.", "cps")
    board.add(ask(records, (rate_of("engagement_events_total"), "records")), 4, 4)
    lag = stat("Lag", "Records that are not committed.", "short")
    board.add(ask(lag, ("sum(engagement_consumer_lag)", "lag")), 4, 4)
    fresh = stat("Freshness p99", "The promise is 2 s.", "s", [(None, "green"), (2, "orange"), (10, "red")]).no_value(
        "no records"
    )
    board.add(ask(fresh, (quantile_of(0.99, FRESHNESS), "p99")), 4, 4)
    dead = stat("Dead letters", "Share of the records that are dead.", "percentunit", [(None, "green"), (0.01, "red")])
    board.add(ask(dead, (DEAD_RATIO, "dead")), 4, 4)
    alerts = stat("Alerts", "Alerts of Prometheus that fire.", "none", [(None, "green"), (1, "red")])
    firing = 'count(ALERTS{alertstate="firing",alertname=~"Engagement.*",alertname!="EngagementHeartbeat"})'
    board.add(ask(alerts, (firing, "firing")), 4, 4)


def _add_charts(board: Board, title: str, charts: tuple[Chart, ...]) -> None:
    board.add_row(title)
    for name, description, unit, series in charts:
        board.add(ask(lines(name, description, unit), *series), 8)


def _add_dead_letters(board: Board) -> None:
    board.add_row("Dead letters and watermarks")
    by_reason = """\
SELECT
  topic AS "Topic",
  field AS "Field",
  count() AS "Dead letters",
  max(received_at) AS "Newest",
  any(reason) AS "Reason of one"
FROM dead_letters_v
WHERE received_at >= $__fromTime AND received_at <= $__toTime
GROUP BY topic, field
ORDER BY count() DESC, topic, field
LIMIT 50"""
    words = "Dead letters of this time by topic and field, with the reason of one of them."
    board.add(table("Dead letters by field", words, by_reason), 14)
    marks = """\
SELECT
  partition AS "Partition",
  watermark AS "Watermark",
  dateDiff('second', watermark, now64(6)) AS "Age",
  idle AS "Idle"
FROM source_marks_v
ORDER BY watermark, partition
LIMIT 100"""
    words = "How far events have been read, oldest first. A partition far behind keeps minutes of conversations open."
    board.add(table("Watermarks", words, marks, units={"Age": "s"}), 10)


def _add_clickhouse(board: Board) -> None:
    board.add_row("ClickHouse")
    away = lines("Statements sent again, by worker", "Above zero for long: ClickHouse is away or fails.", "cps")
    board.add(ask(away, (rate_of("engagement_clickhouse_retries_total", "instance"), "{{instance}}")), 8)
    numbers = (
        ("Parts", "Active parts of all tables. Beyond 3,000 in one partition inserts are refused.", "active_parts"),
        ("Rows", "Rows of all tables, versions that a merge will remove included.", "rows"),
        ("Bytes", "Compressed bytes of all tables.", "bytes"),
    )
    for title, description, column in numbers:
        sql = f"SELECT sum({column}) FROM storage_v"
        unit = "bytes" if title == "Bytes" else "short"
        panel = stat(f"{title} in ClickHouse", description, unit).datasource(CLICKHOUSE)
        board.add(panel.with_target(SqlQuery(sql)), 4)
    merges = "SELECT count() FROM merges_v"
    panel = stat("Merges now", "Merges and mutations that run.", "none").datasource(CLICKHOUSE)
    board.add(panel.with_target(SqlQuery(merges)), 4)
    tables = """\
SELECT
  table_name AS "Table",
  rows AS "Rows",
  bytes AS "Bytes",
  active_parts AS "Active parts",
  parts_to_remove AS "Parts to be removed",
  most_in_partition AS "Most in one partition"
FROM storage_v
ORDER BY active_parts DESC, table_name"""
    words = "Tables by parts. Parts that keep growing mean that merges do not keep up."
    board.add(table("Tables", words, tables, units={"Bytes": "bytes"}), 14)
    running = """\
SELECT
  table_name AS "Table",
  elapsed_seconds AS "Running for",
  progress AS "Done",
  parts AS "Parts",
  bytes AS "Bytes",
  is_mutation AS "Mutation"
FROM merges_v
ORDER BY elapsed_seconds DESC
LIMIT 50"""
    words = "Merges that run now, longest first."
    units = {"Running for": "s", "Done": "percentunit", "Bytes": "bytes"}
    board.add(table("Merges", words, running, units=units), 10)

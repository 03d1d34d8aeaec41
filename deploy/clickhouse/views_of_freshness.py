"""The view of how fresh and how final all numbers are."""

from deploy.clickhouse.drafting import Shown, View, view
from schemas.tables import Column

_TIME_OR_NULL = "Nullable(DateTime64(3, 'UTC'))"
_MINUTE_OR_NULL = "Nullable(DateTime('UTC'))"


def freshness_view() -> View:
    """Shows one row for the whole database, also for an empty one."""
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

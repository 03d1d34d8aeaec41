"""What people ask: the queries of README, of docs/bi.md and of the dashboards, and how many rows the range of each has.

A query's own range is what it would have to read if rows were found without any search: the rows of its time, or of its
post or conversation, in the tables behind its views. A query without a time asks for all rows. Windows as of now look
back over two days.
"""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.grafana.expansion import DASHBOARDS, Value, as_the_data_source_sends_it, sql_of
from pipeline.clickhouse.client import ClickHouse

ROOT: Final = Path(__file__).resolve().parent.parent
SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
UNITS: Final = {"MINUTE": 60, "HOUR": 3600, "DAY": 86_400, "WEEK": 604_800, "MONTH": 2_678_400}
TWO_DAYS: Final = 2 * 86_400
SCREEN: Final = 1000
"""The points of a chart, from which Grafana's interval follows."""

METRICS: Final = (("post_metrics", "1"), ("posts", "1"))
ACTIVE_METRICS: Final = (("post_metrics", "as_of >= {two_days}"),) * 2
WINDOWS_NOW: Final = ("post_minutes", "minute >= {two_days}")
IN_RANGE: Final = "minute >= {since} AND minute < {until}"
MINUTES_OF_RANGE: Final = ("conversation_minutes", IN_RANGE)
DAYS_OF_RANGE: Final = ("conversation_days", "day >= toDate({since}) AND day < toDate({until})")
OPEN_DAYS: Final = tuple(
    (table, "minute >= toDate({until})") for table in ("conversation_minutes", "conversation_posts")
)
CELLS_OF_RANGE: Final = ("conversation_posts", IN_RANGE)
PANES_OF_RANGE: Final = ("post_minutes", IN_RANGE)
POSTS_OF_RANGE: Final = ("posts", f"post_id IN (SELECT post_id FROM post_minutes WHERE {IN_RANGE})")

HOLDS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "post_metrics_v": (*METRICS, WINDOWS_NOW),
    "post_metrics_active_v": (*ACTIVE_METRICS, WINDOWS_NOW),
    "post_totals_v": METRICS,
    "post_forecasts_v": METRICS,
    "post_metrics_at": (("post_minutes", "minute >= {since} - 172800 AND minute < {since}"),),
    "post_metrics_active_at": (("post_minutes", "minute >= {since} - 172800 AND minute < {since}"),),
    "post_metrics_between": (
        PANES_OF_RANGE,
        POSTS_OF_RANGE,
        ("conversation_posts", f"startsWith(conversation, 'thread:') AND {IN_RANGE}"),
    ),
    "post_minutes_v": (PANES_OF_RANGE,),
    "post_minutes_between": (PANES_OF_RANGE, POSTS_OF_RANGE),
    "post_history_v": (("post_history", "as_of >= {since} AND as_of < {until}"),),
    "posts_v": (("posts", "created_at >= {since} AND created_at < {until}"),),
    "events_v": (("events", "occurred_at >= {since} AND occurred_at < {until}"),),
    "authors_v": METRICS,
    "authors_between": (*ACTIVE_METRICS, PANES_OF_RANGE),
    "over_performance_v": (("post_minutes", "1"), ("posts", "1")),
    "over_performance_between": (PANES_OF_RANGE, ("posts", "1")),
    "conversations_v": (("conversation_minutes", "1"), ("conversation_posts", "1")),
    "conversations_active_v": (
        ("conversation_minutes", "minute >= {two_days} + 86400"),
        ("conversation_posts", "minute >= {two_days} + 86400"),
    ),
    "conversations_between": (MINUTES_OF_RANGE, CELLS_OF_RANGE),
    "conversation_minutes_v": (MINUTES_OF_RANGE,),
    "conversation_posts_v": (CELLS_OF_RANGE,),
    "conversation_days_v": (DAYS_OF_RANGE, *OPEN_DAYS),
    "author_days_v": tuple(
        (table, f"startsWith(conversation, 'author:') AND {when}") for table, when in (DAYS_OF_RANGE, *OPEN_DAYS)
    ),
    "post_days_v": (("posts", "1"), DAYS_OF_RANGE, *OPEN_DAYS),
    "share_of_voice_v": tuple(
        (table, "startsWith(conversation, 'brand:') AND minute >= {two_days} + 86400")
        for table in ("conversation_minutes", "conversation_posts")
    ),
    "share_of_voice": tuple(
        (table, "startsWith(conversation, 'brand:') AND minute >= {since} AND minute < {until}")
        for table in ("conversation_minutes", "conversation_posts")
    ),
    "carry_over_v": (("carry_over", "1"), ("post_metrics", "1")),
    "conversation_spikes_v": (("conversation_spikes", "1"), ("spike_groups", "1")),
    "alert_deliveries_v": (("alert_deliveries", "1"),),
    "dead_letters_v": (("dead_letters", "received_at >= {since} AND received_at < {until}"),),
}
"""View -> the tables behind it, each with the condition of the rows that the range holds."""

OF_ONE: Final = re.compile(r"\b(post_id|conversation|spike_id) = (decodeURLComponent\('[^']*'\)|'[^']*')")
"""The condition by which a query asks for a single post, conversation or spike."""

ONE: Final = {"'one post'": "post_id", "'one conversation'": "conversation", "'one hashtag'": "conversation"}
"""What documents name in place of a post or conversation of the database."""


@dataclass(frozen=True)
class Asked:
    """A query as it reaches ClickHouse, where it comes from, and its range in Unix seconds (0: from the beginning)."""

    where: str
    title: str
    sql: str
    since: int
    until: int

    @property
    def of_one(self) -> bool:
        """Tells whether the query is about a single post, conversation or spike."""
        return OF_ONE.search(self.sql) is not None


def asked_queries(client: ClickHouse) -> Iterator[Asked]:
    """Yields all queries; values of dashboards' variables come from the database."""
    yield from _documented("README.md", "## Ask it")
    if (ROOT / "docs/bi.md").exists():
        yield from _documented("docs/bi.md", "")
    for name, dashboard in DASHBOARDS.items():
        yield from _of_dashboard(client, name, dashboard)


def rows_of_range(client: ClickHouse, asked: Asked) -> int:
    """Counts the rows that the query's own range holds."""
    rows = 0
    for view in re.findall(r"\b(?:FROM|JOIN)\s+(\w+)", asked.sql):
        for table, condition in HOLDS.get(view, ()):
            rows += _count(client, table, _condition(client, asked, table, condition))
    return rows


def _condition(client: ClickHouse, asked: Asked, table: str, condition: str) -> str:
    now = int(time.time())
    moments = {"since": asked.since, "until": asked.until, "two_days": now - TWO_DAYS}
    said = condition.format(**{name: f"toDateTime({moment}, 'UTC')" for name, moment in moments.items()})
    one = OF_ONE.search(asked.sql)
    if one is not None and client.select(
        f"SELECT count() FROM system.columns WHERE database = currentDatabase() AND table = '{table}' "
        f"AND name = '{one[1]}'"
    ) == [[1]]:
        said += f" AND {one[1]} = {one[2]}"
    return said


def _count(client: ClickHouse, table: str, condition: str) -> int:
    [[rows]] = client.select(f"SELECT count() FROM {table} WHERE {condition}")
    return int(rows)


def _documented(file: str, section: str) -> Iterator[Asked]:
    """Yields the SQL blocks of a document, from the heading `section` on; each begins with its title as a comment."""
    text = (ROOT / file).read_text()
    if section:
        text = text.split(section)[1].split("\n## ")[0]
    now = int(time.time())
    for sql in re.findall(r"^```sql\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        title, *rest = sql.splitlines()
        spans = [int(number) * UNITS[unit] for number, unit in re.findall(r"INTERVAL (\d+) ([A-Z]+?)S?\b", sql)]
        since = now - max(spans) if spans else 0
        yield Asked(file, re.split(r"[:(;]", title.removeprefix("-- "))[0].strip(), "\n".join(rest), since, now)


def _of_dashboard(client: ClickHouse, name: str, dashboard: Mapping[str, Any]) -> Iterator[Asked]:
    """Yields the panels, the variables and the annotations of a dashboard at its default range."""
    now = int(time.time())
    chosen = re.fullmatch(r"now-(\d+)([mhdw])", dashboard["time"]["from"])
    assert chosen is not None, f"{name}: {dashboard['time']}"
    since = now - int(chosen[1]) * SECONDS[chosen[2]]
    interval = max((now - since) // SCREEN, 15)
    variables = _values(client, dashboard, since, now)
    for title, sql in sql_of(dashboard).items():
        sent = as_the_data_source_sends_it(sql, variables, since, now, interval)
        ranged = since if "$__" in sql else 0
        yield Asked(name, title, sent, ranged, now)


def _values(client: ClickHouse, dashboard: Mapping[str, Any], since: int, until: int) -> dict[str, Value]:
    """Returns what is chosen in each variable when a dashboard is opened: of a query the first answer."""
    values: dict[str, Value] = {}
    for variable in dashboard["templating"]["list"]:
        current = (variable.get("current") or {}).get("value")
        if variable["type"] == "query" and not current:
            found = client.select(as_the_data_source_sends_it(variable["query"], values, since, until))
            current = str(found[0][0]) if found else ""
        values[variable["name"]] = current if current is not None else ""
    return values

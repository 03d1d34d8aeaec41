"""The Grafana dashboard: its layout, its sources, and its SQL, which the real ClickHouse runs."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.clickhouse import ClickHouse
from pipeline.migrations import migrate
from pipeline.observability.metrics import WorkerMetrics
from pipeline.settings import Settings
from schemas.tables import TABLES

DEPLOY = Path(__file__).parent.parent / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/engagement.json").read_text())

FROM, TO = 1_767_225_600, 1_767_229_200
"""2026-01-01 00:00 to 01:00: the time range that a test's dashboard shows."""


def _targets() -> Iterator[tuple[str, dict[str, Any]]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target


def _queries() -> dict[str, str]:
    """Every SQL of the dashboard by where it stands."""
    queries = {title: target["rawSql"] for title, target in _targets() if "rawSql" in target}
    queries |= {f"${v['name']}": v["query"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"}
    return queries


def _as_the_plugin_sends_it(query: str, post: str, interval: int = 15) -> str:
    """Macros replaced as grafana-clickhouse-datasource does, and `${post:sqlstring}` as Grafana does."""
    start, end = f"toDateTime({FROM})", f"toDateTime({TO})"
    query = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= {start} AND \1 <= {end}", query)
    query = query.replace("$__fromTime", start).replace("$__toTime", end).replace("$__interval_s", str(interval))
    query = query.replace("${post:sqlstring}", "'" + post.replace("'", "''") + "'")
    assert "$" not in query, "a macro that this test does not know"
    return query


def test_the_dashboard_shows_what_it_should() -> None:
    titles = " | ".join(panel["title"] for panel in DASHBOARD["panels"]).lower()
    for wanted in ("rising posts", "top posts", "rolling engagement", "lag", "freshness", "by outcome", "dead letters"):
        assert wanted in titles
    assert all(panel.get("description") for panel in DASHBOARD["panels"] if panel["type"] != "row")


def test_panels_do_not_overlap() -> None:
    seen: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not seen & cells, panel["title"]
        seen |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_sources_are_the_provisioned_ones() -> None:
    provisioned = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/engagement.yaml").read_text())
    known = {(source["type"], source["uid"]) for source in provisioned["datasources"]}
    used = {(target["datasource"]["type"], target["datasource"]["uid"]) for _, target in _targets()}
    assert used == known
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/engagement.yaml").read_text())["providers"][0]
    compose = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
    mounts = [volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounts


def test_promql_names_metrics_that_exist() -> None:
    named = {
        metric for _, target in _targets() for metric in re.findall(r"\bengagement_[a-z_]+", target.get("expr", ""))
    }
    metrics = WorkerMetrics()
    metrics.count_dead_letters("schema")
    metrics.set_lag({("engagement.likes", 0): 1})
    known = {series.split("{")[0] for series in metrics.snapshot()}
    assert len(named) == 9
    assert named <= known


def test_sql_reads_views_that_are_declared() -> None:
    views = {f"{table.name}_v" for table in TABLES}
    for title, query in _queries().items():
        read = set(re.findall(r"\b(?:FROM|JOIN)\s+(\w+)\b(?!\()", query)) - {"toStartOfMinute"}
        assert read, title
        assert read <= views, title


PANES = {0: (5, 1, 0, 0), 2: (3, 0, 1, 2), 40: (1, 0, 0, 4)}
"""Minutes after FROM -> likes, shares, comments, likes taken back, of the post that the test's dashboard shows."""


@pytest.fixture
def client(settings: Settings) -> Iterator[ClickHouse]:
    """A database with a post of last year, one that rises right now and one that does not, and a dead letter."""
    migrate(settings)
    with ClickHouse(settings) as client:
        this_minute = int(time.time()) // 60 * 60
        panes = [("it's a post", FROM + 60 * minute, *counts) for minute, counts in PANES.items()]
        panes += [("rising", this_minute - 60 * 30, 16, 0, 0, 0), ("rising", this_minute - 60 * 90, 1, 0, 0, 0)]
        panes += [("steady", this_minute - 60 * 30, 16, 0, 0, 0), ("steady", this_minute - 60 * 90, 16, 0, 0, 0)]
        names = ("post_id", "minute", "likes", "shares", "comments", "likes_retracted")
        columns = dict(zip(names, map(list, zip(*panes, strict=True)), strict=True))
        client.insert("post_minutes", columns | {"version": [1] * len(panes)})
        client.insert(
            "post_metrics",
            {
                "post_id": ["it's a post", "rising", "steady"],
                "as_of": [FROM + 60 * 41, this_minute - 60 * 29, this_minute - 60 * 29],
                "likes": [3, 17, 32],
                "score_default": [8.0, 17.0, 32.0],
                "version": [1, 1, 1],
            },
        )
        client.insert(
            "dead_letters",
            {
                "topic": ["t"],
                "partition": [0],
                "offset": [7],
                "reason": ["no"],
                "field": ["kind"],
                "received_at": [FROM * 1000],
            },
        )
        yield client


def _rows(client: ClickHouse, title: str) -> list[tuple[Any, ...]]:
    return list(zip(*client.select(_as_the_plugin_sends_it(_queries()[title], "it's a post")), strict=True))


@pytest.mark.stack
def test_its_sql_runs_on_clickhouse(client: ClickHouse) -> None:
    assert [row[0] for row in _rows(client, "Rising posts")] == ["rising"], (
        "steady has as many likes, and no more than before"
    )
    assert [row[0] for row in _rows(client, "Top posts")] == ["steady", "rising", "it's a post"]
    assert _rows(client, "$post") == [("steady",), ("rising",), ("it's a post",)]
    assert [row[1:5] for row in _rows(client, "Latest dead letters")] == [("t", 0, 7, "kind")]
    shown = _rows(client, "Totals as they were shown")
    assert [row[1:4] for row in shown] == [(3, 0, 0)]


@pytest.mark.stack
def test_rolling_engagement_is_the_sum_of_panes(client: ClickHouse) -> None:
    def window(end: int, minutes: int) -> tuple[int, int, int]:
        panes = [counts for minute, counts in PANES.items() if end - minutes <= minute < end]
        return sum(p[0] - p[3] for p in panes), sum(p[1] for p in panes), sum(p[2] for p in panes)

    rows = _rows(client, "Rolling engagement")
    assert [row[0].timestamp() for row in rows] == [FROM + 60 * minute for minute in range((TO - FROM) // 60 + 1)]
    for end, (_, likes, shares, comments, score) in enumerate(rows):
        assert (likes, shares, comments) == window(end, 5), end
        hour = window(end, 60)
        assert score == hour[0] + 2 * hour[1] + 3 * hour[2], end

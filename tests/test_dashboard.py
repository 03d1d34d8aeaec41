"""The Grafana dashboard: its layout, its sources, and its SQL, which the real ClickHouse runs."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pipeline.observability.metrics import WorkerMetrics
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

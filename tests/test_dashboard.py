"""The Grafana dashboards: their layout, their sources, and their SQL, which the real ClickHouse runs."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.clickhouse.views import all_views
from deploy.grafana.expansion import DASHBOARDS, Value, as_the_data_source_sends_it, sql_of
from deploy.grafana.generated import generated_dashboards
from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from tests.metric_names import OF_THE_SCRAPE, exposed_metrics, metrics_in

DEPLOY = Path(__file__).parent.parent / "deploy"
EACH = pytest.mark.parametrize("name", sorted(DASHBOARDS))

FROM = int(time.time()) // 60 * 60 - 3 * 3600
TO = FROM + 3600
"""The hour that a test's dashboard shows: late enough to be active, before the last two."""

SHOWN: dict[str, Value] = {
    "post": "it's a post",
    "author": "an author's",
    "channel": "bluesky",
    "conversation": "brand:o'ours",
    "find": "",
    "kind": "all",
}
"""What is chosen in the variables of dashboards about one thing."""

EVERYTHING: dict[str, Value] = {
    "channel": ["every channel"],
    "author": ["every author"],
    "label": ["every label"],
}
"""What is chosen where several values may be."""


def _targets(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for panel in DASHBOARDS[name]["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target


def test_the_dashboards_are_there() -> None:
    drill_downs = {"conversation", "post"}
    assert DASHBOARDS.keys() - drill_downs == {
        "overview",
        "engagement",
        "virality",
        "conversations",
        "spikes",
        "health",
    }
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS) == 8


def test_dashboards_that_are_written_in_python_are_as_written() -> None:
    written = {name: (DEPLOY / f"grafana/dashboards/{name}.json").read_text() for name in DASHBOARDS}
    assert written == generated_dashboards(), "run python -m deploy.grafana"


@EACH
def test_each_panel_has_a_description_a_unit_and_words_for_nothing(name: str) -> None:
    for panel in DASHBOARDS[name]["panels"]:
        if panel["type"] != "row":
            defaults = panel["fieldConfig"]["defaults"]
            assert all((panel.get("description"), defaults.get("unit"), defaults.get("noValue"))), panel["title"]


@EACH
def test_spikes_are_marked_where_people_look_at_counts(name: str) -> None:
    marked = {each["name"] for each in DASHBOARDS[name]["annotations"]["list"]}
    of_one = {"conversation": {"Spikes of the conversation"}, "post": {"Spikes of the post"}}.get(name, set())
    assert marked == (set() if name in ("health", "spikes") else {"Severe spikes", *of_one})


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("overview", ("rising posts", "loudest", "spikes", "waiting", "engagement by channel", "freshness", "lag")),
        ("engagement", ("rising posts", "top posts", "in this time", "over time", "by channel", "by label")),
        ("virality", ("spreading", "trees", "over-performance", "authors", "channels")),
        ("conversations", ("conversations", "share of voice", "brands", "waiting", "liveliest")),
        ("conversation", ("voices per minute", "its posts", "its spikes", "first response", "people")),
        (
            "post",
            ("rolling engagement", "as they were shown", "forecast", "reproduction", "trees", "conversations"),
        ),
        ("spikes", ("timeline", "evidence", "who caused it", "same cause", "who was told", "that fail")),
        (
            "health",
            (
                *("lag", "freshness", "records per second", "dead letters by field", "each step", "evictions"),
                *("memory by part", "tables", "merges", "frames", "collector", "deliveries"),
            ),
        ),
    ],
)
def test_the_dashboard_shows_what_it_should(name: str, wanted: tuple[str, ...]) -> None:
    panels = DASHBOARDS[name]["panels"]
    titles = " | ".join(panel["title"] for panel in panels).lower()
    assert [each for each in wanted if each not in titles] == []
    assert all(panel.get("description") for panel in panels if panel["type"] != "row")


@EACH
def test_panels_do_not_overlap(name: str) -> None:
    panels = DASHBOARDS[name]["panels"]
    seen: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not seen & cells, panel["title"]
        seen |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


@EACH
def test_links_lead_to_dashboards_and_variables_that_exist(name: str) -> None:
    urls = re.findall(r"/d/([\w-]+)/[\w-]+\?([^\"]*)", json.dumps(DASHBOARDS[name]))
    links = [(uid, variable) for uid, query in urls for variable in re.findall(r"\bvar-(\w+)=", query)]
    assert links or name == "health"
    variables = {d["uid"]: {v["name"] for v in d["templating"]["list"]} for d in DASHBOARDS.values()}
    assert all(variable in variables[uid] for uid, variable in links), links


def test_sources_are_the_provisioned_ones() -> None:
    provisioned = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/engagement.yaml").read_text())
    known = {(source["type"], source["uid"]) for source in provisioned["datasources"]}
    for name, dashboard in DASHBOARDS.items():
        chosen = {v["name"]: v for v in dashboard["templating"]["list"] if v["type"] == "datasource"}
        assert {(each["query"], each["current"]["value"]) for each in chosen.values()} == known
        used = {(t["datasource"]["type"], t["datasource"]["uid"]) for _, t in _targets(name)}
        used |= {(p["datasource"]["type"], p["datasource"]["uid"]) for p in dashboard["panels"] if "datasource" in p}
        used |= {(a["datasource"]["type"], a["datasource"]["uid"]) for a in dashboard["annotations"]["list"]}
        variables = [v for v in dashboard["templating"]["list"] if v["type"] == "query"]
        used |= {(v["datasource"]["type"], v["datasource"]["uid"]) for v in variables}
        assert used <= {(each["query"], f"${{{each['name']}}}") for each in chosen.values()}, name
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/engagement.yaml").read_text())["providers"][0]
    compose = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
    mounts = [volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounts


@EACH
def test_promql_names_metrics_and_labels_that_exist(name: str) -> None:
    known = exposed_metrics()
    asked = [target["expr"] for _, target in _targets(name) if "expr" in target]
    assert {"overview": 2, "health": 55, "spikes": 5}.get(name, 0) <= len(asked)
    for expression in asked:
        named = metrics_in(expression)
        assert named <= known.keys(), expression
        assert named or "ALERTS{" in expression
        grouped = {label for by in re.findall(r"\bby \(([^)]*)\)", expression) for label in by.split(", ")}
        assert grouped <= set().union(OF_THE_SCRAPE, *(known[metric] for metric in named)), expression


@EACH
def test_series_are_named_by_labels_that_they_have(name: str) -> None:
    known = exposed_metrics()
    for title, target in _targets(name):
        named = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
        by = {label for found in re.findall(r"\bby \(([^)]*)\)", target.get("expr", "")) for label in found.split(", ")}
        whole = set().union(OF_THE_SCRAPE, *(known[metric] for metric in metrics_in(target.get("expr", ""))))
        assert named <= (by or whole), title


def test_promtool_reads_every_expression(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus); PromQL was not parsed")
    asked = [target["expr"] for name in DASHBOARDS for _, target in _targets(name) if "expr" in target]
    intervals = {"$__rate_interval": "1m", "$__range": "1d"}
    rules = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$\w+", lambda found: intervals[found[0]], expression)}
        for number, expression in enumerate(asked)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(asked)} rules found" in done.stdout


@EACH
def test_sql_reads_views_that_are_there(name: str) -> None:
    views = {view.name for view in all_views()}
    for title, query in sql_of(DASHBOARDS[name]).items():
        read = set(re.findall(r"\b(?:FROM|(?<!ARRAY )JOIN)\s+(\w+(?:\.\w+)?)\b", query)) - {
            "toStartOfMinute",
            "toStartOfInterval",
        }
        assert read, title
        assert read <= views, title


PANES = {0: (5, 1, 0, 0), 2: (3, 0, 1, 2), 40: (1, 0, 0, 4)}
"""Minutes after FROM -> likes, shares, comments, likes taken back, of the post that the test's dashboard shows."""


def _insert(client: ClickHouse, table: str, names: str, *rows: tuple[Any, ...]) -> None:
    columns = dict(zip(names.split(), map(list, zip(*rows, strict=True)), strict=True))
    client.insert(table, columns | {"version": [1] * len(rows)})


@pytest.fixture
def client(tables: Settings) -> Iterator[ClickHouse]:
    """A database with a post of last year, found again, one that rises now and one that does not, and a dead letter."""
    with ClickHouse(tables) as client:
        post, now = str(SHOWN["post"]), int(time.time()) // 60 * 60
        panes = [(post, FROM + 60 * minute, *counts) for minute, counts in PANES.items()]
        panes += [("rising", now - 60 * 30, 16, 0, 0, 0), ("rising", now - 60 * 90, 1, 0, 0, 0)]
        panes += [("steady", now - 60 * 30, 16, 0, 0, 0), ("steady", now - 60 * 90, 16, 0, 0, 0)]
        _insert(client, "post_minutes", "post_id minute likes shares comments likes_retracted", *panes)
        _insert(
            client,
            "post_metrics",
            "post_id as_of likes score_default",
            ("rising", now - 60 * 29, 17, 17.0),
            ("steady", now - 60 * 29, 32, 32.0),
        )
        # A row of then, for its history, and one of now: somebody has found the post again, so it is active.
        for as_of in (FROM + 2460, now - 300):
            _insert(
                client,
                "post_metrics",
                "post_id as_of spread_as_of likes shares comments score_default share_size share_parents_known "
                "share_levels share_structural_virality comment_levels reproduction forecast_shares unanswered "
                "oldest_unanswered_at",
                (post, as_of, FROM + 2460, 3, 1, 1, 8.0, 2, 1, [1], 1.0, [1, 1], 0.5, 2.0, 1, FROM),
            )
        _insert(
            client,
            "posts",
            "post_id author_id channel created_at labels",
            (post, SHOWN["author"], "bluesky", FROM * 10**6, ["campaign", "spring"]),
        )
        _insert(
            client,
            "carry_over",
            "message post_id channel created_at is_current",
            ("url:https://example.com", post, "bluesky", FROM * 10**6, 1),
            ("url:https://example.com", "rising", "mastodon", (FROM + 90) * 10**6, 1),
        )
        _insert(
            client,
            "conversation_minutes",
            "conversation minute posts comments voices",
            (SHOWN["conversation"], FROM + 120, 1, 2, 3),
            (f"author:bluesky/{SHOWN['author']}", FROM + 120, 1, 2, 3),
            (SHOWN["conversation"], now - 60, 1, 0, 1),
        )
        _insert(
            client,
            "conversation_posts",
            "conversation minute post_id posts voices voices_exact",
            ("brand:x", now, "p", 1, [1], 1),
            (SHOWN["conversation"], FROM + 120, post, 1, [1, 2, 3], 1),
        )
        _insert(
            client,
            "conversation_spikes",
            "spike_id conversation started_at as_of observed severity top_posts",
            ("s", SHOWN["conversation"], FROM + 60, FROM + 180, 9.0, "warning", [post]),
        )
        client.insert("source_marks", {"partition": [0], "watermark": [FROM * 10**6], "stored_at": [FROM * 1000]})
        dead = {"topic": ["t"], "partition": [0], "offset": [7], "reason": ["no"], "field": ["kind"]}
        client.insert("dead_letters", dead | {"received_at": [FROM * 1000]})
        yield client


def _rows(client: ClickHouse, name: str, title: str) -> list[tuple[Any, ...]]:
    chosen = SHOWN | (EVERYTHING if name != "virality" else {})
    query = as_the_data_source_sends_it(sql_of(DASHBOARDS[name])[title], chosen, FROM, TO)
    assert "$" not in query, "a macro that this test does not know"
    return list(zip(*client.select(query), strict=True))


@pytest.mark.stack
@pytest.mark.parametrize("name", sorted(DASHBOARDS.keys() - {"spikes"}))
def test_its_sql_runs_on_clickhouse_and_finds_rows(client: ClickHouse, name: str) -> None:
    queries = sql_of(DASHBOARDS[name])
    assert len(queries) >= 6
    for title in queries:
        assert _rows(client, name, title) or title == "Merges", f"{title}: rows are only there while a merge runs"


@pytest.mark.stack
def test_what_the_engagement_dashboard_shows(client: ClickHouse) -> None:
    assert [row[0] for row in _rows(client, "engagement", "Rising posts")] == ["rising"], (
        "steady has as many likes, and no more than before"
    )
    assert [row[0] for row in _rows(client, "engagement", "Top posts")] == ["steady", "rising", "it's a post"]
    assert _rows(client, "post", "$post") == [("steady",), ("rising",), ("it's a post",)], "by the score of 24 h"
    in_time = [row[:1] + row[3:] for row in _rows(client, "engagement", "Most engagement in this time")]
    assert in_time == [("it's a post", 3, 1, 1, 8.0)]
    over_time = _rows(client, "engagement", "Engagement over time")
    assert [row[0].timestamp() for row in over_time] == [FROM, FROM + 120, FROM + 2400]
    assert [row[1:] for row in over_time] == [(5, 1, 0), (1, 0, 1), (-3, 0, 0)]
    assert [row[1:4] for row in _rows(client, "post", "Totals as they were shown")] == [(3, 1, 1)]


@pytest.mark.stack
def test_what_the_virality_and_conversation_dashboards_show(client: ClickHouse) -> None:
    assert _rows(client, "post", "Levels of its trees") == [("1", 1, 1), ("2", 0, 1)]
    assert [row[2] for row in _rows(client, "virality", "Over-performance")] == [15, 60], "an age that it has reached"
    assert [row[:4] for row in _rows(client, "virality", "Authors")] == [("an author's", "bluesky", 1, 0)]
    assert [row[3] for row in _rows(client, "virality", "How long it took")] == [90]
    minutes = _rows(client, "conversation", "Posts and comments")
    assert len(minutes) == 60
    assert [row[1:] for row in minutes[:4]] == [(0, 0), (0, 0), (1, 2), (0, 0)]
    assert [row[:4] for row in _rows(client, "conversations", "Brands, 24 h")] == [("o'ours", 4, 1, 3)]
    assert [row[:3] for row in _rows(client, "conversations", "Waiting for an answer")] == [
        ("it's a post", "bluesky", 1)
    ]


@pytest.mark.stack
def test_rolling_engagement_is_the_sum_of_panes(client: ClickHouse) -> None:
    def window(end: int, minutes: int) -> tuple[int, int, int]:
        panes = [counts for minute, counts in PANES.items() if end - minutes <= minute < end]
        return sum(p[0] - p[3] for p in panes), sum(p[1] for p in panes), sum(p[2] for p in panes)

    rows = _rows(client, "post", "Rolling engagement")
    assert [row[0].timestamp() for row in rows] == [FROM + 60 * minute for minute in range((TO - FROM) // 60 + 1)]
    for end, (_, likes, shares, comments, score) in enumerate(rows):
        assert (likes, shares, comments) == window(end, 5), end
        hour = window(end, 60)
        assert score == hour[0] + 2 * hour[1] + 3 * hour[2], end

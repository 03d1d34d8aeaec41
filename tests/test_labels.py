"""Labels of posts: the queries of docs/metrics.md on the real ClickHouse, and labels of simulated posts."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from producers.simulation.policy import SimulationPolicy
from producers.simulation.records import simulated_records
from tests.truth import truth_of

PAGE = (Path(__file__).parent.parent / "docs/metrics.md").read_text()
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE.partition("## Labels")[2].partition("\n## ")[0], re.DOTALL)
NOW = int(time.time()) // 60 * 60
DAY = 86_400
LABELS = {
    "a": {"campaign": "spring", "format": "video"},
    "b": {"campaign": "spring", "format": "text"},
    "c": {"campaign": "autumn", "format": "text"},
    "d": {},
}


@pytest.fixture
def client(tables: Settings) -> Iterator[ClickHouse]:
    with ClickHouse(tables) as client:
        ids = list(LABELS)
        for post_id, labels in LABELS.items():
            pairs = ", ".join(f"'{key}', '{value}'" for key, value in labels.items())
            client.execute(
                "INSERT INTO posts (post_id, author_id, channel, created_at, labels, version) "
                f"SELECT '{post_id}', 'ann', 'x', toDateTime64({NOW - DAY}, 6, 'UTC'), map({pairs}), 1"
            )
        minutes = [NOW - 1800] * len(ids)
        likes = {"likes": [1, 2, 4, 8], "minute": minutes, "version": [1] * 4}
        client.insert("post_minutes", {"post_id": ids, **likes})
        history = {"shares": [1, 2, 4, 8], "as_of": minutes, "version": [1] * 4}
        client.insert("post_metrics", {"post_id": ids, **history})
        conversations = [f"label:campaign={name}" for name in ("spring", "autumn")] + ["label:format=text", "hashtag:x"]
        counts = {"posts": [2, 1, 9, 9], "comments": [4, 1, 9, 9], "minute": minutes, "version": [1] * 4}
        client.insert("conversation_minutes", {"conversation": conversations, **counts})
        yield client


def test_the_queries_of_the_page(client: ClickHouse) -> None:
    by_format, by_minute, history, at, voices = (list(zip(*client.select(sql), strict=True)) for sql in QUERIES)
    assert sorted(row[:2] for row in by_format) == [("text", 1), ("video", 1)]
    assert [row[1] for row in by_minute] == [3]
    assert [row[1] for row in history] == [3]
    assert at == [("a", 1, 1), ("b", 2, 2)]
    assert voices == [("autumn", 2, 0.25), ("spring", 6, 0.75)]


@pytest.mark.parametrize("view", ["posts_v", "post_metrics_v", "over_performance_v", "over_performance"])
def test_views_of_posts_have_labels(client: ClickHouse, view: str) -> None:
    read = "over_performance(author = 'ann', channel = 'x')" if view == "over_performance" else view
    where = " WHERE age = 60" if view.startswith("over") else ""
    ids, labels = client.select(f"SELECT post_id, labels FROM {read}{where}")
    assert dict(zip(ids, labels, strict=True)) == LABELS


def test_simulated_posts_have_labels() -> None:
    events = [json.loads(record.value or b"") for record in simulated_records(SimulationPolicy(events=100, posts=90))]
    labels: list[dict[str, Any]] = [event["labels"] for event in events if event["kind"] == "post"]
    assert {each["format"] for each in labels} == {"text", "image", "video", "link"}
    assert all((each["format"] == "link") == ("links" in event) for each, event in
               zip(labels, (event for event in events if event["kind"] == "post"), strict=True))  # fmt: skip
    campaigns = [each["campaign"] for each in labels if "campaign" in each]
    assert len(campaigns) == 30
    assert set(campaigns) == {"spring", "launch", "recruiting"}
    assert any("campaign" in truth.facts()["labels"] for truth in truth_of(events).values())

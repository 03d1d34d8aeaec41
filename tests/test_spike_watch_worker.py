"""Events through the real worker, Kafka and ClickHouse until a receiver is told of a spike: from a backlog, and live
before its minute is over; the worker is killed on the way."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.clickhouse import ClickHouse
from pipeline.settings import Settings
from tests.end_to_end.checks import engagement, environment_of
from tests.end_to_end.inputs import Input
from tests.end_to_end.workers import Workers, wait_until
from tests.fakes_alerts import HttpServer

FILE = """
receivers:
  hook:
    kind: webhook
    url: {url}/hook
    secret: {{clear: s}}
routes:
  - match: "hashtag:*"
    to: hook
"""

SPIKES = (
    "SELECT conversation, state, observed, evidence, bitAnd(version, 255), spike_id, concentration, top_posts, "
    "top_authors, voices FROM conversation_spikes FINAL ORDER BY conversation, started_at"
)


@pytest.fixture
def server() -> Iterator[HttpServer]:
    the_server = HttpServer()
    yield the_server
    the_server.kill()


def spikes_of(client: ClickHouse) -> list[tuple[Any, ...]]:
    return list(zip(*client.select(SPIKES), strict=True))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_spike_is_found_told_and_proven_across_a_crash(
    settings: Settings, server: HttpServer, tmp_path: Path
) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text(FILE.format(url=server.url))
    environment = environment_of(settings, os.environ) | {"ENGAGEMENT_ALERTS": str(path)}
    engagement(environment, "init")
    now = datetime.now(UTC).replace(second=0, microsecond=0)

    def told() -> set[str]:
        return {request.json["id"] for request in server.requests if request.path == "/hook"}

    history = [*quiet("p1", "launch", now), *quiet("p2", "other", now)]
    burst = [comment("p1", f"burst-{n}", f"fan{n % 70}", now - timedelta(minutes=25, seconds=-n)) for n in range(100)]
    Input([*history, *burst]).send(settings)
    with Workers(tmp_path, environment) as workers, ClickHouse(settings) as client:
        workers.catch_up(150)
        found = spikes_of(client)
        assert {row[0] for row in found} == {"hashtag:launch", "author:x/author-p1", "thread:p1"}
        for _, state, observed, evidence, step, spike_id, concentration, posts, authors, voices in found:
            assert (state, step) == ("resolved", 9)
            assert client.select(evidence) == [[observed]]
            assert observed >= 10
            assert (concentration, posts, authors) == (1.0, ["p1"], ["author:x/author-p1"])
            assert 30 <= voices <= 100
            assert spike_id
        [launch] = [row[5] for row in found if row[0] == "hashtag:launch"]
        assert {f"{launch}/opened", f"{launch}/resolved"} <= told()

        worker = workers.start(lateness_seconds=2, idle_seconds=2)
        worker.wait_for("partitions of alerts", 60)
        time.sleep(max(0, 61 - datetime.now(UTC).second) if datetime.now(UTC).second > 25 else 0)
        moment = datetime.now(UTC)
        Input([comment("p2", f"live-{n}", f"fan{n}", moment) for n in range(200)]).send(settings)
        wait_until(lambda: any(row[0] == "hashtag:other" for row in spikes_of(client)), 25, "not found")
        worker.kill()
        [(step, other)] = [row[4:6] for row in spikes_of(client) if row[0] == "hashtag:other"]
        assert step in (2, 3), "before its minute is over"
        second = workers.start(lateness_seconds=2, idle_seconds=2)
        wait_until(lambda: f"{other}/opened" in told(), 90, "not told", lambda: second.tail)
        wait_until(
            lambda: [row[4] for row in spikes_of(client) if row[5] == other] == [5], 100, "its minute does not close"
        )
        assert sum(row[0] == "hashtag:other" for row in spikes_of(client)) == 1
        for row in spikes_of(client):
            assert client.select(row[3]) == [[row[2]]]
        second.wait_until_ready()
        assert second.end() == 0


def quiet(post_id: str, tag: str, now: datetime) -> Iterator[dict[str, Any]]:
    """A post of more than a day ago, and two comments a minute."""
    since = now - timedelta(hours=27)
    post = comment(post_id, f"{post_id}#post", f"author-{post_id}", since)
    yield post | {"kind": "post", "hashtags": [tag]}
    for number in range(27 * 120 - 4):
        yield comment(post_id, f"{post_id}-{number}", f"a{number % 50}", since + timedelta(seconds=30 * number))


def comment(post_id: str, event_id: str, actor_id: str, at: datetime) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "kind": "comment",
        "post_id": post_id,
        "actor_id": actor_id,
        "occurred_at": at.isoformat(),
        "channel": "x",
    }

"""Spikes through the real worker, Kafka and ClickHouse to a receiver: both are killed on the way, each state counts
once."""

import hashlib
import hmac
import json
import os
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.clickhouse import ClickHouse
from pipeline.outlet import Outlet
from pipeline.publisher import open_publisher
from pipeline.settings import Settings
from schemas.alerts import SPIKE_ALERT, SpikeAlert
from tests.end_to_end.checks import engagement, environment_of
from tests.end_to_end.workers import Workers, wait_until
from tests.fakes_alerts import HttpServer, spike
from tests.test_alertmanager import BINARY, RESOLVE_SECONDS, Alertmanager

FILE = """
receivers:
  hook:
    kind: webhook
    url: {url}/hook
    secret: {{env: HOOK_SECRET}}
    timeout: 1s
{pager}
routes:
  - match: "hashtag:*"
    to: [{names}]
heartbeat:
  url: {{clear: {url}/alive}}
"""


PAGER = "  pager: {{kind: alertmanager, urls: [{url}]}}"


@pytest.fixture
def server() -> Iterator[HttpServer]:
    the_server = HttpServer()
    yield the_server
    the_server.kill()


@pytest.fixture
def alertmanager(tmp_path: Path, server: HttpServer) -> Iterator[Alertmanager | None]:
    """The real one where it is installed; tests/test_alertmanager.py says that it is not."""
    if BINARY is None:
        yield None
        return
    it = Alertmanager(tmp_path, server)
    it.start()
    yield it
    it.stop()


class World:
    """What the conversation agent would do, and what the receiver saw."""

    def __init__(self, settings: Settings, server: HttpServer, client: ClickHouse, outlet: Outlet) -> None:
        self.settings, self.server, self.client, self.outlet = settings, server, client, outlet

    def put(self, alert: SpikeAlert) -> None:
        """The row first, then the message."""
        row: dict[str, Any] = {**alert, "version": int(alert["as_of"].timestamp())}
        for name in ("started_at", "ended_at", "as_of"):
            row[name] = None if row[name] is None else int(row[name].timestamp())
        self.client.insert("conversation_spikes", {name: [value] for name, value in row.items()})
        value = SPIKE_ALERT.dump_json(alert)
        self.outlet.send(self.settings.topics.alerts, alert["conversation"].encode(), value)
        self.outlet.flush(20)

    def told(self) -> list[str]:
        return [request.json["id"] for request in self.server.requests if request.path == "/hook"]

    def rows(self) -> dict[tuple[str, str], str]:
        spike_ids, states, outcomes = self.client.select(
            "SELECT spike_id, state, outcome FROM alert_deliveries_v WHERE receiver = 'hook'"
        )
        return dict(zip(zip(spike_ids, states, strict=True), outcomes, strict=True))


@pytest.mark.timeout(300)
def test_worker_and_receiver_are_killed_and_each_state_counts_once(
    settings: Settings, server: HttpServer, alertmanager: Alertmanager | None, tmp_path: Path
) -> None:
    path = tmp_path / "alerts.yaml"
    pager = PAGER.format(url=alertmanager.url) if alertmanager else ""
    path.write_text(FILE.format(url=server.url, pager=pager, names="hook, pager" if pager else "hook"))

    def fires(spike_id: str) -> bool:
        assert alertmanager is not None
        return any(alert["labels"]["spike_id"] == spike_id for alert in alertmanager.alerts())

    environment = environment_of(settings, os.environ) | {"ENGAGEMENT_ALERTS": str(path), "HOOK_SECRET": "s"}
    environment["ENGAGEMENT_SPIKE_KEYS"] = ""  # these spikes are ours: a watch would end what it does not find
    engagement(environment, "init")
    since = datetime.now(UTC).replace(second=0, microsecond=0)
    with (
        Workers(tmp_path, environment) as workers,
        ClickHouse(settings) as client,
        open_publisher(settings) as publisher,
    ):
        world = World(settings, server, client, publisher)
        worker = workers.start()
        worker.wait_for("partitions of alerts", 60)
        wait_until(lambda: any(r.path == "/alive" for r in server.requests), 20, "no heartbeat")

        started = time.monotonic()
        world.put(spike("one", since=since))
        wait_until(lambda: "one/opened" in world.told(), 20, "the spike is not told")
        assert time.monotonic() - started < 10

        if alertmanager is not None:
            wait_until(lambda: fires("one"), 20, "Alertmanager is not told")
        server.kill()
        world.put(spike("two", since=since, conversation="hashtag:other"))
        worker.wait_for("was not told of two/opened", 20)
        worker.kill()
        killed = time.monotonic()
        world.put(spike("one", "grown", 1, since=since))
        world.put(spike("old", since=since - timedelta(days=30), conversation="hashtag:old"))
        world.put(spike("nobody", since=since, conversation="thread:1"))
        publisher.send(settings.topics.alerts, b"hashtag:bad", b"{}")
        publisher.flush(20)
        if alertmanager is not None:
            time.sleep(max(0.0, killed + 2 * RESOLVE_SECONDS - time.monotonic()))
            assert fires("one"), "nobody has said that it is over"
        second = workers.start()
        second.wait_for("was not told of two/opened", 90)
        server.start()
        expected = {"one/opened", f"one/grown/{since + timedelta(minutes=1):%Y-%m-%dT%H:%MZ}", "two/opened"}
        wait_until(lambda: set(world.told()) == expected, 40, "not all is told")
        for name in ("one", "two"):
            world.put(spike(name, "resolved", 2, "hashtag:other" if name == "two" else "hashtag:acme", since))
        wait_until(lambda: {"one/resolved", "two/resolved"} <= set(world.told()), 20, "not resolved")
        wait_until(lambda: world.rows().get(("two", "resolved")) == "delivered", 20, "not stored")
        if alertmanager is not None:
            wait_until(lambda: not fires("one") and not fires("two"), 20, "our word does not resolve it")
        second.wait_until_ready()
        assert second.end() == 0

        assert len(world.told()) == len(set(world.told())), "the receiver took nothing twice here"
        assert world.told().index("two/opened") < world.told().index("two/resolved")
        rows = world.rows()
        assert rows.pop(("old", "opened")) == "old"
        assert {state for _, state in rows} == {"opened", "grown", "resolved"}
        assert set(rows.values()) == {"delivered"}
        assert len(rows) == 5
        [value] = client.select(
            "SELECT bytes FROM dead_letters FINAL WHERE topic = %(t)s", {"t": settings.topics.alerts}
        )
        assert value == ["{}"]

        world.put(spike("last", since=since))
        workers.catch_up(90)
        assert world.told()[-1] == "last/opened"
    for request in server.requests:
        if request.path == "/hook":
            key, stamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
            digest = hmac.new(b"s", f"{key}.{stamp}.".encode() + request.body, hashlib.sha256).digest()
            assert request.headers["webhook-signature"] == "v1," + b64encode(digest).decode()
            assert json.loads(request.body)["id"] == key == request.headers["idempotency-key"]


@pytest.mark.stack
def test_a_file_that_is_wrong_ends_the_worker_with_one_clear_line(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text("receivers: {}\nroutes: []\n")
    environment = environment_of(settings, os.environ) | {"ENGAGEMENT_ALERTS": str(path)}
    with Workers(tmp_path, environment) as workers:
        worker = workers.start()
        assert worker.wait(60) == 2
        assert f"engagement: ENGAGEMENT_ALERTS: {path}: receivers: " in worker.log

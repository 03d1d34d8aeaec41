"""The real Alertmanager: an open spike outlives its resolve_timeout and our absence, and ends by our own word.

Debian: apt-get install prometheus-alertmanager.
"""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from processors.alerts.connections import open_receivers
from processors.alerts.deliveries.policy import DeliveryPolicy
from processors.alerts.ports import Notice
from tests.fakes_alerts import HttpServer, config_of, spike, until
from tests.test_alert_agent import Bench, run

BINARY = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")

RESOLVE_SECONDS = 2
"""Alertmanager's resolve_timeout in these tests."""

needs_alertmanager = pytest.mark.skipif(
    BINARY is None, reason="Alertmanager is not installed (Debian: apt-get install prometheus-alertmanager)"
)


class Alertmanager:
    """A process of its own on loopback, which tells `server` of all that it notifies of, at once."""

    def __init__(self, folder: Path, server: HttpServer) -> None:
        self.folder, self.port = folder, _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        route = {"receiver": "all", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
        config = {
            "global": {"resolve_timeout": f"{RESOLVE_SECONDS}s"},
            "route": route | {"repeat_interval": "1h"},
            "receivers": [{"name": "all", "webhook_configs": [{"url": server.url, "send_resolved": True}]}],
        }
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))

    def start(self) -> None:
        assert BINARY is not None
        self.process = subprocess.Popen(
            [
                BINARY,
                f"--config.file={self.folder / 'alertmanager.yml'}",
                f"--storage.path={self.folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--cluster.listen-address=",
            ],
            stdout=(self.folder / "log").open("w"),
            stderr=subprocess.STDOUT,
        )
        end = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/-/ready", timeout=1).close()
            except OSError:
                assert time.monotonic() < end
                assert self.process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def alerts(self) -> list[dict[str, Any]]:
        """What fires."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts?active=true", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def post(self, alert: dict[str, Any]) -> None:
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts", json.dumps([alert]).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=5).close()


@pytest.fixture
def alertmanager(tmp_path: Path, server: HttpServer) -> Iterator[Alertmanager]:
    it = Alertmanager(tmp_path, server)
    it.start()
    yield it
    it.stop()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _bench(alertmanager: Alertmanager, refresh: float) -> Bench:
    bench = Bench(config_of({"pager": {"kind": "alertmanager", "urls": [alertmanager.url], "hold": "2m"}}))
    bench.now = time.time()
    bench.policy = DeliveryPolicy(first_wait=0.05, longest_wait=0.2, refresh=refresh)
    return bench


def _notified(server: HttpServer, status: str) -> list[dict[str, Any]]:
    return [alert for request in server.requests for alert in request.json["alerts"] if alert["status"] == status]


@needs_alertmanager
def test_an_open_spike_outlives_resolve_timeout_and_our_absence_and_ends_by_our_word(
    alertmanager: Alertmanager, server: HttpServer
) -> None:
    bench = _bench(alertmanager, refresh=0.5)
    since = datetime.now(UTC).replace(second=0, microsecond=0)

    def named(name: str) -> list[dict[str, Any]]:
        return [alert for alert in alertmanager.alerts() if alert["labels"]["alertname"] == name]

    async def work() -> None:
        await bench.start()
        await bench.send(spike(since=since))
        await until(lambda: named("EngagementSpike"))
        await until(lambda: _notified(server, "firing"))
        [first] = named("EngagementSpike")
        await bench.kill()
        await asyncio.sleep(0.2)
        [left] = named("EngagementSpike")
        alertmanager.post({"labels": {"alertname": "Forgotten"}})
        await until(lambda: named("Forgotten"))
        await asyncio.sleep(2 * RESOLVE_SECONDS)
        assert not named("Forgotten"), "resolve_timeout has passed"
        [alone] = named("EngagementSpike")
        assert alone["updatedAt"] == left["updatedAt"], "nobody has posted it meanwhile"
        bench.now = time.time()
        await bench.start()
        await until(lambda: named("EngagementSpike")[0]["updatedAt"] > alone["updatedAt"])
        [again] = named("EngagementSpike")
        for same in ("startsAt", "labels", "fingerprint"):
            assert again[same] == first[same]
        await bench.send(spike(state="resolved", since=since))
        await until(lambda: not named("EngagementSpike"))
        await until(lambda: any(a["labels"]["alertname"] == "EngagementSpike" for a in _notified(server, "resolved")))
        await asyncio.sleep(1.5)
        await bench.stop()

    run(work)
    firing = [a for a in _notified(server, "firing") if a["labels"]["alertname"] == "EngagementSpike"]
    resolved = [a for a in _notified(server, "resolved") if a["labels"]["alertname"] == "EngagementSpike"]
    assert (len(firing), len(resolved)) == (1, 1)
    assert firing[0]["annotations"]["description"] == "\n".join(spike()["reasons"])
    assert firing[0]["annotations"]["evidence"] == spike()["evidence"]
    assert firing[0]["labels"]["conversation"] == "hashtag:acme"
    assert bench.outcomes() == {"pager opened": "delivered", "pager resolved": "delivered"}


@needs_alertmanager
def test_an_alertmanager_that_lost_its_memory_is_told_again(alertmanager: Alertmanager, server: HttpServer) -> None:
    bench = _bench(alertmanager, refresh=0.3)
    since = datetime.now(UTC).replace(second=0, microsecond=0)

    async def work() -> None:
        await bench.start()
        await bench.send(spike(since=since), spike("grows", since=since), spike("grows", "grown", 1, since=since))
        await until(lambda: len(alertmanager.alerts()) == 2)
        alertmanager.stop()
        (alertmanager.folder / "data").rename(alertmanager.folder / "lost")
        await bench.send(spike("while it was away", since=since))
        await until(lambda: bench.count('alerts_failed_total{receiver="pager"}') > 3)
        alertmanager.start()
        await until(lambda: len(alertmanager.alerts()) == 3)
        await bench.stop()

    run(work)


@needs_alertmanager
def test_it_takes_whatever_a_spike_says(alertmanager: Alertmanager) -> None:
    receiver = open_receivers(config_of({"pager": {"kind": "alertmanager", "urls": [alertmanager.url]}}))["pager"]
    since = datetime.now(UTC) - timedelta(minutes=3)
    odd = [
        spike("a", since=since, conversation="hashtag:" + "\N{WOMAN}\n" * 100, reasons=[], top_posts=[], evidence=""),
        spike("b", since=since + timedelta(hours=1)),  # a clock that is ahead
        spike("c", "resolved", 0, since=since + timedelta(hours=1)),
        spike("d", since=since, expected=0.0, ratio=1e308, reasons=["x" * 100_000]),
    ]

    async def work() -> list[bool]:
        answers = [await receiver.send(Notice(alert, "warning"), time.time()) for alert in odd]
        await receiver.close()
        return [answer.is_delivered for answer in answers]

    assert asyncio.run(work()) == [True] * 4
    assert {alert["labels"]["spike_id"] for alert in alertmanager.alerts()} == {"a", "b", "d"}

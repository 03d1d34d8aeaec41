"""A spike that `engagement simulate --live` plants is told while it goes on: real worker, Kafka, webhook."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from tests.end_to_end.checks import engagement, environment_of
from tests.end_to_end.workers import Workers, wait_until
from tests.fakes_alerts import HttpServer
from tests.patience import SCALE

TOLD_SECONDS = 120.0
"""Some five seconds where nothing else runs, whatever second of its minute the spike begins in."""
ALERTS = """
receivers:
  hook: {{kind: webhook, url: {url}/hook, secret: {{env: HOOK_SECRET}}}}
routes:
  - match: "hashtag:launch"
    to: hook
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_spike_planted_live_is_told_while_it_goes_on(settings: Settings, server: HttpServer, tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text(ALERTS.format(url=server.url))
    environment = environment_of(settings, os.environ) | {"ENGAGEMENT_ALERTS": str(path), "HOOK_SECRET": "s"}
    engagement(environment, "init")
    engagement(environment, "simulate")  # the past, by which the usual is known

    def opened() -> list[dict[str, str]]:
        """Spikes that began since the live simulation did, as the webhook got them."""
        data = [request.json["data"] for request in server.requests if request.path == "/hook"]
        return [alert for alert in data if alert["state"] == "opened" and alert["started_at"] >= since]

    with Workers(tmp_path, environment) as workers, ClickHouse(settings) as client:
        worker = workers.start()
        engagement(environment, "recount", "--check", "--wait", str(60 * SCALE))
        since = time.strftime("%Y-%m-%dT%H:%M", time.gmtime())
        started = time.time()
        words = ["simulate", "--live", "20", "--spike", "hashtag:launch@0x40", "--json"]
        live = subprocess.Popen(
            [sys.executable, "-c", "from pipeline.cli import main; main()", *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            wait_until(lambda: opened() != [], TOLD_SECONDS, "the spike is not told", lambda: worker.tail)
            took = time.time() - started
            live.send_signal(signal.SIGINT)
            said, _ = live.communicate(timeout=60)
        finally:
            live.kill()
            live.wait()
        print(f"told after {took:.1f} s")
        assert live.returncode == 0
        total = json.loads(said)["total"]
        engagement(environment, "recount", "--check", "--wait", str(60 * SCALE))
        [[counted]] = client.select(f"SELECT count() FROM events FINAL WHERE received_at >= toDateTime64({started}, 6)")
        assert counted == total, "all that the summary says, and nothing else"
        assert worker.end() == 0

"""`faust -A processors.app worker`: the same worker as `engagement work`, and no web server of Faust's."""

import signal
import subprocess
import sys
import time

import psutil
import pytest
from click.testing import CliRunner

from pipeline.cli import engagement
from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from processors import app as module
from processors.worker import EngagementApp

PATIENCE = 60.0


def test_the_app_is_made_when_it_is_asked_for_and_once() -> None:
    assert isinstance(module.app, EngagementApp)
    assert module.app is module.app
    with pytest.raises(AttributeError, match="no attribute 'bogus'"):
        _ = module.bogus


def test_fausts_own_command_runs_the_worker(
    settings: Settings, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        if name.startswith("ENGAGEMENT_"):
            monkeypatch.setenv(name, value)
    runner = CliRunner(catch_exceptions=False)
    assert runner.invoke(engagement, ["init"]).exit_code == 0
    assert runner.invoke(engagement, ["simulate", "--events", "100", "--posts", "7"]).exit_code == 0
    command = [sys.executable, "-m", "faust", "-A", "processors.app", "worker", "--web-port", "6066"]
    worker = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with ClickHouse(settings) as client:
            until = time.monotonic() + PATIENCE
            while client.select("SELECT count() FROM posts FINAL") != [[7]]:
                assert time.monotonic() < until, "nothing was counted"
                assert worker.poll() is None
                time.sleep(0.2)
        listening = [each.laddr for each in psutil.Process(worker.pid).net_connections() if each.status == "LISTEN"]
        assert {address.ip for address in listening} == {"127.0.0.1"}
        assert 6066 not in {address.port for address in listening}
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0
    finally:
        worker.kill()
        worker.wait()

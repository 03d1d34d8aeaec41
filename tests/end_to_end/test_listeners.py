"""Where a worker listens, at work: at its status page on loopback, and nowhere else."""

import os
import socket
import time
from pathlib import Path

from pipeline.settings import Settings
from tests.end_to_end.checks import assert_exact, engagement, environment_of
from tests.end_to_end.inputs import simulated
from tests.end_to_end.workers import Workers, wait_until


def test_only_the_status_page_listens(settings: Settings, tmp_path: Path) -> None:
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    few = simulated(500, 20)
    few.send(settings)
    with Workers(tmp_path, environment) as workers:
        worker = workers.start()
        worker.wait_until_ready()
        time.sleep(1)
        listening = [c.laddr for c in worker.process.net_connections("inet") if c.status == "LISTEN"]
        assert [address.ip for address in listening] == ["127.0.0.1"]
        assert listening[0].port != 6066
        assert f"http://127.0.0.1:{listening[0].port}/metrics" in worker.log

        def is_exact() -> bool:
            try:
                assert_exact(settings, few.truth)
            except AssertionError:
                return False
            return True

        wait_until(is_exact, 30, "it does not do its work")
        assert worker.end() == 0, worker.tail


def test_a_status_port_that_is_taken(settings: Settings, tmp_path: Path) -> None:
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    with socket.create_server(("127.0.0.1", 0)) as taken, Workers(tmp_path, environment) as workers:
        worker = workers.start(metrics_port=taken.getsockname()[1])
        assert worker.wait(60) == 2, worker.tail
        assert worker.log.splitlines()[-1].startswith("engagement: ENGAGEMENT_METRICS_HOST and _PORT"), worker.tail

"""Where a worker listens, at work: at its status page on loopback, and nowhere else."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from pipeline.settings import Settings
from tests.end_to_end.checks import assert_exact, engagement, environment_of
from tests.end_to_end.inputs import simulated
from tests.end_to_end.workers import START_SECONDS, Workers, wait_until
from tests.patience import SCALE


def test_only_the_status_page_listens(settings: Settings, tmp_path: Path) -> None:
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    few = simulated(500, 20)
    few.send(settings)
    log = tmp_path / "log"
    with _work(environment, log) as worker:

        def is_ready() -> bool:
            assert worker.poll() is None, log.read_text()
            return "partitions of ours" in log.read_text()

        wait_until(is_ready, 3 * START_SECONDS, "it is not ready", log.read_text)
        listening = [c.laddr for c in psutil.Process(worker.pid).net_connections("inet") if c.status == "LISTEN"]
        assert [address.ip for address in listening] == ["127.0.0.1"]
        assert listening[0].port != 6066
        assert f"http://127.0.0.1:{listening[0].port}/metrics" in log.read_text()

        def is_exact() -> bool:
            try:
                assert_exact(settings, few.truth)
            except AssertionError:
                return False
            return True

        wait_until(is_exact, 30, "it does not do its work")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(15 * SCALE) == 0, log.read_text()


def test_a_status_port_that_is_taken(settings: Settings, tmp_path: Path) -> None:
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    with socket.create_server(("127.0.0.1", 0)) as taken, Workers(tmp_path, environment) as workers:
        worker = workers.start(metrics_port=taken.getsockname()[1])
        assert worker.wait(60) == 2, worker.tail
        assert worker.log.splitlines()[-1].startswith("engagement: ENGAGEMENT_METRICS_HOST and _PORT"), worker.tail


def test_a_second_worker_takes_the_next_free_port(settings: Settings, tmp_path: Path) -> None:
    """Where no port was chosen, the default one may be another worker's already; the log says which one it is."""
    environment = environment_of(settings, os.environ)
    del environment["ENGAGEMENT_METRICS_PORT"]
    engagement(environment | {"ENGAGEMENT_METRICS_PORT": "0"}, "init")
    default = Settings.model_fields["metrics_port"].default
    with ExitStack() as held, Workers(tmp_path, environment) as workers:
        with suppress(OSError):  # taken by somebody else: all the same to this test
            held.enter_context(socket.create_server(("127.0.0.1", default)))
        pair = [workers.start(), workers.start()]
        ports = []
        for worker in pair:
            worker.wait_until_ready()
            [said] = re.findall(r"status at http://127\.0\.0\.1:(\d+)/metrics\S* .*", worker.log)
            assert f"{default} is taken, perhaps by another worker" in worker.log
            ports.append(int(said))
            listening = [c.laddr.port for c in worker.process.net_connections("inet") if c.status == "LISTEN"]
            assert listening == [ports[-1]]
        assert len(set(ports)) == 2
        assert all(default < port <= default + 100 for port in ports)
        assert [worker.end() for worker in pair] == [0, 0]


@contextmanager
def _work(environment: Mapping[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The command itself, in a process that shares nothing with us."""
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "work"]
    with log.open("wb") as said:
        worker = subprocess.Popen(command, env=dict(environment), stdout=said, stderr=subprocess.STDOUT)
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()

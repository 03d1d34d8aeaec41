"""Runs the project's own commands as processes for the demo, and reads the metrics of a worker over HTTP."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.errors import EngagementError
from pipeline.observability.health import COMPILING

COMMAND: Final = (sys.executable, "-c", "from pipeline.cli import main; main()")
WORKER_START_SECONDS: Final = 90.0
"""How long a worker may take to start, the time apart in which it compiles kernels."""

_SAY_SECONDS: Final = 5.0
"""How often the demo says how far the compilation is."""

WORKER_STOP_SECONDS: Final = 30.0
"""How long a worker may take to stop before it is killed."""

_SAMPLE: Final = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")


def run_command(arguments: list[str], environment: Mapping[str, str]) -> Any:
    """Runs `engagement ARGUMENTS --json` and returns the printed JSON. Raises EngagementError with the error output."""
    done = subprocess.run(
        [*COMMAND, *arguments, "--json"],
        env=dict(os.environ, **environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout.strip():
        raise EngagementError(f"`engagement {' '.join(arguments)}` failed: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


class Worker:
    """A running `engagement work`, which logs to a file."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        self._port = _free_port()
        worker = dict(os.environ, **environment, ENGAGEMENT_METRICS_PORT=str(self._port))
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [*COMMAND, "work"], env=worker, stdout=out, stderr=out, start_new_session=True
            )

    def wait_ready(self) -> None:
        """Blocks until the worker has partitions.

        Raises EngagementError when the worker ends, or takes longer than WORKER_START_SECONDS.
        """
        said = time.monotonic()
        deadline = said + WORKER_START_SECONDS
        while (now := time.monotonic()) < deadline:
            self.must_run()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=5):
                    return
            except urllib.error.HTTPError as error:
                reason = next(iter(json.load(error)["reasons"]), "")
                if reason.startswith(COMPILING):
                    deadline = now + WORKER_START_SECONDS
                    if now - said >= _SAY_SECONDS:
                        said = now
                        print(reason, file=sys.stderr, flush=True)
                time.sleep(0.1)
            except OSError:
                time.sleep(0.1)
        raise EngagementError(f"the worker is not ready after {WORKER_START_SECONDS:g} s: see {self._log}")

    def wait_until_judged(self, records: int, seconds: float) -> None:
        """Blocks until the worker has processed and committed so many records.

        Raises EngagementError when the worker ends, or after `seconds`.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.must_run()
            samples = self.samples()
            judged = sum(value for (name, _), value in samples.items() if name == "engagement_events_total")
            lag = sum(value for (name, _), value in samples.items() if name == "engagement_consumer_lag")
            if judged >= records and not lag:
                return
            time.sleep(0.1)
        raise EngagementError(f"the worker has not processed {records:,} records within {seconds:g} s: see {self._log}")

    def samples(self) -> dict[tuple[str, str], float]:
        """Returns every sample of /metrics by name and labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        found = (match.groups() for line in lines if (match := _SAMPLE.match(line)))
        return {(name, labels or ""): float(value) for name, labels, value in found}

    def stop(self) -> None:
        """Stops the worker by SIGTERM, and by SIGKILL after WORKER_STOP_SECONDS."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(WORKER_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def must_run(self) -> None:
        """Raises EngagementError where the worker has ended."""
        if self._process.poll() is not None:
            raise EngagementError(f"the worker ended with {self._process.returncode}: see {self._log}")


def freshness(before: Mapping[tuple[str, str], float], after: Mapping[tuple[str, str], float], share: float) -> float:
    """Returns the bound, in seconds, within which `share` of the events could be queried.

    `before` and `after` are samples of /metrics; events between the two count.
    """
    name = "engagement_event_to_queryable_seconds_bucket"
    buckets = sorted(
        (float(labels.split('"')[1]), value - before.get((name, labels), 0.0))
        for (found, labels), value in after.items()
        if found == name
    )
    total = buckets[-1][1] if buckets else 0.0
    return next((bound for bound, count in buckets if total and count >= share * total), float("inf"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

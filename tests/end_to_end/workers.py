"""Worker processes of a test: started, watched with bounded patience, none left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
"""How long a worker may take until it has partitions; the first one of all compiles the fold's loops."""

SCALE = float(os.environ.get("ENGAGEMENT_TEST_PATIENCE", "1"))
"""All patience is multiplied by it: a machine that is busy with other things needs more."""


class Worker:
    """One process. `log` is all that it said."""

    def __init__(self, name: str, folder: Path, command: list[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self._path = folder / f"{name}.log"
        with self._path.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=dict(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        self.pid = self._process.pid

    @property
    def log(self) -> str:
        return self._path.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.pid)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """As a crash does (SIGKILL), and waits until it is gone."""
        self._process.kill()
        self._process.wait(30)

    def end(self, seconds: float = 15) -> int:
        """SIGTERM; its exit code. Fails when it takes longer than `seconds`."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float) -> int:
        """Its exit code. Fails when it takes longer than `seconds`."""
        try:
            return self._process.wait(seconds * SCALE)
        except subprocess.TimeoutExpired:
            stacks = self._stacks()
            self.kill()
            raise AssertionError(f"{self.name} does not end within {seconds} s\n{stacks}\n{self.tail}") from None

    def wait_until_ready(self) -> None:
        """Until it has been given partitions."""
        self.wait_for("partitions of ours", START_SECONDS)

    def wait_for(self, said: str, seconds: float, times: int = 1) -> None:
        """Until its log has `said` (as often as that). Fails when it ends before."""

        def has_said() -> bool:
            found = self.log.count(said) >= times
            assert found or self.alive, f"{self.name} has ended:\n{self.tail}"
            return found

        wait_until(has_said, seconds, f"{self.name} has not said {said!r}", lambda: self.tail)

    @property
    def tail(self) -> str:
        return self.log[-3000:]

    def _stacks(self) -> str:
        return f"threads: {[(thread.id, thread.user_time) for thread in self.process.threads()]}"


class Workers:
    """Starts workers; as a context manager it ends with none alive."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._environment = folder, environment
        self._started: list[Worker] = []

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._started:
            if worker.alive:
                worker.kill()
            if error is not None:
                print(f"--- {worker.name}\n{worker.tail}")

    def start(self, *arguments: str, **settings: Any) -> Worker:
        """`engagement work` with these arguments, through runner.py; `settings` are ENGAGEMENT_ settings."""
        return self.run([sys.executable, "-m", "tests.end_to_end.runner", *arguments], **settings)

    def catch_up(self, seconds: float = 120, **settings: Any) -> None:
        """A worker that ends, with 0, once all is committed."""
        worker = self.start("--until-caught-up", **settings)
        assert worker.wait(seconds) == 0, worker.tail

    def run(self, command: list[str], **settings: Any) -> Worker:
        """Any command with the settings of the test."""
        name = f"worker-{len(self._started) + 1}"
        own = {f"ENGAGEMENT_{key.upper()}": str(value) for key, value in settings.items()}
        worker = Worker(name, self._folder, command, {**self._environment, **own})
        self._started.append(worker)
        return worker


def wait_until(
    condition: Callable[[], bool], seconds: float, what: str, more: Callable[[], str] = str, pause: float = 0.05
) -> float:
    """Until `condition` holds; the seconds that took. Fails after `seconds` with `what` and `more`."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds * SCALE, f"{what} after {seconds:g} s\n{more()}"
        time.sleep(pause)
    return time.monotonic() - started

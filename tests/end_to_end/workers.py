"""Worker processes of a test: started, watched with bounded patience, none left behind."""

import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tests.patience import SCALE

START_SECONDS = 60.0
"""How long a worker may take until it has partitions; the first one of all compiles the fold's loops."""


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.end_to_end.loaded"])


class Worker:
    """One process. `log` is all that it said."""

    def __init__(self, name: str, log: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self._log = log
        self._process = FORKS.Process(target=_work, args=(log, list(arguments), dict(environment)), name=name)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.pid)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """As a crash does (SIGKILL), and waits until it is gone."""
        self._process.kill()
        self._process.join(30)
        assert not self.alive

    def end(self, seconds: float = 15) -> int:
        """SIGTERM; its exit code. Fails when it takes longer than `seconds`."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float) -> int:
        """Its exit code. Fails when it takes longer than `seconds`."""
        self._process.join(seconds * SCALE)
        if self._process.exitcode is None:
            threads = f"threads: {[(thread.id, thread.user_time) for thread in self.process.threads()]}"
            self.kill()
            raise AssertionError(f"{self.name} does not end within {seconds} s\n{threads}\n{self.tail}")
        return self._process.exitcode

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
        """A process that does what `engagement work` does, with these arguments of runner.py; `settings` are
        ENGAGEMENT_ settings."""
        name = f"worker-{len(self._started) + 1}"
        own = {f"ENGAGEMENT_{key.upper()}": str(value) for key, value in settings.items()}
        worker = Worker(name, self._folder / f"{name}.log", arguments, {**self._environment, **own})
        self._started.append(worker)
        return worker

    def catch_up(self, seconds: float = 120, **settings: Any) -> Worker:
        """A worker that has ended, with 0, once all was committed."""
        worker = self.start("--until-caught-up", **settings)
        assert worker.wait(seconds) == 0, worker.tail
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


def _work(log: Path, arguments: list[str], environment: dict[str, str]) -> None:
    """In the new process."""
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(said, stream)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = str(log.parent)
    import_module("tests.end_to_end.loaded").main(arguments)

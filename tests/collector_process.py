"""`engagement collect` as a process of its own, and clients that try again."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.embedded.ports import find_free_port
from tests.end_to_end.workers import wait_until
from tests.patience import SCALE


class CollectorProcess:
    """A collector on a port that it keeps over restarts; as a context manager it ends with none alive."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *arguments: str) -> None:
        self._log, self._environment, self._arguments = folder / "collector.log", dict(environment), arguments
        self.port = find_free_port(())
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        if error is not None:
            print(self.log[-3000:])

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Until it listens; Kafka may be away."""
        heard = self.log.count("listening on")
        command = [sys.executable, "-c", "from pipeline.cli import main; main()", "collect", "--port", str(self.port)]
        with self._log.open("ab") as said:
            self._process = subprocess.Popen(
                [*command, *self._arguments], env=self._environment, stdout=said, stderr=subprocess.STDOUT
            )
        wait_until(lambda: self.log.count("listening on") > heard, 30, "it does not listen", lambda: self.log)

    def wait_until_ready(self) -> None:
        def is_ready() -> bool:
            assert self.process.poll() is None, self.log
            try:
                return self.get("/readyz")[0] == 200
            except OSError:
                return False

        wait_until(is_ready, 30, "it is not ready", lambda: self.log)

    def kill(self) -> None:
        """As a crash does."""
        self.process.kill()
        self.process.wait(30)

    def end(self, seconds: float = 30) -> int:
        """SIGTERM; its exit code."""
        self.process.terminate()
        return self.process.wait(seconds * SCALE)

    def connect(self, seconds: float = 30) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds * SCALE)

    def get(self, path: str) -> tuple[int, bytes]:
        connection = self.connect()
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class Client:
    """A client that sends each batch again until it is taken. `retries`: how often that was."""

    def __init__(self, collector: CollectorProcess) -> None:
        self._collector = collector
        self._connection: http.client.HTTPConnection | None = None
        self.retries = 0

    def send(self, events: Sequence[Mapping[str, Any]], seconds: float = 120) -> dict[str, Any]:
        """The answer that says that all is in Kafka."""
        body = json.dumps(events).encode()
        until = time.monotonic() + seconds * SCALE
        while True:
            assert time.monotonic() < until, "not taken in time"
            try:
                self._connection = self._connection or self._collector.connect()
                self._connection.request("POST", "/v1/events", body, {"Content-Type": "application/json"})
                answer = self._connection.getresponse()
                said = answer.read()
                if answer.status in (202, 207):
                    found: dict[str, Any] = json.loads(said)
                    return found
                assert answer.status in (429, 503), said
            except (OSError, http.client.HTTPException):
                self._connection = None
            self.retries += 1
            time.sleep(0.05)

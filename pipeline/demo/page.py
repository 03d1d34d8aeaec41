"""The live page of the demo, and the live simulation behind the page until Ctrl-C."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from pipeline.demo.stage import COMMAND, Worker
from pipeline.errors import EngagementError
from pipeline.serving.listening import can_listen

USUAL_PORT: Final = 8090
"""The port of `engagement serve`, which the demo takes where it is free."""

END_SECONDS: Final = 20.0
LIVE: Final = ("simulate", "--live", "30", "--spike", "hashtag:launch@2x40")
"""What goes on behind the page: a spike begins in two minutes."""


class BackgroundCommand:
    """A running `engagement` command, which logs to a file and ends with `stop`."""

    def __init__(self, arguments: tuple[str, ...], environment: Mapping[str, str], log: Path) -> None:
        self._what, self._log = f"engagement {arguments[0]}", log
        with log.open("ab") as said:
            # A session of its own: Ctrl-C reaches the demo alone, which ends its commands in order.
            self._process = subprocess.Popen(
                [*COMMAND, *arguments],
                env=dict(os.environ, **environment),
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,
            )

    def first_line(self) -> str:
        """Blocks until the command has printed a line, and returns the line. Raises EngagementError where it ends."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        if not line:
            raise EngagementError(f"`{self._what}` ended: see {self._log}")
        return line

    def must_run(self) -> None:
        """Raises EngagementError where the command has ended."""
        if self._process.poll() is not None:
            raise EngagementError(f"`{self._what}` ended with {self._process.returncode}: see {self._log}")

    def stop(self) -> None:
        """Ends the command by SIGTERM, and by SIGKILL after END_SECONDS."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@contextmanager
def open_page(environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """Serves the page; yields its address."""
    port = USUAL_PORT if can_listen("127.0.0.1", USUAL_PORT) else 0
    page = BackgroundCommand(("serve", "--port", str(port), "--json"), environment, log)
    try:
        yield str(json.loads(page.first_line())["url"])
    finally:
        page.stop()


def go_on(environment: Mapping[str, str], folder: Path) -> None:
    """Lets a worker count a live simulation until Ctrl-C or SIGTERM. Raises EngagementError where either ends."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, interrupt)
    try:
        with ExitStack() as parts:
            worker = Worker(environment, folder / "worker.log")
            parts.callback(worker.stop)
            worker.wait_ready()
            live = BackgroundCommand(LIVE, environment, folder / "live.log")
            parts.callback(live.stop)
            while True:
                time.sleep(1)
                live.must_run()
                worker.must_run()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, earlier)

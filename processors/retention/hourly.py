"""Retention in the worker: once an hour, by the worker that owns partition 0 of the source topics."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.errors import EngagementError, Refused
from processors.retention.retention import Retention, Retired

FIRST_SECONDS: Final = 60.0
EACH_SECONDS: Final = 3600.0
_LEADER: Final = 0
"""The partition whose owner runs retention."""

log = logging.getLogger(__name__)


class HourlyRetention:
    """A thread that runs retention, with a connection of its own. A run that fails is logged and repeated an hour
    later; the worker goes on."""

    def __init__(
        self, connect: Callable[[], tuple[ClickHouse, Retention]], on_retired: Callable[[Retired], None]
    ) -> None:
        """`connect` makes the connection and the retention on it; `on_retired` is called with each result."""
        self._connect, self._on_retired = connect, on_retired
        self._ends, self._leads = threading.Event(), threading.Event()
        self._clickhouse: ClickHouse | None = None
        self._thread: threading.Thread | None = None

    def assign(self, partitions: Sequence[int]) -> None:
        """Starts or ends the runs: the partitions are those that the worker owns now."""
        if _LEADER not in partitions:
            self._leads.clear()
            return
        self._leads.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="retention", daemon=True)
            self._thread.start()

    def cut(self) -> None:
        """Ends the run on its way. Called from another thread."""
        self._ends.set()
        if self._clickhouse is not None:
            self._clickhouse.cut()

    def close(self) -> None:
        """Ends the thread. A run on its way is cut off; the next one goes on."""
        self.cut()
        if self._thread is not None:
            self._thread.join(10)

    def _loop(self) -> None:
        seconds = FIRST_SECONDS
        while not self._ends.wait(seconds):
            seconds = EACH_SECONDS
            if self._leads.is_set():
                self._run()

    def _run(self) -> None:
        self._clickhouse, retention = self._connect()
        try:
            retired = retention.run(time.time(), self._wait)
        except Refused as error:
            cure = "the worker's role needs the grants of retention (deploy/clickhouse/users.sql)"
            log.warning("retention is refused: %s; %s, or run `engagement retain` as the admin", error, cure)
        except EngagementError as error:
            if not self._ends.is_set():
                log.warning("retention was cut off, and goes on in an hour: %s", error)
        else:
            self._on_retired(retired)
            if retired != Retired():
                log.info("retention: %s", retired)
        finally:
            self._clickhouse.close()
            self._clickhouse = None

    def _wait(self, seconds: float) -> bool:
        return not self._ends.wait(seconds) and self._leads.is_set()

"""Where the work of one agent is done: all that blocks runs in one thread, off the event loop, so that heartbeats go
on."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import verify_tables
from pipeline.dead_letters import Fuse, FusePolicy
from pipeline.errors import Unavailable
from pipeline.observability.health import HealthState, WatchdogState
from pipeline.settings import Settings
from processors.row_settings import row_settings
from processors.row_settings_store import StoredRowSettings, WorkerAgreement

Result = TypeVar("Result")

GRACE_SECONDS: Final = 4.0
"""How long a stop or a rebalance waits at most for a statement that ClickHouse neither ends nor refuses."""

log = logging.getLogger(__name__)


class Connection(Protocol):
    """To ClickHouse, of the thread."""

    def cut(self) -> None:
        """Ends what waits for the server, from another thread."""
        ...


class Bench:
    """One thread with its connections, its fuse, and who is told of a store that is away."""

    def __init__(self, name: str, settings: Settings, health: HealthState, watchdog: WatchdogState) -> None:
        self._health, self._watchdog = health, watchdog
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._fuse = Fuse(FusePolicy(settings.fuse_records, settings.fuse_share))
        self._judged = (0, 0)
        self._first = ClickHouse(settings)
        self._connections: tuple[Connection, ...] = (self._first,)
        self.agreement = WorkerAgreement(row_settings(settings), StoredRowSettings(self._first))

    def watch_over(self, *connections: Connection) -> None:
        """These belong to the thread as well: they are cut where nobody wants their answer any more."""
        self._connections += connections

    async def run(
        self, action: Callable[..., Result], *arguments: Any, unwanted: Callable[[], bool] = lambda: False
    ) -> Result:
        """What the action returns, once the thread has done it. A server whose silence keeps what nobody wants any more
        is cut off."""
        work = asyncio.get_running_loop().run_in_executor(self._thread, action, *arguments)
        waited = 0
        while not work.done():
            waited = waited + 1 if unwanted() else 0
            if waited > 2:
                for connection in self._connections:
                    connection.cut()
            await asyncio.wait({work}, timeout=GRACE_SECONDS / 2)
        return work.result()

    def look_at_tables(self) -> None:
        """In the thread, before the first batch: are they as declared, and their rows made with the settings of this
        worker. Raises Unavailable, SchemaDrift, SettingsError."""
        try:
            verify_tables(self._first)
            self.agreement.join()
        finally:
            self._first.close()

    def end(self) -> None:
        """No more work."""
        self._thread.shutdown(wait=False)

    def judge(self, judged: tuple[int, int]) -> None:
        """Records and dead ones so far. To be called once the batch is safe: what blew the fuse can be looked at, and a
        wrong schema does not drain a topic. Raises FuseBlown."""
        records, dead = judged
        self._fuse.note(records - self._judged[0], dead - self._judged[1])
        self._judged = judged

    def note_progress(self) -> None:
        """Work that is longer than a batch has come a step further."""
        self._watchdog.note_progress(time.monotonic())

    def note_store(self, error: Unavailable | None) -> None:
        """A store failed, or answers again: None."""
        now = time.monotonic()
        if error is None:
            self._health.note_back("clickhouse")
            self._watchdog.note_back("clickhouse", now)
        else:
            log.warning("%s", error)
            self._health.note_away("clickhouse", str(error), now)
            self._watchdog.note_away("clickhouse", now)

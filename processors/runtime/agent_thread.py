"""The thread of one agent. All calls that block run there, off the event loop, so that heartbeats to Kafka go on."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import verify_tables
from pipeline.dead_letters import Fuse
from pipeline.errors import Unavailable
from pipeline.observability.health import HealthState, WatchdogState
from pipeline.privacy.erased_hashes import ErasedHashes
from processors.runtime.kernel_progress import KernelProgress

_Result = TypeVar("_Result")

GRACE_SECONDS: Final = 4.0
"""The longest time that a stop or a rebalance waits for a statement that ClickHouse neither finishes nor refuses."""


class Connection(Protocol):
    """A connection to ClickHouse that belongs to the thread."""

    def cut(self) -> None:
        """Ends the call that waits for the server. Safe to be called from another thread."""
        ...

    def close(self) -> None:
        """Closes the connection."""
        ...


class SettingsAgreement(Protocol):
    """The agreement of all workers about the settings that stored rows follow from
    (processors/row_settings_store.py)."""

    def join(self) -> None:
        """Joins the agreement before the first batch. Raises SettingsError, Unavailable, Refused."""
        ...

    def look_soon(self) -> None:
        """Has the next `check` read the stored settings."""
        ...

    def check(self) -> None:
        """Raises SettingsError once the stored settings differ from those of this worker."""
        ...


class ErasureSteps(Protocol):
    """The erasures of people as one agent knows them (processors/erasure_watch.py)."""

    erased: ErasedHashes

    def join(self) -> None:
        """Reads what was erased before the first batch. Raises SettingsError, Unavailable, Refused."""
        ...

    def assign(self, partitions: Sequence[int]) -> None:
        """Sets the owned partitions."""
        ...

    def look(self, take_up: Callable[[ErasedHashes, str], None]) -> None:
        """Has the agent take up a new step, by its name. Raises SettingsError, Unavailable, Refused."""
        ...

    def break_off(self) -> None:
        """Raises StepAhead where a new step has come, and Refused."""
        ...


@dataclass(frozen=True)
class ThreadPorts:
    """All that the thread of an agent reaches outside of itself. `clickhouse` is the connection on which the tables are
    verified, and which the agreement and the erasures read."""

    clickhouse: ClickHouse
    agreement: SettingsAgreement
    erasures: ErasureSteps
    fuse: Fuse
    health: HealthState
    watchdog: WatchdogState
    kernels: KernelProgress


class AgentThread:
    """A thread with connections and a fuse. Reports to health and watchdog whether ClickHouse answers."""

    def __init__(self, name: str, ports: ThreadPorts) -> None:
        self._ports = ports
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._judged = (0, 0)
        self._connections: tuple[Connection, ...] = (ports.clickhouse,)
        self.agreement, self.erasures = ports.agreement, ports.erasures

    def adopt(self, *connections: Connection) -> None:
        """Makes these connections the thread's own: the thread cuts them when their answer is no longer wanted, and
        closes them at its end."""
        self._connections += connections

    async def run(
        self, action: Callable[..., _Result], *arguments: Any, unwanted: Callable[[], bool] = lambda: False
    ) -> _Result:
        """Runs the action in the thread and returns its result. Once `unwanted` has returned True for GRACE_SECONDS,
        all connections are cut, which ends a wait for a silent server."""
        work = asyncio.get_running_loop().run_in_executor(self._thread, action, *arguments)
        waited = 0
        while not work.done():
            waited = waited + 1 if unwanted() else 0
            if waited > 2:
                for connection in self._connections:
                    connection.cut()
            await asyncio.wait({work}, timeout=GRACE_SECONDS / 2)
        return work.result()

    def verify(self) -> None:
        """Verifies that the tables are as declared, joins the agreement about settings and reads what was erased.
        Called in the thread, before the first batch. Raises Unavailable, SchemaDrift, SettingsError."""
        try:
            verify_tables(self._ports.clickhouse)
            self.agreement.join()
            self.erasures.join()
        finally:
            self._ports.clickhouse.close()

    def load_kernels(self, load: Callable[[], None]) -> None:
        """Calls `load`; health and the log tell how far the kernels are that it has to compile."""
        with self._ports.kernels.watch():
            load()

    async def close(self) -> None:
        """Closes all connections in the thread, after the actions that were queued before, and ends the thread."""
        await self.run(self._close, unwanted=lambda: True)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        for connection in self._connections:
            connection.close()

    def judge(self, judged: tuple[int, int]) -> None:
        """Reports the numbers of records and of dead letters so far to the fuse. Called once the batch is stored, so
        that the dead letters can be looked at and a wrong schema does not drain a topic. Raises FuseBlown."""
        records, dead = judged
        self._ports.fuse.note(records - self._judged[0], dead - self._judged[1])
        self._judged = judged

    def note_progress(self) -> None:
        """Tells the watchdog that work which takes longer than a batch has come a step further."""
        self._ports.watchdog.note_progress(time.monotonic())

    def note_store(self, error: Unavailable | None) -> None:
        """Reports that ClickHouse failed with `error`, or answers again (None)."""
        now = time.monotonic()
        if error is None:
            self._ports.health.note_back("clickhouse")
            self._ports.watchdog.note_back("clickhouse", now)
        else:
            self._ports.health.note_away("clickhouse", str(error), now)
            self._ports.watchdog.note_away("clickhouse", now)

"""One worker, wired: source -> agent -> job -> ClickHouse, with its status server, its fuse and its watchdog.

build_worker(settings) -> faust.App, which Faust's own worker runs (`engagement work`, `faust -A processors.app worker`)
"""

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import faust
from faust.app.base import BootStrategy
from faust.types import StreamT

from pipeline.clickhouse import ClickHouse
from pipeline.dead_letters import Burial, Fuse, FusePolicy
from pipeline.errors import EngagementError, Unavailable
from pipeline.group import GroupPolicy
from pipeline.migrations import verify_tables
from pipeline.observability.health import HealthState, WatchdogPolicy, WatchdogState
from pipeline.observability.httpd import StatusServer
from pipeline.observability.logs import log_config
from pipeline.observability.metrics import WorkerMetrics
from pipeline.settings import Settings
from processors.batches import Batch, SourcePolicy
from processors.engagement.decoding import DecodingPolicy
from processors.engagement.fold import compile_loops
from processors.engagement.hashing import Hasher
from processors.engagement.job import EngagementJob, JobPolicy
from processors.engagement.stored import ClickHouseLog
from processors.process import tune
from processors.source import RunSource
from schemas.topics import KINDS

Result = TypeVar("Result")

GRACE_SECONDS: Final = 4.0
"""How long a stop or a rebalance waits at most for a statement that ClickHouse neither ends nor refuses."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkOptions:
    """How this run of the worker differs from others. `rewind_to`: milliseconds since 1970."""

    until_caught_up: bool = False
    rewind_to: int | None = None
    after_step: Callable[[str], None] = lambda step: None


class _NoKafkaNoWeb(BootStrategy):  # type: ignore[misc]
    """Faust starts neither its own consumer and producer nor its web server, whatever its command line says."""

    enable_kafka = False
    enable_web = False


class EngagementApp(faust.App):  # type: ignore[misc]
    """Faust's app with our boot strategy."""

    BootStrategy = _NoKafkaNoWeb
    metrics: WorkerMetrics
    scratch: "TemporaryDirectory[str]"


def build_worker(settings: Settings, options: WorkOptions | None = None) -> EngagementApp:
    """The app of one worker. Opens nothing until it is started."""
    options = options or WorkOptions()
    group = settings.topics.prefix
    scratch = TemporaryDirectory(prefix="engagement-")
    app = EngagementApp(
        group,
        datadir=scratch.name,  # Faust wants a folder, and nothing of ours is ever in it
        broker=f"kafka://{settings.bootstrap[0]}",
        web_enabled=False,
        worker_redirect_stdouts=False,
        logging_config=log_config(settings),
    )
    metrics = app.metrics = WorkerMetrics()
    health = HealthState(on_ready=metrics.set_ready)
    watchdog = WatchdogState(WatchdogPolicy(settings.stuck_minutes))
    bench = Bench(settings, metrics, health, watchdog, options)
    batches = app.channel(maxsize=1)
    policy = SourcePolicy(
        GroupPolicy(group, settings.topics.sources, settings.instance),
        {settings.topics.of(kind): kind for kind in KINDS},
        settings.flush_seconds,
        settings.flush_events,
        options.rewind_to,
    )
    on_caught_up = (lambda: signal.raise_signal(signal.SIGTERM)) if options.until_caught_up else None

    @app.service
    class Status(faust.Service):  # type: ignore[misc]
        """What people and Prometheus look at."""

        server: StatusServer | None = None

        async def on_start(self) -> None:
            try:
                self.server = StatusServer(settings.metrics_host, settings.metrics_port, metrics, health.report)
            except EngagementError as error:
                await self.crash(error)  # raised here it would be a traceback, not what the worker ends with
                return
            log.info("status at %s/metrics, /healthz, /readyz", self.server.url)

        async def on_stop(self) -> None:
            if self.server is not None:
                self.server.close()

    @app.service
    class Source(RunSource):
        """The source of this worker, as Faust makes its services: by class."""

        def __init__(self, **service: Any) -> None:
            super().__init__(settings, policy, batches, bench, metrics, health, watchdog, on_caught_up, **service)

    @app.agent(batches, name="engagement")
    async def engagement(stream: StreamT[Batch]) -> None:
        """Folds and stores one batch after the other; what it cannot handle ends the worker."""
        async for batch in stream:
            try:
                batch.settle(await bench.take(batch))
            except Exception as error:
                batch.settle(error)

    app.scratch = scratch
    return app


class Bench:
    """Where the work is done: all that blocks runs in one thread, off the event loop, so that heartbeats go on."""

    def __init__(
        self,
        settings: Settings,
        metrics: WorkerMetrics,
        health: HealthState,
        watchdog: WatchdogState,
        options: WorkOptions,
    ) -> None:
        self._settings, self._health, self._watchdog = settings, health, watchdog
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engagement")
        self._fuse = Fuse(FusePolicy(settings.fuse_records, settings.fuse_share))
        self._judged = (0, 0)
        hasher = Hasher()
        self._first = ClickHouse(settings)
        self._log = ClickHouseLog(lambda numpy: ClickHouse(settings, numpy=numpy), hasher)
        self._burial = Burial(settings)
        self._job = EngagementJob(
            self._log,
            self._log,
            self._burial,
            hasher,
            metrics,
            JobPolicy(DecodingPolicy(settings.future_limit_seconds), settings.memory_mb << 20),
            options.after_step,
            self._note_store,
        )

    async def prepare(self) -> None:
        """Looks at the tables and loads the compiled loops. Raises Unavailable, SchemaDrift."""
        await self._run(self._prepare)

    async def claim(self, partitions: list[int], of: int) -> None:
        """These partitions, out of `of`, are ours from now on."""
        await self._run(self._job.assign, partitions, of)
        if not partitions:
            self._note_store(None)  # whoever has nothing to store does not wait for a store

    async def take(self, batch: Batch) -> bool:
        """Folds and stores a batch; False when it was given up."""
        return await self._run(self._take, batch, unwanted=batch.given_up.is_set)

    async def close(self) -> None:
        """Ends the connections and the thread."""
        await self._run(self._close, unwanted=lambda: True)
        self._thread.shutdown(wait=False)

    async def _run(
        self, action: Callable[..., Result], *arguments: Any, unwanted: Callable[[], bool] = lambda: False
    ) -> Result:
        """What the action returns, once the thread has done it. A server whose silence keeps what nobody wants any more
        is cut off."""
        work = asyncio.get_running_loop().run_in_executor(self._thread, action, *arguments)
        waited = 0
        while not work.done():
            waited = waited + 1 if unwanted() else 0
            if waited > 2:
                for connection in (self._first, self._log, self._burial):
                    connection.cut()
            await asyncio.wait({work}, timeout=GRACE_SECONDS / 2)
        return work.result()

    def _prepare(self) -> None:
        try:
            verify_tables(self._first)
        finally:
            self._first.close()
        compile_loops()
        tune()

    def _take(self, batch: Batch) -> bool:
        stored = self._job.take(batch.runs, batch.given_up, time.time)
        # Asked once the batch is safe: what blew the fuse can be looked at, and a wrong schema does not drain a topic.
        records, dead = self._job.judged
        self._fuse.note(records - self._judged[0], dead - self._judged[1])
        self._judged = (records, dead)
        return stored

    def _close(self) -> None:
        self._log.close()
        self._burial.close()

    def _note_store(self, error: Unavailable | None) -> None:
        now = time.monotonic()
        if error is None:
            self._health.note_back("clickhouse")
            self._watchdog.note_back("clickhouse", now)
        else:
            log.warning("%s", error)
            self._health.note_away("clickhouse", str(error), now)
            self._watchdog.note_away("clickhouse", now)


def run_worker(settings: Settings, options: WorkOptions) -> None:
    """Runs a worker until it is told to stop, or has caught up where that is asked for. Raises what ended it."""
    start_worker(build_worker(settings, options), settings)


def start_worker(app: EngagementApp, settings: Settings) -> None:
    """Runs an app of `build_worker` in this thread until it ends. Raises what ended it."""
    worker = faust.Worker(
        app, quiet=True, loglevel=settings.log_level, loop=asyncio.new_event_loop(), logging_config=log_config(settings)
    )
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        if end.code:
            if isinstance(worker.crash_reason, EngagementError):
                raise worker.crash_reason from None
            raise

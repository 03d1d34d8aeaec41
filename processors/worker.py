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
from threading import Event
from typing import Any, Final

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
from processors.engagement.decoding import DecodingPolicy
from processors.engagement.hashing import Hasher
from processors.engagement.job import EngagementJob, JobPolicy
from processors.engagement.stored import ClickHouseLog
from processors.source import Batch, RunSource, SourcePolicy
from schemas.topics import KINDS

CLOSE_SECONDS: Final = 5.0

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


def build_worker(settings: Settings, options: WorkOptions | None = None) -> EngagementApp:
    """The app of one worker. Opens nothing until it is started."""
    options = options or WorkOptions()
    group = settings.topics.prefix
    app = EngagementApp(
        group,
        broker=f"kafka://{settings.bootstrap[0]}",
        web_enabled=False,
        worker_redirect_stdouts=False,
        logging_config=log_config(settings),
    )
    metrics = WorkerMetrics()
    health = HealthState(on_ready=metrics.set_ready)
    watchdog = WatchdogState(WatchdogPolicy(settings.stuck_minutes))
    # Everything that blocks runs in this one thread, off the event loop, so that heartbeats go on.
    thread = ThreadPoolExecutor(1, thread_name_prefix="engagement")
    bench = _Bench(settings, metrics, health, watchdog, options)
    batches = app.channel(maxsize=1)

    async def claim(partitions: list[int], of: int) -> None:
        await asyncio.get_running_loop().run_in_executor(thread, bench.job.assign, partitions, of)

    source = RunSource(
        settings,
        SourcePolicy(
            GroupPolicy(group, settings.topics.sources, settings.instance),
            {settings.topics.of(kind): kind for kind in KINDS},
            settings.flush_seconds,
            settings.flush_events,
            options.rewind_to,
        ),
        batches,
        claim,
        metrics,
        health,
        watchdog,
        on_caught_up=(lambda: signal.raise_signal(signal.SIGTERM)) if options.until_caught_up else None,
        loop=app.loop,
        beacon=app.beacon,
    )

    @app.service
    class Status(faust.Service):  # type: ignore[misc]
        """What people and Prometheus look at."""

        async def on_start(self) -> None:
            self.server = StatusServer(settings.metrics_host, settings.metrics_port, metrics, health.report)
            log.info("status at %s/metrics, /healthz, /readyz", self.server.url)

        async def on_stop(self) -> None:
            self.server.close()

    @app.service
    class Engagement(faust.Service):  # type: ignore[misc]
        """Checks the tables, then reads."""

        def on_init_dependencies(self) -> list[Any]:
            return []

        @faust.Service.task
        async def _run(self) -> None:
            app.flow_control.resume()  # channels are suspended until somebody says go
            if await asyncio.get_running_loop().run_in_executor(thread, bench.prepare):
                await self.add_runtime_dependency(source)

        async def stop(self) -> None:
            bench.stopping.set()
            await super().stop()

        async def on_shutdown(self) -> None:
            await asyncio.get_running_loop().run_in_executor(thread, bench.close)
            thread.shutdown(wait=False)

    @app.agent(batches, name="engagement")
    async def engagement(stream: StreamT[Batch]) -> None:
        """Folds and stores one batch after the other; what it cannot handle ends the worker."""
        async for batch in stream:
            try:
                batch.settle(await asyncio.get_running_loop().run_in_executor(thread, bench.take, batch))
            except Exception as error:
                batch.settle(error)

    return app


class _Bench:
    """What the one thread works with."""

    def __init__(
        self, settings: Settings, metrics: WorkerMetrics, health: HealthState, watchdog: WatchdogState, options: WorkOptions
    ) -> None:
        self._settings, self._metrics, self._health, self._watchdog = settings, metrics, health, watchdog
        self._fuse = Fuse(FusePolicy(settings.fuse_records, settings.fuse_share))
        hasher = Hasher()
        self._log = ClickHouseLog(lambda numpy: ClickHouse(settings, numpy=numpy), hasher)
        self._burial = Burial(settings)
        self.stopping = Event()
        self.job = EngagementJob(
            self._log,
            self._log,
            self._burial,
            hasher,
            metrics,
            JobPolicy(DecodingPolicy(settings.future_limit_seconds), settings.memory_mb << 20),
            options.after_step,
            self._note_store,
        )

    def prepare(self) -> bool:
        """Waits for ClickHouse and looks at its tables; False when stopped meanwhile. Raises Refused."""
        while not self.stopping.is_set():
            client = ClickHouse(self._settings)
            try:
                verify_tables(client)
            except Unavailable as error:
                self._note_store(error)
                self.stopping.wait(1.0)
            else:
                self._note_store(None)
                return True
            finally:
                client.close()
        return False

    def take(self, batch: Batch) -> bool:
        """Folds and stores; then asks the fuse, so that a wrong schema does not drain a topic."""
        stored = self.job.take(batch.runs, batch.given_up, time.time)
        if stored:
            self._fuse.note(self.job.last_taken, self.job.last_dead)
        return stored

    def close(self) -> None:
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
    app = build_worker(settings, options)
    worker = faust.Worker(app, loglevel=settings.log_level, loop=asyncio.new_event_loop(), logging_config=log_config(settings))
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        if end.code and isinstance(worker.crash_reason, EngagementError):
            raise worker.crash_reason from None
        raise

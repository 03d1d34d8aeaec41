"""One worker, wired: agents, each with a source, a thread, a fuse and a watchdog of its own; one status server.

    source topics              -> engagement agent    -> ClickHouse, engagement.conversations
    engagement.conversations   -> conversation agent  -> ClickHouse, engagement.alerts
    engagement.alerts          -> alert agent         -> receivers, ClickHouse; only where ENGAGEMENT_ALERTS names them

build_worker(settings) -> faust.App, which Faust's own worker runs (`engagement work`, `faust -A processors.app worker`)
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, Final

import faust
from faust.app.base import BootStrategy
from faust.types import ChannelT, StreamT

from pipeline.errors import EngagementError
from pipeline.kafka.group_policy import CALM_WAIT_MS, GroupPolicy
from pipeline.observability.health import HealthState, WatchdogPolicy, WatchdogState
from pipeline.observability.logs import log_config
from pipeline.observability.metrics import WorkerMetrics
from pipeline.observability.status_server import StatusServer
from pipeline.settings import Settings
from processors.alerts.host import AlertHost
from processors.conversation.agent import ConversationBench
from processors.engagement.agent import EngagementBench
from processors.runtime.batch import Batch, CatchUp, Host, SourcePolicy
from processors.runtime.memory import MemoryBudget
from processors.runtime.source import RunSource
from schemas.topics import KINDS

CONVERSATIONS: Final = "conversations"
ALERTS: Final = "alerts"
RECORDS_AT_ONCE: Final = 100
"""Of conversations, each with some 3,000 cells at most."""

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


class _Worker(faust.Worker):  # type: ignore[misc]
    """Faust's worker, which would sleep for a second before it closes its loop, all tasks being done."""

    async def _sentinel_task(self) -> None:
        pass


def build_worker(settings: Settings, options: WorkOptions | None = None) -> EngagementApp:
    """The app of one worker. Opens nothing until it is started. Raises SettingsError for the alerts' file."""
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
    health = HealthState(
        on_ready=metrics.set_ready, groups=("", CONVERSATIONS, ALERTS) if settings.alerts else ("", CONVERSATIONS)
    )
    allies: list[RunSource] = []
    catch_up = CatchUp() if options.until_caught_up else None

    def wire(policy: SourcePolicy, host: Host, watchdog: WatchdogState, end: CatchUp | None) -> ChannelT[Batch]:
        """A source that hands batches to the channel that is returned."""
        channel = app.channel(maxsize=1)

        class Source(RunSource):
            """As Faust makes its services: by class."""

            def __init__(self, **service: Any) -> None:
                super().__init__(settings, policy, channel, host, metrics, health, watchdog, end, allies, **service)

        app.service(Source)
        return channel

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

    watchdog = WatchdogState(WatchdogPolicy(settings.stuck_minutes))
    memory = MemoryBudget(settings.memory_mb << 20, metrics.set_memory)
    bench = EngagementBench(settings, metrics, health, watchdog, memory, options.after_step)
    policy = SourcePolicy(
        GroupPolicy(group, settings.topics.sources, settings.instance),
        {settings.topics.of(kind): kind for kind in KINDS},
        settings.flush_seconds,
        memory.batch_events(settings.flush_events),
        options.rewind_to,
    )
    events = wire(policy, bench, watchdog, catch_up)

    watchdog = WatchdogState(WatchdogPolicy(settings.stuck_minutes))
    talk = ConversationBench(settings, metrics, health, watchdog, memory, options.after_step)
    policy = SourcePolicy(
        GroupPolicy(
            f"{group}-{CONVERSATIONS}", (settings.topics.conversations,), settings.instance, fetch_wait_ms=CALM_WAIT_MS
        ),
        {settings.topics.conversations: CONVERSATIONS},
        settings.flush_seconds,
        memory.batch_cells_records(RECORDS_AT_ONCE),
        name=CONVERSATIONS,
        fetch_step="conversations_fetch",
        commit_step="conversations_commit",
        tells_batches=False,
    )
    last = settings.alerts is None
    end = CatchUp(lambda: allies[0].is_caught_up, _end if last else lambda: None) if options.until_caught_up else None
    cells = wire(policy, talk, watchdog, end)

    @app.agent(events, name="engagement")
    async def engagement(stream: StreamT[Batch]) -> None:
        """Folds and stores one batch after the other; what it cannot handle ends the worker."""
        await _serve(stream, bench.take)

    @app.agent(cells, name=CONVERSATIONS)
    async def conversations(stream: StreamT[Batch]) -> None:
        """Adds up what the engagement agent sends on, and closes minutes."""
        await _serve(stream, talk.take)

    if settings.alerts is not None:
        watchdog = WatchdogState(WatchdogPolicy(settings.stuck_minutes))
        pager = AlertHost(settings, metrics, health, watchdog)
        policy = SourcePolicy(
            GroupPolicy(f"{group}-{ALERTS}", (settings.topics.alerts,), settings.instance, fetch_wait_ms=CALM_WAIT_MS),
            {settings.topics.alerts: ALERTS},
            settings.flush_seconds,
            name=ALERTS,
            fetch_step="alerts_fetch",
            commit_step="alerts_commit",
            tells_batches=False,
        )
        end = CatchUp(lambda: allies[1].is_caught_up, _end) if options.until_caught_up else None
        spikes = wire(policy, pager, watchdog, end)

        @app.agent(spikes, name=ALERTS)
        async def alerts(stream: StreamT[Batch]) -> None:
            """Tells receivers of what the conversation agent found."""
            await _serve(stream, pager.take)

    app.scratch = scratch
    return app


def run_worker(settings: Settings, options: WorkOptions) -> None:
    """Runs a worker until it is told to stop, or has caught up where that is asked for. Raises what ended it."""
    start_worker(build_worker(settings, options), settings)


def start_worker(app: EngagementApp, settings: Settings) -> None:
    """Runs an app of `build_worker` in this thread until it ends. Raises what ended it."""
    worker = _Worker(
        app, quiet=True, loglevel=settings.log_level, loop=asyncio.new_event_loop(), logging_config=log_config(settings)
    )
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        if end.code:
            if isinstance(worker.crash_reason, EngagementError):
                raise worker.crash_reason from None
            raise


async def _serve(stream: StreamT[Batch], take: Callable[[Batch], Awaitable[bool]]) -> None:
    async for batch in stream:
        try:
            batch.settle(await take(batch))
        except Exception as error:
            batch.settle(error)


def _end() -> None:
    """As an operator would."""
    signal.raise_signal(signal.SIGTERM)

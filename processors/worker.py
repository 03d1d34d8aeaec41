"""One worker: the agents of the table AGENTS, each with a source, a thread, a fuse and a watchdog of its own, and one
status server.

    source topics              -> engagement agent    -> ClickHouse, engagement.conversations
    engagement.conversations   -> conversation agent  -> ClickHouse, engagement.alerts
    engagement.alerts          -> alert agent         -> receivers, ClickHouse; only where ENGAGEMENT_ALERTS names them

build_worker(settings) returns a faust.App, which Faust's own worker runs (`engagement work`,
`faust -A processors.app worker`).
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any, Final

import faust
from faust.app.base import BootStrategy
from faust.types import StreamT

from pipeline.errors import EngagementError
from pipeline.kafka.group import Member
from pipeline.kafka.group_policy import CALM_WAIT_MS, FETCH_WAIT_MS, GroupPolicy
from pipeline.observability.health import STORE_TITLES, HealthState, WatchdogPolicy, WatchdogState
from pipeline.observability.logs import log_config
from pipeline.observability.metrics import BatchStep, WorkerMetrics
from pipeline.observability.outages import OutageLog
from pipeline.observability.status_server import StatusServer
from pipeline.settings import Settings
from processors.row_settings import row_settings
from processors.runtime.batch import Agent, Batch, CatchUp, SourcePolicy
from processors.runtime.kernel_progress import KernelProgress
from processors.runtime.memory import MemoryBudget
from processors.runtime.source import RunSource
from processors.runtime.source_ports import SourceGroup, SourcePorts
from processors.wiring import AgentContext, open_alerts, open_conversations, open_engagement
from schemas.topics import KINDS, Topics

CONVERSATION_RECORDS: Final = 100
"""The most records in a batch of the conversation agent. Each record has some 3,000 cells at most."""

SPARE_PORTS: Final = 100
"""How many ports after the default one are tried where that is taken."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AgentSpec:
    """One agent of a worker, as a line of the table AGENTS.

    `kinds`: the topics that the agent reads, and the kind of the records of each. `open`: puts the agent together.
    `label`: the suffix of its consumer group, and its name in metrics and health; empty for the engagement agent.
    `fetch_step`, `commit_step`: the names of the source's steps in metrics. `after`: the agent whose messages this one
    reads; a run that ends waits for them in that order. `fetch_wait_ms`: how long a fetch waits for records.
    `batch_records`: the most records in a batch. `is_enabled`: whether the settings ask for the agent.
    """

    name: str
    kinds: Callable[[Topics], Mapping[str, str]]
    open: Callable[[Settings, AgentContext], Agent]
    label: str
    fetch_step: BatchStep
    commit_step: BatchStep
    batch_records: Callable[[Settings, MemoryBudget], int]
    after: str | None = None
    fetch_wait_ms: int = CALM_WAIT_MS
    is_enabled: Callable[[Settings], bool] = lambda settings: True

    def group(self, topics: Topics) -> str:
        """Returns the name of the agent's consumer group."""
        return f"{topics.prefix}-{self.label}" if self.label else topics.prefix

    @property
    def is_first(self) -> bool:
        """Whether the agent reads the source topics: `engagement work --from` rewinds them, and metrics get the sizes
        of their batches."""
        return self.after is None


AGENTS: Final[tuple[AgentSpec, ...]] = (
    AgentSpec(
        name="engagement",
        kinds=lambda topics: {topics.of(kind): kind for kind in KINDS},
        open=open_engagement,
        label="",
        fetch_step="fetch",
        commit_step="commit",
        batch_records=lambda settings, memory: memory.batch_events(settings.flush_events),
        fetch_wait_ms=FETCH_WAIT_MS,
    ),
    AgentSpec(
        name="conversations",
        kinds=lambda topics: {topics.conversations: "conversations"},
        open=open_conversations,
        label="conversations",
        fetch_step="conversations_fetch",
        commit_step="conversations_commit",
        batch_records=lambda settings, memory: memory.batch_cells_records(CONVERSATION_RECORDS),
        after="engagement",
    ),
    AgentSpec(
        name="alerts",
        kinds=lambda topics: {topics.alerts: "alerts"},
        open=open_alerts,
        label="alerts",
        fetch_step="alerts_fetch",
        commit_step="alerts_commit",
        batch_records=lambda settings, memory: SourcePolicy.flush_events,
        after="conversations",
        is_enabled=lambda settings: settings.alerts is not None,
    ),
)
"""The agents of a worker, each after the one whose messages it reads. The last enabled one ends a run that ends."""


@dataclass(frozen=True)
class WorkOptions:
    """Options of one run of the worker. `rewind_to`: Unix time in milliseconds. `after_step`: see AgentContext."""

    until_caught_up: bool = False
    rewind_to: int | None = None
    after_step: Callable[[str], None] = lambda step: None


class _NoKafkaNoWeb(BootStrategy):  # type: ignore[misc]
    """Starts neither Faust's own consumer and producer nor Faust's web server, with any command line."""

    enable_kafka = False
    enable_web = False


class EngagementApp(faust.App):  # type: ignore[misc]
    """Faust's app with our boot strategy. `scratch` is the empty folder that Faust insists on."""

    BootStrategy = _NoKafkaNoWeb
    metrics: WorkerMetrics
    scratch: "TemporaryDirectory[str]"


class _Worker(faust.Worker):  # type: ignore[misc]
    """Faust's worker without its last second of sleep, when all tasks are done and before the loop is closed."""

    async def _sentinel_task(self) -> None:
        pass


def build_worker(settings: Settings, options: WorkOptions | None = None) -> EngagementApp:
    """Builds the app of one worker. Opens nothing before the app is started. Raises SettingsError for a file that a
    setting names and that cannot be used."""
    options = options or WorkOptions()
    app = _make_app(settings)
    specs = [spec for spec in AGENTS if spec.is_enabled(settings)]
    outages = OutageLog(log)
    health = HealthState(
        on_ready=app.metrics.set_ready,
        groups=[spec.label for spec in specs],
        on_store=lambda store, reason: outages.note(STORE_TITLES[store], reason),
    )
    memory = MemoryBudget(settings.memory_mb << 20, app.metrics.set_memory)
    rows, sources, kernels = row_settings(settings), SourceGroup(), KernelProgress(health.note_loading)
    for spec in specs:
        watchdog = WatchdogState(WatchdogPolicy(settings.stuck_minutes))
        calibrates = settings.calibrate and not options.until_caught_up
        context = AgentContext(app.metrics, health, memory, rows, options.after_step, watchdog, kernels, calibrates)
        agent = spec.open(settings, context)
        channel = app.channel(maxsize=1)
        policy = _source_policy(spec, settings, memory, options)
        open_member = partial(Member, settings, policy.group)
        ports = SourcePorts(agent, channel, open_member, app.metrics, health, watchdog, sources)
        _add_source(app, policy, ports, _catch_up(spec, spec is specs[-1], sources, options))
        app.agent(channel, name=spec.name)(_serving(agent))
    _add_status_server(app, settings, health)
    return app


def run_worker(settings: Settings, options: WorkOptions) -> None:
    """Runs a worker until a signal stops the process, or all sources have caught up where the options ask for that.
    Raises the error that ended the worker."""
    start_worker(build_worker(settings, options), settings)


def start_worker(app: EngagementApp, settings: Settings) -> None:
    """Runs an app of `build_worker` in this thread until it ends. Raises the error that ended it."""
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


def _make_app(settings: Settings) -> EngagementApp:
    scratch = TemporaryDirectory(prefix="engagement-")
    app = EngagementApp(
        settings.topics.prefix,
        datadir=scratch.name,  # Faust wants a folder; nothing is stored in it
        broker=f"kafka://{settings.bootstrap[0]}",
        web_enabled=False,
        worker_redirect_stdouts=False,
        logging_config=log_config(settings),
    )
    app.scratch, app.metrics = scratch, WorkerMetrics()
    return app


def _source_policy(spec: AgentSpec, settings: Settings, memory: MemoryBudget, options: WorkOptions) -> SourcePolicy:
    kinds, group = spec.kinds(settings.topics), spec.group(settings.topics)
    return SourcePolicy(
        GroupPolicy(group, tuple(kinds), settings.instance, fetch_wait_ms=spec.fetch_wait_ms),
        kinds,
        settings.flush_seconds,
        spec.batch_records(settings, memory),
        options.rewind_to if spec.is_first else None,
        name=spec.name,
        label=spec.label,
        fetch_step=spec.fetch_step,
        commit_step=spec.commit_step,
        tells_batches=spec.is_first,
    )


def _catch_up(spec: AgentSpec, is_last: bool, sources: SourceGroup, options: WorkOptions) -> CatchUp | None:
    """Makes the end of a run that ends: each source catches up after the one before it, and the last one stops the
    worker."""
    if not options.until_caught_up:
        return None
    before = spec.after
    is_due = (lambda: True) if before is None else (lambda: sources.is_caught_up(before))
    return CatchUp(is_due, _stop_worker if is_last else lambda: None)


def _add_source(app: EngagementApp, policy: SourcePolicy, ports: SourcePorts, catch_up: CatchUp | None) -> None:
    class Source(RunSource):
        """A source as Faust makes its services: from a class, without arguments of ours."""

        def __init__(self, **service: Any) -> None:
            super().__init__(policy, ports, catch_up, **service)

    app.service(Source)


def _add_status_server(app: EngagementApp, settings: Settings, health: HealthState) -> None:
    @app.service
    class Status(faust.Service):  # type: ignore[misc]
        """The HTTP server of metrics and health, for Prometheus, Kubernetes and people."""

        server: StatusServer | None = None

        async def on_start(self) -> None:
            try:
                # A port that nobody chose may be another worker's; who has chosen one looks for the worker there.
                is_chosen = "metrics_port" in settings.model_fields_set
                spare = 0 if is_chosen else SPARE_PORTS
                host, port = settings.metrics_host, settings.metrics_port
                self.server = StatusServer(host, port, app.metrics, health.report, spare_ports=spare)
            except EngagementError as error:
                await self.crash(error)  # an error raised here would end in a traceback, not in the worker's error
                return
            taken = "" if self.server.port == port or not port else f"; {port} is taken, perhaps by another worker"
            log.info("status at %s/metrics, /healthz, /readyz%s", self.server.url, taken)

        async def on_stop(self) -> None:
            if self.server is not None:
                self.server.close()


def _serving(agent: Agent) -> Callable[[StreamT[Batch]], Awaitable[None]]:
    """Returns the function of a Faust agent: processes one batch after the other; an error ends the worker."""

    async def serve(stream: StreamT[Batch]) -> None:
        async for batch in stream:
            try:
                batch.complete(await agent.process(batch))
            except Exception as error:
                batch.complete(error)

    return serve


def _stop_worker() -> None:
    """Stops the worker as an operator does: with SIGTERM."""
    signal.raise_signal(signal.SIGTERM)

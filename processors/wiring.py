"""Puts the agents of a worker together: stores on ClickHouse, producers on Kafka, jobs and policies.

Settings go no further than this module and the connections of the spike detector (spikes/live.py): an agent and all
below it get narrow policies, and ports in dataclasses. Nothing connects before the worker is started.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pipeline.brands import load_brands
from pipeline.clickhouse.client import ClickHouse
from pipeline.dead_letters import DeadLetterSink, Fuse, FusePolicy
from pipeline.errors import SettingsError
from pipeline.kafka.publisher import open_publisher
from pipeline.kafka.publisher_policy import PublisherPolicy
from pipeline.observability.alert_metrics import AlertMetrics
from pipeline.observability.health import HealthState, WatchdogState
from pipeline.observability.metrics import WorkerMetrics
from pipeline.privacy.erased_hashes import load_erasure_key
from pipeline.privacy.erasure_store import ErasureStore
from pipeline.settings import Settings
from pipeline.topic_producer import PartitionProducer
from processors.alerts.agent import AlertAgent
from processors.alerts.config import ALERTS_SETTING, known_conversations, load_alerts
from processors.alerts.connections import open_heartbeat, open_pictures, open_receivers
from processors.alerts.delivery_store import ClickHouseDeliveryStore
from processors.alerts.host import AlertHost
from processors.alerts.ports import AlertPorts
from processors.calibration.runner import CalibrationProcess, CalibrationRunner
from processors.columnar.hashing import Hasher
from processors.conversation.agent import ConversationAgent
from processors.conversation.days.store import ClickHouseDays
from processors.conversation.job import ConversationJob
from processors.conversation.policy import ConversationPolicy
from processors.conversation.ports import ConversationPorts
from processors.conversation.store import ClickHouseConversations
from processors.engagement.agent import EngagementAgent, EngagementAgentPorts
from processors.engagement.business_hours import BusinessHours
from processors.engagement.decoding import DecodingPolicy
from processors.engagement.fold.threads import ThreadPolicy, turns_of
from processors.engagement.job import EngagementJob, JobPolicy
from processors.engagement.ports import EngagementPorts
from processors.engagement.store import ClickHouseLog
from processors.engagement.watermarks.publisher import WatermarkPublisher
from processors.engagement.watermarks.store import WatermarkStore
from processors.engagement.watermarks.watermarks import WatermarkPolicy
from processors.erasure_watch import ErasureWatch
from processors.retention.hourly import HourlyRetention
from processors.retention.policy import retention_policy
from processors.retention.retention import Retention
from processors.row_settings_store import StoredRowSettings, WorkerAgreement
from processors.runtime.agent_thread import AgentThread, ThreadPorts
from processors.runtime.kernel_progress import KernelProgress
from processors.runtime.memory import SERIES_BYTES, MemoryBudget
from processors.spikes.live import LiveDetection
from processors.virality.parameters import load_parameters

OUTBOX_CLOSE_SECONDS: Final = 2.0
"""The longest time that the end of a worker waits for messages that are on their way to the conversation agent."""


@dataclass(frozen=True)
class AgentContext:
    """The context in which an agent is opened. All agents of a worker share everything but the watchdog.

    `row_settings`: the settings that stored rows follow from. `after_step` is called with the name of each step of law
    1 once the step is done. `calibrates`: whether the parameters of the forecast are learned beside the worker.
    """

    metrics: WorkerMetrics
    health: HealthState
    memory: MemoryBudget
    row_settings: Mapping[str, str]
    after_step: Callable[[str], None]
    watchdog: WatchdogState
    kernels: KernelProgress
    calibrates: bool = False


def open_engagement(settings: Settings, context: AgentContext) -> EngagementAgent:
    """Puts the engagement agent together. Raises SettingsError for a file of brands or forecast parameters that cannot
    be used."""
    thread = _thread("engagement", settings, context)
    hasher = Hasher()
    log = ClickHouseLog(lambda numpy: ClickHouse(settings, numpy=numpy), hasher)
    stored_watermarks = WatermarkStore(lambda: ClickHouse(settings))
    dead_letters = DeadLetterSink(settings)
    thread.adopt(log, dead_letters, stored_watermarks)
    sending = PublisherPolicy(
        settings.producer_memory_mb << 20,
        settings.record_limit,
        OUTBOX_CLOSE_SECONDS,
        close_seconds=OUTBOX_CLOSE_SECONDS,
    )
    outbox = PartitionProducer(settings.topics.conversations, lambda: open_publisher(settings, sending))
    ports = EngagementPorts(
        log, log, dead_letters.write, hasher, context.metrics, outbox, context.after_step, thread.note_store
    )
    job = EngagementJob(ports, job_policy(settings, hasher))
    watermarks = WatermarkPublisher(
        WatermarkPolicy(settings.lateness_seconds, settings.idle_seconds), stored_watermarks, outbox
    )
    agent_ports = EngagementAgentPorts(thread, job, watermarks, outbox, context.metrics, context.memory)
    if context.calibrates:
        agent_ports = replace(agent_ports, calibration=CalibrationRunner(CalibrationProcess))
    if retention_policy(settings).deletes:
        retention = open_retention(settings, context.metrics)
        thread.adopt(retention)
        agent_ports = replace(agent_ports, on_assign=retention.assign)
    return EngagementAgent(agent_ports, settings.business_zone)


def open_retention(settings: Settings, metrics: WorkerMetrics) -> HourlyRetention:
    """Puts the retention of a worker together."""

    def connect() -> tuple[ClickHouse, Retention]:
        clickhouse = ClickHouse(settings)
        return clickhouse, Retention(clickhouse, settings, retention_policy(settings))

    return HourlyRetention(connect, lambda retired: metrics.count_retired(retired.gone))


def open_conversations(settings: Settings, context: AgentContext) -> ConversationAgent:
    """Puts the conversation agent together, with a spike detector where ENGAGEMENT_SPIKE_KEYS names keys."""
    thread = _thread("conversations", settings, context)
    stores = ClickHouseConversations(lambda numpy: ClickHouse(settings, numpy=numpy))
    days = ClickHouseDays(ClickHouse(settings))
    dead_letters = DeadLetterSink(settings)
    thread.adopt(stores, days, dead_letters)
    ports = ConversationPorts(
        stores,
        stores,
        stores,
        days,
        dead_letters.write,
        context.metrics,
        after_step=context.after_step,
        on_store=thread.note_store,
    )
    spikes = None
    if settings.spike_kinds:
        most_series = context.memory.most("series") // SERIES_BYTES

        def on_progress() -> None:
            thread.note_progress()
            thread.erasures.break_off()

        spikes = LiveDetection(settings, context.metrics, most_series, thread.note_store, on_progress)
        thread.adopt(spikes)
        ports = replace(ports, audience=spikes.monitor, on_load=spikes.monitor.load)
    policy = ConversationPolicy(settings.open_cells, context.memory.most("cells"))
    return ConversationAgent(thread, ConversationJob(ports, policy), context.memory, spikes)


def open_alerts(settings: Settings, context: AgentContext) -> AlertHost:
    """Puts the alert agent together. Blocks on reading the alerts file. Raises SettingsError for a file that cannot be
    used."""
    try:
        config = None
        if settings.alerts is not None:
            config = load_alerts(settings.alerts, os.environ, known_conversations(settings))
    except SettingsError as error:
        raise SettingsError(f"{ALERTS_SETTING}: {error}") from None
    thread = _thread("alerts", settings, context)
    clickhouse = ClickHouse(settings)
    dead_letters = DeadLetterSink(settings)
    thread.adopt(clickhouse, dead_letters)
    store = ClickHouseDeliveryStore(clickhouse)
    ports = AlertPorts(
        store,
        open_receivers(config) if config else {},
        dead_letters.write,
        AlertMetrics(context.metrics),
        thread,
        open_heartbeat(config) if config else None,
        open_pictures(config, store, thread) if config else None,
        thread.note_store,
    )
    return AlertHost(thread, AlertAgent(config, ports))


def job_policy(settings: Settings, hasher: Hasher) -> JobPolicy:
    """Makes the policy of the engagement job from the settings. Raises SettingsError for a file of brands or forecast
    parameters that cannot be used."""
    brands = load_brands(settings.brands)
    hours = BusinessHours(settings.business_hours, settings.business_days, settings.business_zone)
    return JobPolicy(
        DecodingPolicy(settings.future_limit_seconds, settings.store_text),
        settings.memory_mb << 20,
        MemoryBudget(settings.memory_mb << 20).most("known_posts"),
        brands=brands,
        label_keys=settings.label_conversations,
        threads=ThreadPolicy(turns_of(brands, hasher), hours),
        forecast=load_parameters(settings.forecast),
    )


def _thread(name: str, settings: Settings, context: AgentContext) -> AgentThread:
    clickhouse = ClickHouse(settings)
    agreement = WorkerAgreement(context.row_settings, StoredRowSettings(clickhouse))
    fuse = Fuse(FusePolicy(settings.fuse_records, settings.fuse_share))
    erasures = ErasureWatch(name, ErasureStore(clickhouse), load_erasure_key(settings))
    ports = ThreadPorts(clickhouse, agreement, erasures, fuse, context.health, context.watchdog, context.kernels)
    return AgentThread(name, ports)

"""The spike monitor on ClickHouse and Kafka, as the thread of the conversation agent runs it."""

from collections.abc import Callable
from contextlib import suppress
from math import inf
from threading import Event
from typing import Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.errors import EngagementError, Unavailable
from pipeline.kafka.publisher import open_publisher
from pipeline.kafka.publisher_policy import PublisherPolicy
from pipeline.observability.metrics import WorkerMetrics
from pipeline.observability.spike_metrics import SpikeMetrics
from pipeline.settings import Settings
from pipeline.topic_producer import KeyedProducer
from processors.runtime.retry import GivenUp, StoreRetry
from processors.spikes.detection.state import MonitorPolicy
from processors.spikes.evidence import ClickHouseEvidence
from processors.spikes.monitor import MonitorPorts, SpikeMonitor
from processors.spikes.store import ClickHouseSpikeStore

SEND_CLOSE_SECONDS: Final = 2.0
"""How long closing waits for alerts that are on their way. Rows of alerts that were not acked are not marked as sent,
so the next owner of the partition sends these alerts again."""

PUBLISH_SECONDS: Final = 2.0
"""How long alerts are sent before the next batch is processed, which may hold more urgent ones."""


class LiveDetection:
    """A SpikeMonitor with its connections. One thread calls all methods but `cut`."""

    def __init__(
        self,
        settings: Settings,
        metrics: WorkerMetrics,
        most_series: int,
        on_store: Callable[[Unavailable | None], None] = lambda error: None,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        """`most_series` is how many series fit into memory; ENGAGEMENT_SPIKE_SERIES may lower it. `on_store` is called
        with each failure of ClickHouse or Kafka, and with None once the store answers again."""
        self._clickhouse = ClickHouse(settings)
        publisher_policy = PublisherPolicy(
            settings.producer_memory_mb << 20,
            settings.record_limit,
            SEND_CLOSE_SECONDS,
            close_seconds=SEND_CLOSE_SECONDS,
        )
        self._alerts = KeyedProducer(settings.topics.alerts, lambda: open_publisher(settings, publisher_policy))
        store = ClickHouseSpikeStore(self._clickhouse)
        evidence = ClickHouseEvidence(self._clickhouse, settings.clickhouse_url.database)
        self.monitor = SpikeMonitor(
            MonitorPorts(history=store, evidence=evidence, store=store, alerts=self._alerts),
            SpikeMetrics(metrics),
            MonitorPolicy(settings.spike_kinds, min(settings.spike_series, most_series)),
            on_progress,
        )
        self._retry = StoreRetry(on_store=on_store)

    def publish(self, closed_until: int | None, given_up: Event, is_last: bool = True) -> bool:
        """Sends the alerts of the minutes before `closed_until`, or for PUBLISH_SECONDS where more batches follow
        (`is_last` is False). Returns False when the batch was given up. Blocks, and waits for a store or broker that is
        away."""
        if closed_until is None:
            return True
        self._retry.given_up = given_up
        with suppress(GivenUp):
            self.monitor.publish(closed_until, self._retry, inf if is_last else PUBLISH_SECONDS)
            return True
        return False

    def cut(self) -> None:
        """Ends the call that waits for ClickHouse, which then raises Unavailable. May be called from another thread."""
        self._clickhouse.cut()

    def close(self) -> None:
        """Closes the connections, in bounded time."""
        self._clickhouse.close()
        with suppress(EngagementError):
            self._alerts.close()

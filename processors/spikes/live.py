"""The watch on ClickHouse and Kafka, as the thread of the conversation agent has it."""

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
from processors.runtime.retry import GivenUp, Patience
from processors.spikes.evidence import ClickHouseWitness
from processors.spikes.monitor import Watch
from processors.spikes.state import WatchPolicy
from processors.spikes.store import ClickHouseSpikes

CLOSE_SECONDS: Final = 2.0
"""How long the end waits for messages that are on their way: their rows say that they were not told, so they come
again."""


TELL_SECONDS: Final = 2.0
"""After so long the next batch is due: in it may be what is more urgent."""


class Lookout:
    """A Watch with what it stands on. One thread calls it, but for `cut`."""

    def __init__(
        self,
        settings: Settings,
        metrics: WorkerMetrics,
        most_series: int,
        on_store: Callable[[Unavailable | None], None] = lambda error: None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        """`most_series`: that there is memory for; ENGAGEMENT_SPIKE_SERIES may say fewer."""
        self._clickhouse = ClickHouse(settings)
        sending = PublisherPolicy(
            settings.producer_memory_mb << 20, settings.record_limit, CLOSE_SECONDS, close_seconds=CLOSE_SECONDS
        )
        self._messages = KeyedProducer(settings.topics.alerts, lambda: open_publisher(settings, sending))
        spikes = ClickHouseSpikes(self._clickhouse)
        witness = ClickHouseWitness(self._clickhouse, settings.clickhouse_url.database)
        policy = WatchPolicy(settings.spike_kinds, min(settings.spike_series, most_series))
        self.watch = Watch(spikes, witness, spikes, self._messages, SpikeMetrics(metrics), policy, alive)
        self._patiently = Patience(on_store=on_store)

    def settle(self, closed_until: int | None, given_up: Event, is_last: bool = True) -> bool:
        """Tells what is to be told of minutes before `closed_until`, or some of it where more batches come; False when
        it was given up. Blocks, and waits for a store or broker that is away."""
        if closed_until is None:
            return True
        self._patiently.given_up = given_up
        with suppress(GivenUp):
            self.watch.settle(closed_until, self._patiently, inf if is_last else TELL_SECONDS)
            return True
        return False

    def cut(self) -> None:
        """Ends what waits for the server, from another thread: that call raises Unavailable."""
        self._clickhouse.cut()

    def close(self) -> None:
        """Ends the connections, in bounded time."""
        self._clickhouse.close()
        with suppress(EngagementError):
            self._messages.close()

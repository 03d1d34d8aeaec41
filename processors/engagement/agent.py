"""Who does what the engagement agent is given: its job on ClickHouse and Kafka, and the marks that follow."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pipeline.brands import load_brands
from pipeline.clickhouse.client import ClickHouse
from pipeline.dead_letters import DeadLetterSink
from pipeline.errors import EngagementError
from pipeline.kafka.publisher import open_publisher
from pipeline.kafka.publisher_policy import PublisherPolicy
from pipeline.observability.health import HealthState, WatchdogState
from pipeline.observability.metrics import WorkerMetrics
from pipeline.settings import Settings
from pipeline.topic_producer import PartitionProducer
from processors.columnar.hashing import Hasher
from processors.engagement.decoding import DecodingPolicy
from processors.engagement.fold.business_hours import BusinessHours, clock_of
from processors.engagement.fold.threads import ThreadPolicy, turns_of
from processors.engagement.job import EngagementJob, JobPolicy
from processors.engagement.store import ClickHouseLog
from processors.engagement.warmup import compile_loops
from processors.engagement.watermarks.publisher import Marking
from processors.engagement.watermarks.store import WatermarkStore
from processors.engagement.watermarks.watermarks import MarksPolicy
from processors.runtime.agent_thread import Bench
from processors.runtime.batch import Batch
from processors.runtime.memory import MemoryBudget
from processors.runtime.process_tuning import TidyState, tune
from processors.runtime.retry import GivenUp, Patience
from processors.virality.parameters import load_parameters

CLOSE_SECONDS: Final = 2.0
"""How long the end waits for messages that are on their way: they belong to a batch that is not acked, and come
again."""

ADVANCE_SECONDS: Final = 1.0
"""How often it is looked which posts are due for another row because time has gone on."""


class EngagementBench:
    """The Host of the engagement agent."""

    def __init__(
        self,
        settings: Settings,
        metrics: WorkerMetrics,
        health: HealthState,
        watchdog: WatchdogState,
        memory: MemoryBudget,
        after_step: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._bench = Bench("engagement", settings, health, watchdog)
        self._metrics, self._zone, self._memory = metrics, settings.business_zone, memory
        hasher = Hasher()
        self._log = ClickHouseLog(lambda numpy: ClickHouse(settings, numpy=numpy), hasher)
        self._shelf = WatermarkStore(lambda: ClickHouse(settings))
        self._dead_letters = DeadLetterSink(settings)
        sending = PublisherPolicy(
            settings.producer_memory_mb << 20, settings.record_limit, CLOSE_SECONDS, close_seconds=CLOSE_SECONDS
        )
        self._outbox = PartitionProducer(settings.topics.conversations, lambda: open_publisher(settings, sending))
        self._job = EngagementJob(
            self._log,
            self._log,
            self._dead_letters.write,
            hasher,
            metrics,
            policy_of(settings, hasher),
            after_step,
            self._bench.note_store,
            self._outbox,
        )
        self._marking = Marking(
            MarksPolicy(settings.lateness_seconds, settings.idle_seconds), self._shelf, self._outbox
        )
        self._advanced_at = 0.0
        self._tidiness = TidyState(time.monotonic())
        self._patiently = Patience(on_store=self._bench.note_store)
        self._bench.watch_over(self._log, self._dead_letters, self._shelf)

    async def prepare(self) -> None:
        """Looks at the tables and loads the compiled loops. Raises Unavailable, SchemaDrift, SettingsError."""
        await self._bench.run(self._prepare)

    async def claim(self, partitions: list[int], of: int) -> None:
        """These partitions, out of `of`, are ours from now on."""
        await self._bench.run(self._claim, partitions, of)

    async def take(self, batch: Batch) -> bool:
        """Folds and stores a batch, and sends marks; False when it was given up. Raises SettingsError once the stored
        rows follow from other settings."""
        return await self._bench.run(self._take, batch, unwanted=batch.given_up.is_set)

    async def close(self) -> None:
        """Ends the connections and the thread."""
        await self._bench.run(self._close, unwanted=lambda: True)
        self._bench.end()

    def _prepare(self) -> None:
        self._bench.look_at_tables()
        compile_loops()
        clock_of(self._zone)
        tune()

    def _claim(self, partitions: list[int], of: int) -> None:
        self._bench.agreement.look_soon()
        self._job.assign(partitions, of)
        self._marking.assign(partitions, of)
        if not partitions:
            self._bench.note_store(None)  # whoever has nothing to store does not wait for a store

    def _take(self, batch: Batch) -> bool:
        self._bench.agreement.check()
        self._job.memory_bytes = self._memory.for_posts
        stored = not batch.runs or self._job.take(batch.runs, batch.given_up, time.time)
        posts, known = self._job.memory
        self._memory.note("posts", posts)
        self._memory.note("known_posts", known)
        self._tidiness.tidy(time.monotonic())
        self._bench.judge(self._job.judged)
        return stored and self._mark(batch)

    def _mark(self, batch: Batch) -> bool:
        self._patiently.given_up = batch.given_up
        reached = self._job.reached()
        with suppress(GivenUp), self._metrics.time_step("marks"):
            self._patiently(lambda: self._marking.note(reached, batch.lags, time.monotonic(), batch.all_read))
            least, now = self._marking.least, time.monotonic()
            if least is not None and now - self._advanced_at >= ADVANCE_SECONDS:
                self._patiently(lambda: self._job.advance(least))
                self._advanced_at = now
            return True
        return False

    def _close(self) -> None:
        self._log.close()
        self._shelf.close()
        self._dead_letters.close()
        with suppress(EngagementError):
            self._outbox.close()


def policy_of(settings: Settings, hasher: Hasher) -> JobPolicy:
    """The job's policy as the settings have it. Raises SettingsError for a file of brands that makes no sense."""
    brands = load_brands(settings.brands)
    hours = BusinessHours(settings.business_hours, settings.business_days, settings.business_zone)
    return JobPolicy(
        DecodingPolicy(settings.future_limit_seconds),
        settings.memory_mb << 20,
        MemoryBudget(settings.memory_mb << 20).most("known_posts"),
        brands=brands,
        threads=ThreadPolicy(turns_of(brands, hasher), hours),
        forecast=load_parameters(settings.forecast),
    )

"""The engagement agent: runs the engagement job in a thread of its own, publishes watermarks and reports memory."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from pipeline.errors import EngagementError
from pipeline.observability.metrics import WorkerMetrics
from pipeline.privacy.erased_hashes import ErasedHashes
from pipeline.privacy.erasure_store import ALLOW, COUNT, DONE, REFUSE, ROLL
from pipeline.topic_producer import PartitionProducer
from processors.engagement.business_hours import clock_of
from processors.engagement.job import EngagementJob
from processors.engagement.warmup import load_engagement_kernels
from processors.engagement.watermarks.publisher import WatermarkPublisher
from processors.runtime.agent_thread import AgentThread
from processors.runtime.batch import Batch
from processors.runtime.memory import MemoryBudget
from processors.runtime.process_tuning import TidyState, tune
from processors.runtime.retry import GivenUp, StoreRetry

LOG_STANDS: Final = (REFUSE, COUNT, ROLL, DONE, ALLOW)
"""Steps of an erasure at which the log says what it said at the step before, so that the memory may stay."""

ADVANCE_SECONDS: Final = 1.0
"""The time between two searches for posts whose row is due again because event time has moved on."""


class Calibration(Protocol):
    """What learns the forecast's parameters beside the worker (processors/calibration/runner.py). Nothing blocks."""

    def note(self, watermark_us: int) -> None:
        """Notes the least watermark of the owned partitions, and starts to learn where that is due."""
        ...

    def close(self) -> None:
        """Ends what goes on."""
        ...


@dataclass(frozen=True)
class EngagementAgentPorts:
    """The parts that the engagement agent drives. All but `metrics` and `memory` belong to `thread`. `on_assign` is
    called with the owned partitions at each assignment; `calibration` is None where no parameters are to be learned."""

    thread: AgentThread
    job: EngagementJob
    watermarks: WatermarkPublisher
    outbox: PartitionProducer
    metrics: WorkerMetrics
    memory: MemoryBudget
    on_assign: Callable[[list[int]], None] = lambda partitions: None
    calibration: Calibration | None = None


class EngagementAgent:
    """Processes the batches of the source topics (processors.runtime.batch.Agent)."""

    def __init__(self, ports: EngagementAgentPorts, zone: str) -> None:
        """`zone`: the IANA time zone of business hours, which is loaded before the first batch."""
        self._thread, self._job, self._watermarks = ports.thread, ports.job, ports.watermarks
        self._outbox, self._metrics, self._memory = ports.outbox, ports.metrics, ports.memory
        self._zone, self._on_assign, self._calibration = zone, ports.on_assign, ports.calibration
        self._owns_first = False  # the owner of the first partition calibrates
        self._advanced_at = 0.0
        self._tidiness = TidyState(time.monotonic())
        self._retry = StoreRetry(on_store=ports.thread.note_store)

    async def prepare(self) -> None:
        """Verifies the tables and loads the kernels. Raises Unavailable, SchemaDrift, SettingsError."""
        await self._thread.run(self._prepare)

    async def assign(self, partitions: list[int], of: int) -> None:
        """Makes these partitions, out of `of`, the agent's own."""
        await self._thread.run(self._assign, partitions, of)

    async def process(self, batch: Batch) -> bool:
        """Folds and stores a batch, and publishes watermarks. Returns False when the batch was given up. Raises
        SettingsError once the stored rows follow from other settings."""
        return await self._thread.run(self._process, batch, unwanted=batch.given_up.is_set)

    async def close(self) -> None:
        """Closes the outbox, the connections and the thread. Messages that are not acked belong to a batch that is not
        committed, and are sent again."""
        await self._thread.run(self._close_outbox, unwanted=lambda: True)
        await self._thread.close()

    def _prepare(self) -> None:
        self._thread.verify()
        self._job.erased = self._thread.erasures.erased
        self._thread.load_kernels(load_engagement_kernels)
        clock_of(self._zone)
        tune()

    def _assign(self, partitions: list[int], of: int) -> None:
        self._thread.agreement.look_soon()
        self._job.assign(partitions, of)
        self._thread.erasures.assign(partitions)
        self._owns_first = 0 in partitions
        self._watermarks.assign(partitions, of)
        self._on_assign(partitions)
        if not partitions:
            self._thread.note_store(None)  # an agent without partitions does not wait for a store

    def _process(self, batch: Batch) -> bool:
        self._thread.agreement.check()
        self._retry.given_up = batch.given_up
        try:
            self._retry(lambda: self._thread.erasures.look(self._take_up))
        except GivenUp:
            return False
        self._job.memory_bytes = self._memory.for_posts
        is_stored = not batch.runs or self._job.process(batch.runs, batch.given_up, time.time)
        posts, known = self._job.memory
        self._memory.note("posts", posts)
        self._memory.note("known_posts", known)
        self._tidiness.tidy(time.monotonic())
        self._thread.judge(self._job.judged)
        return is_stored and self._publish_watermarks(batch)

    def _take_up(self, erased: ErasedHashes, step: str) -> None:
        self._job.erased = erased
        if step not in LOG_STANDS:
            self._job.read_again()

    def _publish_watermarks(self, batch: Batch) -> bool:
        self._retry.given_up = batch.given_up
        reached = self._job.reached()
        with suppress(GivenUp), self._metrics.time_step("marks"):
            self._retry(lambda: self._watermarks.note(reached, batch.lags, time.monotonic(), batch.all_read))
            least, now = self._watermarks.least, time.monotonic()
            if least is not None and now - self._advanced_at >= ADVANCE_SECONDS:
                self._retry(lambda: self._job.advance(least))
                self._advanced_at = now
                if self._calibration is not None and self._owns_first:
                    self._calibration.note(least)
            return True
        return False

    def _close_outbox(self) -> None:
        if self._calibration is not None:
            self._calibration.close()
        with suppress(EngagementError):
            self._outbox.close()

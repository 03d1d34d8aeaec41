"""Who does what the conversation agent is given: its job on ClickHouse."""

import time
from collections.abc import Callable

from pipeline.clickhouse.client import ClickHouse
from pipeline.dead_letters import DeadLetterSink
from pipeline.observability.health import HealthState, WatchdogState
from pipeline.observability.metrics import WorkerMetrics
from pipeline.settings import Settings
from processors.conversation.fold import compile_loops
from processors.conversation.job import ConversationJob, ConversationPolicy
from processors.conversation.store import ClickHouseConversations
from processors.runtime.agent_thread import Bench
from processors.runtime.batch import Batch
from processors.runtime.memory import SERIES_BYTES, MemoryBudget
from processors.spikes.live import LiveDetection


class ConversationBench:
    """The Host of the conversation agent."""

    def __init__(
        self,
        settings: Settings,
        metrics: WorkerMetrics,
        health: HealthState,
        watchdog: WatchdogState,
        memory: MemoryBudget,
        after_step: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._bench = Bench("conversations", settings, health, watchdog)
        self._memory = memory
        self._stored = ClickHouseConversations(lambda numpy: ClickHouse(settings, numpy=numpy))
        self._dead_letters = DeadLetterSink(settings)
        self._spikes = (
            LiveDetection(
                settings,
                metrics,
                memory.most("series") // SERIES_BYTES,
                self._bench.note_store,
                self._bench.note_progress,
            )
            if settings.spike_kinds
            else None
        )
        monitor = self._spikes.monitor if self._spikes else None
        self._job = ConversationJob(
            self._stored,
            self._stored,
            self._stored,
            self._dead_letters.write,
            metrics,
            ConversationPolicy(settings.open_cells, memory.most("cells")),
            monitor,
            after_step,
            self._bench.note_store,
            monitor.load if monitor else lambda floors, of: None,
        )
        self._bench.watch_over(self._stored, self._dead_letters)
        if self._spikes is not None:
            self._bench.watch_over(self._spikes)

    async def prepare(self) -> None:
        """Looks at the tables and loads the compiled loops. Raises Unavailable, SchemaDrift."""
        await self._bench.run(self._prepare)

    async def claim(self, partitions: list[int], of: int) -> None:
        """These partitions, out of `of`, are ours from now on."""
        await self._bench.run(self._claim, partitions, of)

    async def take(self, batch: Batch) -> bool:
        """Folds and stores a batch, closes what is to be closed; False when it was given up."""
        return await self._bench.run(self._take, batch, unwanted=batch.given_up.is_set)

    async def close(self) -> None:
        """Ends the connections and the thread."""
        await self._bench.run(self._close, unwanted=lambda: True)
        self._bench.end()

    def _prepare(self) -> None:
        self._bench.look_at_tables()
        compile_loops()

    def _claim(self, partitions: list[int], of: int) -> None:
        self._job.assign(partitions, of)
        if self._spikes is not None:
            self._spikes.monitor.forget()
        if not partitions:
            self._bench.note_store(None)

    def _take(self, batch: Batch) -> bool:
        stored = self._job.take(batch.runs, batch.given_up, time.time)
        self._bench.judge(self._job.judged)
        if self._spikes is not None:
            stored = stored and self._spikes.publish(self._job.closed_until, batch.given_up, batch.all_read)
        self._weigh()
        return stored

    def _weigh(self) -> None:
        cells, closed = self._job.memory
        self._memory.note("cells", cells)
        self._memory.note("closed_minutes", closed)
        if self._spikes is not None:
            series, spikes = self._spikes.monitor.memory
            self._memory.note("series", series)
            self._memory.note("spikes", spikes)

    def _close(self) -> None:
        self._stored.close()
        self._dead_letters.close()
        if self._spikes is not None:
            self._spikes.close()

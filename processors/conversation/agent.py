"""The conversation agent: runs the conversation job and the spike detector in one thread, and reports memory."""

import time

from pipeline.privacy.erased_hashes import ErasedHashes
from processors.conversation.fold import load_conversation_kernels
from processors.conversation.job import ConversationJob
from processors.runtime.agent_thread import AgentThread
from processors.runtime.batch import Batch
from processors.runtime.memory import MemoryBudget
from processors.runtime.retry import GivenUp, StoreRetry
from processors.spikes.detection.bank import load_spike_kernels
from processors.spikes.live import LiveDetection


class ConversationAgent:
    """Processes the batches of the topic `conversations` (processors.runtime.batch.Agent)."""

    def __init__(
        self, thread: AgentThread, job: ConversationJob, memory: MemoryBudget, spikes: LiveDetection | None
    ) -> None:
        """`job` and `spikes` belong to `thread`. Without `spikes` no detector runs."""
        self._thread, self._job, self._memory, self._spikes = thread, job, memory, spikes
        self._partitions: tuple[list[int], int] = ([], 1)
        self._retry = StoreRetry(on_store=thread.note_store)

    async def prepare(self) -> None:
        """Verifies the tables and loads the kernels. Raises Unavailable, SchemaDrift, SettingsError."""
        await self._thread.run(self._prepare)

    async def assign(self, partitions: list[int], of: int) -> None:
        """Makes these partitions, out of `of`, the agent's own."""
        await self._thread.run(self._assign, partitions, of)

    async def process(self, batch: Batch) -> bool:
        """Folds and stores a batch, and closes the minutes that can be closed. Returns False when the batch was given
        up."""
        return await self._thread.run(self._process, batch, unwanted=batch.given_up.is_set)

    async def close(self) -> None:
        """Closes the connections and the thread."""
        await self._thread.close()

    def _prepare(self) -> None:
        self._thread.verify()
        self._job.erased = self._thread.erasures.erased
        self._thread.load_kernels(load_conversation_kernels)
        if self._spikes is not None:
            self._thread.load_kernels(load_spike_kernels)

    def _assign(self, partitions: list[int], of: int) -> None:
        self._partitions = partitions, of
        self._thread.erasures.assign(partitions)
        self._empty()
        if not partitions:
            self._thread.note_store(None)  # an agent without partitions does not wait for a store

    def _empty(self) -> None:
        self._job.assign(*self._partitions)
        if self._spikes is not None:
            self._spikes.monitor.forget()

    def _erase(self, erased: ErasedHashes) -> None:
        self._job.erased = erased
        self._empty()

    def _process(self, batch: Batch) -> bool:
        self._retry.given_up = batch.given_up
        try:
            self._retry(lambda: self._thread.erasures.look(self._erase))
        except GivenUp:
            return False
        is_done = self._job.process(batch.runs, batch.given_up, time.time)
        self._thread.judge(self._job.judged)
        if self._spikes is not None:
            is_done = is_done and self._spikes.publish(self._job.closed_until, batch.given_up, batch.all_read)
        self._note_memory()
        return is_done

    def _note_memory(self) -> None:
        cells, closed = self._job.memory
        self._memory.note("cells", cells)
        self._memory.note("closed_minutes", closed)
        if self._spikes is not None:
            series, spikes = self._spikes.monitor.memory
            self._memory.note("series", series)
            self._memory.note("spikes", spikes)

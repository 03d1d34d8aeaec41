"""The conversation agent: runs the conversation job and the spike detector in one thread, and reports memory."""

import time
from typing import Final

from pipeline.privacy.erased_hashes import ErasedHashes
from pipeline.privacy.erasure_store import ALLOW, COUNT, FOLD, REFUSE, ROLL
from processors.conversation.fold import load_conversation_kernels
from processors.conversation.job import ConversationJob
from processors.erasure_watch import StepAhead
from processors.runtime.agent_thread import AgentThread
from processors.runtime.batch import Batch
from processors.runtime.memory import MemoryBudget
from processors.runtime.retry import GivenUp, StoreRetry
from processors.spikes.detection.bank import load_spike_kernels
from processors.spikes.live import LiveDetection

CELLS_STAND: Final = (REFUSE, FOLD, ROLL, ALLOW)
"""Steps of an erasure at which stored cells, and counts at closing that the spike detector has read, are those of the
step before or are made right by a later one, so that the memory may stay. At COUNT cells are read again, but not the
weeks of counts that the spike detector has in memory: these change after COUNT, and are read again when all is done."""


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
        self._leave_out(self._thread.erasures.erased)
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

    def _take_up(self, erased: ErasedHashes, step: str) -> None:
        self._leave_out(erased)
        if step == COUNT:
            self._job.read_again()
        elif step not in CELLS_STAND:
            self._empty()

    def _leave_out(self, erased: ErasedHashes) -> None:
        self._job.erased = erased
        if self._spikes is not None:
            self._spikes.monitor.erased = erased

    def _process(self, batch: Batch) -> bool:
        self._retry.given_up = batch.given_up
        while True:
            try:
                self._retry(lambda: self._thread.erasures.look(self._take_up))
                is_done = self._process_and_publish(batch)
            except GivenUp:
                return False
            except StepAhead:
                continue  # the memory is emptied, and the batch begun anew
            self._note_memory()
            return is_done

    def _process_and_publish(self, batch: Batch) -> bool:
        is_done = self._job.process(batch.runs, batch.given_up, time.time)
        self._thread.judge(self._job.judged)
        if self._spikes is not None:
            is_done = is_done and self._spikes.publish(self._job.closed_until, batch.given_up, batch.all_read)
        return is_done

    def _note_memory(self) -> None:
        cells, closed = self._job.memory
        self._memory.note("cells", cells)
        self._memory.note("closed_minutes", closed)
        if self._spikes is not None:
            series, spikes = self._spikes.monitor.memory
            self._memory.note("series", series)
            self._memory.note("spikes", spikes)

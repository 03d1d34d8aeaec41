"""The host of the alert agent: the thread for its blocking calls, and the clock that drives it."""

import asyncio
import time
from typing import Final

from processors.alerts.agent import AlertAgent
from processors.runtime.agent_thread import AgentThread
from processors.runtime.batch import Batch

ALERTS_TICK_SECONDS: Final = 0.5
IDLE_SECONDS: Final = 10.0
"""How long the last batch of a run waits for deliveries that were not tried yet. The next run delivers the others."""


class AlertHost:
    """Runs the alert agent for the source (processors.runtime.batch.Agent)."""

    def __init__(self, thread: AgentThread, agent: AlertAgent) -> None:
        """`thread` runs the blocking calls of `agent`."""
        self._thread, self._agent = thread, agent
        self._ticking: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Verifies the tables and starts the clock. Raises Unavailable, SchemaDrift."""
        await self._thread.run(self._thread.verify)
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick())

    async def assign(self, partitions: list[int], of: int) -> None:
        """Assigns these partitions, out of `of`, to the agent."""
        await self._agent.assign(partitions, of)
        if not partitions:
            self._thread.note_store(None)

    async def process(self, batch: Batch) -> bool:
        """Processes a batch; False when the batch was given up. At the end of a run, waits for untried deliveries."""
        if self._ticking is not None and self._ticking.done():
            self._ticking.result()
        is_processed = await self._agent.process(batch)
        self._thread.judge(self._agent.judged)
        if batch.all_read:
            end = time.monotonic() + IDLE_SECONDS
            while not (self._agent.is_idle or batch.given_up.is_set() or time.monotonic() > end):
                await asyncio.sleep(ALERTS_TICK_SECONDS / 5)
        return is_processed

    async def close(self) -> None:
        """Closes the agent, the connections and the thread."""
        if self._ticking is not None:
            self._ticking.cancel()
        await self._agent.close()
        await self._thread.close()

    async def _tick(self) -> None:
        while True:
            await self._agent.tick()
            await asyncio.sleep(ALERTS_TICK_SECONDS)

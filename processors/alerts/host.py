"""Who does what the alert agent is given: the agent on ClickHouse and HTTP, and the clock that drives it."""

import asyncio
import os
import time
from typing import Final

from pipeline.clickhouse import ClickHouse
from pipeline.dead_letters import Burial
from pipeline.errors import SettingsError
from pipeline.observability.alert_metrics import AlertMetrics
from pipeline.observability.health import HealthState, WatchdogState
from pipeline.observability.metrics import WorkerMetrics
from pipeline.settings import Settings
from processors.alerts.agent import AlertAgent
from processors.alerts.config import SETTING, load_alerts
from processors.alerts.delivery_store import ClickHouseDeliveries
from processors.alerts.receivers.http import open_heartbeat, open_receivers
from processors.batches import Batch
from processors.bench import Bench

TICK_SECONDS: Final = 0.5
IDLE_SECONDS: Final = 10.0
"""How long a run that ends waits for receivers that were not asked yet. What is not told then is told by the next."""


class AlertBench:
    """The Host of the alert agent."""

    def __init__(
        self, settings: Settings, metrics: WorkerMetrics, health: HealthState, watchdog: WatchdogState
    ) -> None:
        """Blocks on reading the alerts' file. Raises SettingsError."""
        try:
            config = None if settings.alerts is None else load_alerts(settings.alerts, os.environ)
        except SettingsError as error:
            raise SettingsError(f"{SETTING}: {error}") from None
        self._bench = Bench("alerts", settings, health, watchdog)
        self._clickhouse = ClickHouse(settings)
        self._burial = Burial(settings)
        self._bench.watch_over(self._clickhouse, self._burial)
        self._agent = AlertAgent(
            config,
            ClickHouseDeliveries(self._clickhouse),
            open_receivers(config) if config else {},
            self._burial,
            AlertMetrics(metrics),
            self._bench,
            open_heartbeat(config) if config else None,
            on_store=self._bench.note_store,
        )
        self._ticking: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Looks at the tables. Raises Unavailable, SchemaDrift."""
        await self._bench.run(self._bench.look_at_tables)
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick())

    async def claim(self, partitions: list[int], of: int) -> None:
        """These partitions, out of `of`, are ours from now on."""
        await self._agent.claim(partitions, of)
        if not partitions:
            self._bench.note_store(None)

    async def take(self, batch: Batch) -> bool:
        """Remembers what has to be told; False when it was given up. At the end of all, tells it first."""
        if self._ticking is not None and self._ticking.done():
            self._ticking.result()
        is_taken = await self._agent.take(batch)
        self._bench.judge(self._agent.judged)
        if batch.all_read:
            end = time.monotonic() + IDLE_SECONDS
            while not (self._agent.is_idle or batch.given_up.is_set() or time.monotonic() > end):
                await asyncio.sleep(TICK_SECONDS / 5)
        return is_taken

    async def close(self) -> None:
        """Ends the agent, the connections and the thread."""
        if self._ticking is not None:
            self._ticking.cancel()
        await self._agent.close()
        await self._bench.run(self._close, unwanted=lambda: True)
        self._bench.end()

    async def _tick(self) -> None:
        while True:
            await self._agent.tick()
            await asyncio.sleep(TICK_SECONDS)

    def _close(self) -> None:
        self._clickhouse.close()
        self._burial.close()

"""The host of the alert agent: the agent on ClickHouse and HTTP, and the clock that drives it."""

import asyncio
import os
import time
from typing import Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.dead_letters import DeadLetterSink
from pipeline.errors import SettingsError
from pipeline.observability.alert_metrics import AlertMetrics
from pipeline.observability.health import HealthState, WatchdogState
from pipeline.observability.metrics import WorkerMetrics
from pipeline.settings import Settings
from processors.alerts.agent import AlertAgent
from processors.alerts.config import ALERTS_SETTING, load_alerts
from processors.alerts.connections import open_heartbeat, open_receivers
from processors.alerts.delivery_store import ClickHouseDeliveryStore
from processors.alerts.ports import AlertPorts
from processors.runtime.agent_thread import Bench
from processors.runtime.batch import Batch

ALERTS_TICK_SECONDS: Final = 0.5
IDLE_SECONDS: Final = 10.0
"""How long the last batch of a run waits for deliveries that were not tried yet. The next run delivers the others."""


class AlertHost:
    """Runs the alert agent for the source (processors.runtime.batch.Host)."""

    def __init__(
        self, settings: Settings, metrics: WorkerMetrics, health: HealthState, watchdog: WatchdogState
    ) -> None:
        """Reads the alerts file, which blocks. Raises SettingsError."""
        try:
            config = None if settings.alerts is None else load_alerts(settings.alerts, os.environ)
        except SettingsError as error:
            raise SettingsError(f"{ALERTS_SETTING}: {error}") from None
        self._bench = Bench("alerts", settings, health, watchdog)
        self._clickhouse = ClickHouse(settings)
        self._dead_letters = DeadLetterSink(settings)
        self._bench.watch_over(self._clickhouse, self._dead_letters)
        self._agent = AlertAgent(
            config,
            AlertPorts(
                ClickHouseDeliveryStore(self._clickhouse),
                open_receivers(config) if config else {},
                self._dead_letters.write,
                AlertMetrics(metrics),
                self._bench,
                open_heartbeat(config) if config else None,
                self._bench.note_store,
            ),
        )
        self._ticking: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Verifies the tables and starts the clock. Raises Unavailable, SchemaDrift."""
        await self._bench.run(self._bench.look_at_tables)
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick())

    async def claim(self, partitions: list[int], of: int) -> None:
        """Assigns these partitions, out of `of`, to the agent."""
        await self._agent.assign(partitions, of)
        if not partitions:
            self._bench.note_store(None)

    async def take(self, batch: Batch) -> bool:
        """Processes a batch; False when the batch was given up. At the end of a run, waits for untried deliveries."""
        if self._ticking is not None and self._ticking.done():
            self._ticking.result()
        is_processed = await self._agent.process(batch)
        self._bench.judge(self._agent.judged)
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
        await self._bench.run(self._close, unwanted=lambda: True)
        self._bench.end()

    async def _tick(self) -> None:
        while True:
            await self._agent.tick()
            await asyncio.sleep(ALERTS_TICK_SECONDS)

    def _close(self) -> None:
        self._clickhouse.close()
        self._dead_letters.close()

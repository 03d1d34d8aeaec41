"""The alert agent: processes the records of the topic `alerts` and notifies receivers, each at its own pace. The agent
knows nothing of Faust and Kafka.

Pending deliveries follow from the stored spikes and the stored deliveries, so a batch is acked once its alerts are in
memory and its suppressed states are stored: after a crash the spikes are read again, and states without a row are
delivered. Rows of attempts are stored within a second or so; after a crash before that a receiver gets the notice again
with the same idempotency key.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from random import Random
from threading import Event
from typing import Any, Final, TypeVar

from pipeline.errors import Unavailable
from pipeline.kafka.topics import partition_of
from processors.alerts.attempts import Attempts, messages_of
from processors.alerts.config import AlertsConfig
from processors.alerts.deliveries.delivery_queue import DeliveryQueue
from processors.alerts.deliveries.policy import DeliveryPolicy
from processors.alerts.deliveries.receiver_state import PendingDelivery
from processors.alerts.grouping.causes import Causes, GroupAlert
from processors.alerts.ports import AlertPorts, Delivery
from processors.alerts.records import read_alerts
from processors.runtime.batch import Batch
from schemas.alerts import ALERTS_KEY, SpikeAlert

STORE_RETRY_SECONDS: Final = 0.5
REQUEST_GRACE_SECONDS: Final = 2.0
"""How long a rebalance or a stop waits for requests that are on their way."""

SWEEP_SECONDS: Final = 60.0
SOON_SECONDS: Final = 0.02
"""The least time between two looks for due deliveries after answers, since each look goes over every spike."""

_Result = TypeVar("_Result")


class _GivenUp(Exception):
    """The store is away, and the caller does not wait for it any longer."""


class AlertAgent:
    """Processes batches of SpikeAlerts in one event loop; the store blocks, in a thread of its own. The owner calls
    `tick` about once a second."""

    def __init__(
        self,
        config: AlertsConfig | None,
        ports: AlertPorts,
        policy: DeliveryPolicy | None = None,
        clock: Callable[[], float] = time.time,
        chance: Random | None = None,
    ) -> None:
        """Without a `config` records are acked and no receiver is notified."""
        self._config, self._ports, self._policy = config, ports, policy or DeliveryPolicy()
        self._clock, self._chance = clock, chance or Random()
        self._store = asyncio.Lock()
        self._partitions: tuple[int, ...] = ()
        self._of = self._assignments = 1
        self._judged = (0, 0)
        self._queue: DeliveryQueue | None = None
        self._causes = Causes(self._policy.gather)
        self._attempts: set[asyncio.Task[None]] = set()
        self._soon: asyncio.TimerHandle | None = None
        self._is_away = self._is_closed = False
        self._heartbeat_at = self._sweep_at = 0.0
        self._deliveries = Attempts(config, ports, clock)
        ports.metrics.name_receivers(ports.receivers)

    async def assign(self, partitions: list[int], of: int) -> None:
        """Makes these partitions, out of `of`, the agent's own. Empties the memory; the spikes are read again."""
        await self._release()
        self._partitions, self._of = tuple(partitions), of
        self._assignments += 1

    async def process(self, batch: Batch) -> bool:
        """Returns True once all alerts are in memory and suppressed states are stored, False when the batch was given
        up."""
        if self._config is None:
            return True
        alerts, dead = read_alerts(batch.runs)
        try:
            if dead:
                await self._retry_store(lambda: self._ports.write_dead_letters(dead), batch.given_up)
            queue = await self._open_queue(batch.given_up)
            unknown = {alert["spike_id"] for alert in alerts if alert["spike_id"] not in self._causes}
            rows = await self._load_rows(sorted(unknown), batch.given_up)
            for alert in alerts:
                told = self._causes.add(alert, self._clock(), alert["spike_id"] in rows)
                self._pass_on(queue, told, rows)
            self._start_due()
            await self._save(queue, batch.given_up)
        except _GivenUp:
            return False
        records, dead_records = self._judged
        self._judged = records + len(alerts) + len(dead), dead_records + len(dead)
        return True

    async def tick(self) -> None:
        """Starts due deliveries and stores the outcome of earlier ones. Does not wait for receivers."""
        now = self._clock()
        if self._config is None or not self._partitions or self._is_closed:
            return
        self._start_due()  # also while the store is away
        if self._store.locked():
            return
        try:
            queue = await self._open_queue(None)
            self._start_due()
            await self._save(queue, None)
        except _GivenUp:
            return
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            queue.sweep(now)
            self._causes.keep(queue.spike_ids)
        self._ports.metrics.set_waiting(queue.count_pending())
        # An agent that cannot store has returned above: no heartbeat tells then that all is well.
        heartbeat, settings = self._ports.heartbeat, self._config.heartbeat
        if heartbeat is not None and settings is not None and now >= self._heartbeat_at:
            self._heartbeat_at = now + settings.every
            self._start(self._deliveries.send_heartbeat(heartbeat))

    async def close(self) -> None:
        """Waits briefly for requests on their way, stores their outcome and closes all connections."""
        self._is_closed = True
        await self._release()
        for receiver in self._ports.receivers.values():
            await receiver.close()
        if self._ports.heartbeat is not None:
            await self._ports.heartbeat.close()

    @property
    def judged(self) -> tuple[int, int]:
        """Number of records judged so far, and number of dead letters among the records."""
        return self._judged

    @property
    def is_idle(self) -> bool:
        """Every due delivery was tried at least once, and all outcomes are stored."""
        queue = self._queue
        if queue is None:
            return self._config is None or not self._partitions
        is_untried = self._causes.is_gathering or queue.count_untried(self._clock())
        return not (queue.in_flight or is_untried or queue.ledger.unsaved_rows() or self._causes.unsaved_rows())

    async def _release(self) -> None:
        """Waits at most REQUEST_GRACE_SECONDS for requests on their way, stores all outcomes and empties the memory."""
        queue, self._queue = self._queue, None
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=REQUEST_GRACE_SECONDS)
        for attempt in self._attempts:
            attempt.cancel()
        if queue is not None and (queue.ledger.unsaved_rows() or self._causes.unsaved_rows()):
            late = Event()
            asyncio.get_running_loop().call_later(REQUEST_GRACE_SECONDS, late.set)
            with suppress(_GivenUp):
                await self._save(queue, late)
        self._causes = Causes(self._policy.gather)
        self._ports.metrics.set_waiting(dict.fromkeys(self._ports.receivers, 0))

    async def _open_queue(self, given_up: Event | None) -> DeliveryQueue:
        """Returns the deliveries in memory, read from the store at the first call of an assignment. Raises
        _GivenUp."""
        if self._queue is None and self._config is not None:
            forgetful = [name for name, receiver in self._config.receivers.items() if receiver.is_forgetful]
            assignments, now = self._assignments, self._clock()
            queue = DeliveryQueue(self._config, forgetful, self._ports.metrics, self._chance, now, self._policy)
            causes = Causes(self._policy.gather)
            spikes, groups, rows = await self._retry_store(self._read_spikes, given_up)
            for spike in causes.restore(spikes, groups, rows):
                queue.restore(spike, rows.get(spike["spike_id"], ()), now)
            if self._assignments != assignments:
                raise _GivenUp
            if self._queue is None:  # a queue that was opened meanwhile may know more
                self._queue, self._causes = queue, causes
        if self._queue is None:
            raise _GivenUp
        return self._queue

    def _read_spikes(self) -> tuple[Sequence[SpikeAlert], Mapping[str, str], dict[str, list[Delivery]]]:
        """Reads the spikes that may have pending deliveries, their groups and their rows: all of them for the owner of
        the partition of all alerts, none for others. Blocks."""
        if partition_of(ALERTS_KEY.encode(), self._of) not in self._partitions:
            return [], {}, {}
        oldest = self._config.longest_pending if self._config is not None else 0.0
        since = self._clock() - max(oldest, *self._policy.give_up.values())
        spikes = self._ports.deliveries.spikes(since)
        spike_ids = [spike["spike_id"] for spike in spikes]
        groups = self._ports.deliveries.groups(spike_ids)
        return spikes, groups, _by_spike(self._ports.deliveries.load(spike_ids))

    async def _load_rows(self, spike_ids: Sequence[str], given_up: Event) -> dict[str, list[Delivery]]:
        """Loads the stored rows of spikes that are not in memory."""
        if not spike_ids:
            return {}
        return _by_spike(await self._retry_store(lambda: self._ports.deliveries.load(spike_ids), given_up))

    def _pass_on(
        self, queue: DeliveryQueue, told: Iterable[GroupAlert], rows: Mapping[str, Sequence[Delivery]] | None = None
    ) -> None:
        """Passes alerts of groups on to the queue; `rows`: stored rows of spikes that are not in memory."""
        now = self._clock()
        for alert, is_news in told:
            if alert["spike_id"] not in queue:
                queue.restore(alert, (rows or {}).get(alert["spike_id"], ()), now, is_new_alert=True)
            (queue.add_alert if is_news else queue.update)(alert, now)

    def _start_due(self) -> None:
        self._soon, queue = None, self._queue
        if queue is not None and not self._is_closed:
            self._pass_on(queue, self._causes.open_gathered(self._clock()))
            for parts in messages_of(queue.start_due(self._clock())):
                self._start(self._deliver(queue, parts))

    def _start_soon(self) -> None:
        if self._soon is None and self._queue is not None:
            self._soon = asyncio.get_running_loop().call_later(SOON_SECONDS, self._start_due)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)

    async def _deliver(self, queue: DeliveryQueue, parts: list[PendingDelivery]) -> None:
        await self._deliveries.deliver(queue, parts)
        self._start_soon()

    async def _save(self, queue: DeliveryQueue, given_up: Event | None) -> None:
        """Stores the rows that changed. Raises _GivenUp."""
        causes = self._causes
        if groups := causes.unsaved_rows():
            await self._retry_store(lambda: self._ports.deliveries.save_groups(groups), given_up)
            causes.mark_saved(groups)
        if rows := queue.ledger.unsaved_rows():
            await self._retry_store(lambda: self._ports.deliveries.save(rows), given_up)
            queue.ledger.mark_saved(rows)

    async def _retry_store(self, action: Callable[[], _Result], given_up: Event | None) -> _Result:
        """Runs an action of the store until the store answers or the batch is given up; once where `given_up` is None.
        Raises _GivenUp."""
        while given_up is None or not given_up.is_set():
            try:
                async with self._store:
                    result = await self._ports.thread.run(
                        action, unwanted=lambda: self._is_closed or (given_up is not None and given_up.is_set())
                    )
            except Unavailable as error:
                self._is_away = True
                self._ports.on_store(error)
                if given_up is None:
                    break
                await asyncio.sleep(STORE_RETRY_SECONDS)
            else:
                if self._is_away:
                    self._is_away = False
                    self._ports.on_store(None)
                return result
        raise _GivenUp


def _by_spike(rows: Iterable[Delivery]) -> dict[str, list[Delivery]]:
    grouped: dict[str, list[Delivery]] = {}
    for row in rows:
        grouped.setdefault(row.spike_id, []).append(row)
    return grouped

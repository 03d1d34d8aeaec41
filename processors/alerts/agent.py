"""The alert agent: takes what the topic `alerts` says and tells receivers, each at its own pace. Knows nothing of Faust
or Kafka.

What has to be told follows from the spikes and the deliveries that are stored, so a record is acked once it is in
memory and what was decided against telling is stored: after a crash the spikes are read again, and what no row says was
told is told. Rows of attempts are stored within a second or so; where that comes too late, a receiver is told again,
with the same idempotency key.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from random import Random
from threading import Event
from typing import Any, Final, Protocol, TypeVar

from pipeline.dead_letters import DeadLetter
from pipeline.errors import Unavailable
from pipeline.observability.alert_metrics import AlertMetrics
from processors.alerts.config import AlertmanagerReceiver, AlertsConfig
from processors.alerts.delivery_queue import BookState
from processors.alerts.policy import DeliveryPolicy
from processors.alerts.ports import Answer, Beat, Deliveries, Delivery, Receiver
from processors.alerts.receiver_state import Waiting
from processors.alerts.records import read_alerts
from processors.batches import Batch
from schemas.alerts import SpikeAlert

RETRY_SECONDS: Final = 0.5
GRACE_SECONDS: Final = 2.0
"""How long a rebalance or a stop waits for requests that are on their way."""

SWEEP_SECONDS: Final = 60.0
SOON_SECONDS: Final = 0.02
"""After an answer what is due is looked for at most so often: it is a look at every spike."""

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class Thread(Protocol):
    """Where what blocks is done, one thing after the other (processors/bench.py)."""

    async def run(
        self, action: Callable[..., Result], *arguments: Any, unwanted: Callable[[], bool] = lambda: False
    ) -> Result:
        """What the action returns. One that does not end is cut off once it is unwanted."""
        ...


class GivenUp(Exception):
    """The store is away, and nobody waits for it any more."""


class AlertAgent:
    """Takes batches of SpikeAlerts. All of it runs in one event loop; the store blocks, in its own thread. `tick` is
    to be called about once a second."""

    def __init__(
        self,
        config: AlertsConfig | None,
        deliveries: Deliveries,
        receivers: Mapping[str, Receiver],
        bury: Callable[[Sequence[DeadLetter]], None],
        metrics: AlertMetrics,
        thread: Thread,
        heartbeat: Beat | None = None,
        policy: DeliveryPolicy | None = None,
        on_store: Callable[[Unavailable | None], None] = lambda error: None,
        clock: Callable[[], float] = time.time,
        chance: Random | None = None,
    ) -> None:
        """Without a `config` records are acked and nobody is told. `on_store` is told each time that the store fails,
        or answers again (None)."""
        self._config, self._deliveries, self._receivers, self._bury = config, deliveries, receivers, bury
        self._metrics, self._heartbeat, self._policy = metrics, heartbeat, policy or DeliveryPolicy()
        self._on_store, self._clock, self._chance = on_store, clock, chance or Random()
        self._thread = thread
        self._store = asyncio.Lock()
        self._partitions: tuple[int, ...] = ()
        self._of = self._claims = 1
        self._judged = (0, 0)
        self._book: BookState | None = None
        self._attempts: set[asyncio.Task[None]] = set()
        self._soon: asyncio.TimerHandle | None = None
        self._is_away = self._is_closed = False
        self._beat_at = self._sweep_at = 0.0
        metrics.name_receivers(receivers)

    async def claim(self, partitions: list[int], of: int) -> None:
        """These partitions, out of `of`, are ours from now on. What was in memory goes; it is read again."""
        await self._let_go()
        self._partitions, self._of = tuple(partitions), of
        self._claims += 1

    async def take(self, batch: Batch) -> bool:
        """True once all of it is in memory, and what is not to be told is stored; False when it was given up."""
        if self._config is None:
            return True
        alerts, dead = read_alerts(batch.runs)
        try:
            if dead:
                await self._patiently(lambda: self._bury(dead), batch.given_up)
            book = await self._open_book(batch.given_up)
            await self._look_up([alert for alert in alerts if alert["spike_id"] not in book], book, batch.given_up)
            for alert in alerts:
                book.take(alert, self._clock())
            self._start_due()
            await self._save(book, batch.given_up)
        except GivenUp:
            return False
        records, buried = self._judged
        self._judged = records + len(alerts) + len(dead), buried + len(dead)
        return True

    async def tick(self) -> None:
        """Starts what is due, stores what came of it. Does not wait for receivers."""
        now = self._clock()
        if self._config is None or not self._partitions or self._is_closed:
            return
        self._start_due()  # also while the store is away
        if self._store.locked():
            return
        try:
            book = await self._open_book(None)
            self._start_due()
            await self._save(book, None)
        except GivenUp:
            return
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            book.sweep(now)
        self._metrics.set_waiting(book.waiting(), book.open_spikes)
        # Whoever cannot store does not come so far: nobody is told then that all is well.
        if self._heartbeat is not None and self._config.heartbeat is not None and now >= self._beat_at:
            self._beat_at = now + self._config.heartbeat.every
            self._start(self._tell_that_we_live(self._heartbeat))

    async def close(self) -> None:
        """Ends what is on its way, within GRACE_SECONDS; stores what came of it; ends connections to receivers."""
        self._is_closed = True
        await self._let_go()
        for receiver in self._receivers.values():
            await receiver.close()
        if self._heartbeat is not None:
            await self._heartbeat.close()

    @property
    def judged(self) -> tuple[int, int]:
        """Records that were judged so far, and those of them that were dead."""
        return self._judged

    @property
    def is_idle(self) -> bool:
        """Whatever is due has been tried at least once, and what came of it is stored."""
        book = self._book
        if book is None:
            return self._config is None or not self._partitions
        return not (book.in_flight or book.untried(self._clock()) or book.unsaved())

    async def _let_go(self) -> None:
        """Waits a little for requests that are on their way, and stores what came of all."""
        book, self._book = self._book, None
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=GRACE_SECONDS)
        for attempt in self._attempts:
            attempt.cancel()
        if book is not None and book.unsaved():
            late = Event()
            asyncio.get_running_loop().call_later(GRACE_SECONDS, late.set)
            with suppress(GivenUp):
                await self._save(book, late)

    async def _open_book(self, given_up: Event | None) -> BookState:
        """What is in memory, read from the store where it is not. Raises GivenUp."""
        if self._book is None and self._config is not None:
            forgetful = [n for n, each in self._config.receivers.items() if isinstance(each, AlertmanagerReceiver)]
            claims, now = self._claims, self._clock()
            book = BookState(self._config, forgetful, self._metrics, self._chance, now, self._policy)
            spikes, rows = await self._patiently(self._read, given_up)
            for spike in spikes:
                book.restore(spike, rows.get(spike["spike_id"], ()), now)
            if self._claims != claims:
                raise GivenUp
            self._book = self._book or book  # one that was opened meanwhile may know more
        if self._book is None:
            raise GivenUp
        return self._book

    def _read(self) -> tuple[Sequence[SpikeAlert], dict[str, list[Delivery]]]:
        """Spikes that may have to be told, and what was. Blocks."""
        oldest = self._config.oldest if self._config is not None else 0.0
        since = self._clock() - max(oldest, *self._policy.give_up.values())
        spikes = self._deliveries.spikes(self._partitions, self._of, since)
        return spikes, _by_spike(self._deliveries.load([spike["spike_id"] for spike in spikes]))

    async def _look_up(self, unknown: Sequence[SpikeAlert], book: BookState, given_up: Event) -> None:
        """What was told of spikes that are not in memory."""
        if unknown:
            spike_ids = list({alert["spike_id"] for alert in unknown})
            rows = _by_spike(await self._patiently(lambda: self._deliveries.load(spike_ids), given_up))
            for alert in unknown:
                if alert["spike_id"] not in book:
                    book.restore(alert, rows.get(alert["spike_id"], ()), self._clock(), is_news=True)

    def _start_due(self) -> None:
        self._soon, book = None, self._book
        if book is not None and not self._is_closed:
            for waiting in book.due(self._clock()):
                self._start(self._attempt(book, waiting))

    def _start_soon(self) -> None:
        if self._soon is None and self._book is not None:
            self._soon = asyncio.get_running_loop().call_later(SOON_SECONDS, self._start_due)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)

    async def _attempt(self, book: BookState, waiting: Waiting) -> None:
        answer = Answer(False, "was cut off")
        try:
            answer = await self._receivers[waiting.receiver].send(waiting.notice, self._clock())
        except Exception as error:
            log.exception("receiver %s failed", waiting.receiver)
            answer = Answer(False, type(error).__name__)
        finally:
            book.settle(waiting, answer, self._clock())
        if not answer.is_delivered:
            log.warning("%s was not told of %s: %s", waiting.receiver, waiting.notice.key, answer.said)
        self._start_soon()

    async def _tell_that_we_live(self, heartbeat: Beat) -> None:
        answer = await heartbeat.post(b"", {})
        self._metrics.count_heartbeat(answer.is_delivered)
        if not answer.is_delivered:
            log.warning("the heartbeat was not taken: %s", answer.said)

    async def _save(self, book: BookState, given_up: Event | None) -> None:
        """Stores what changed. Raises GivenUp."""
        if rows := book.unsaved():
            await self._patiently(lambda: self._deliveries.save(rows), given_up)
            book.note_saved(rows)

    async def _patiently(self, action: Callable[[], Result], given_up: Event | None) -> Result:
        """Tries until it works or is given up; once where nobody waits for it. Raises GivenUp."""
        while given_up is None or not given_up.is_set():
            try:
                async with self._store:
                    result = await self._thread.run(
                        action, unwanted=lambda: self._is_closed or (given_up is not None and given_up.is_set())
                    )
            except Unavailable as error:
                self._is_away = True
                self._on_store(error)
                if given_up is None:
                    break
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if self._is_away:
                    self._is_away = False
                    self._on_store(None)
                return result
        raise GivenUp


def _by_spike(rows: Iterable[Delivery]) -> dict[str, list[Delivery]]:
    found: dict[str, list[Delivery]] = {}
    for row in rows:
        found.setdefault(row.spike_id, []).append(row)
    return found

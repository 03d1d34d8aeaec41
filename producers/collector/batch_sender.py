"""Sends the records of requests to Kafka in batches and tells each request when all records are acked.

The collector's event loop must take thousands of requests a second, so a record may cost a few microseconds only. A
round gathers the records of `linger_seconds` into one batch per partition, which aiokafka's builder encodes at 1 us a
record, and each partition has one batch on its way at a time: records of a partition keep their order. A record that is
sent twice after a lost answer is harmless, because an event counts once by its identity (law 2).
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from pipeline.errors import EngagementError, Unavailable
from pipeline.kafka.client import BATCH_BYTES, FRAMING_BYTES
from pipeline.kafka.link import CONNECTION
from pipeline.kafka.roster import aiokafka_options
from pipeline.kafka.topics import partition_of
from pipeline.observability.outages import OutageLog
from pipeline.record_producer import Headers
from pipeline.settings import Settings
from producers.collector.outgoing import OutgoingRecord, Overloaded
from producers.collector.topic_partitions import in_daemon_thread, read_partitions

RECORD_COST: Final = 400
"""Memory of a waiting record beside its bytes."""

CONNECT_PAUSE_SECONDS: Final = 0.5
STALL_SECONDS: Final = 5.0
"""Records that wait while no batch was acked for this long mean that Kafka is away."""

TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchPolicy:
    """Bounds of the sender. `ack_seconds`: longest wait of a request for its acks."""

    memory_bytes: int = 64 * 1024 * 1024
    ack_seconds: float = 10.0
    linger_seconds: float = 0.008
    compression: str | None = "lz4"


class _Delivery:
    """The records of a request: how many wait, and which were refused."""

    __slots__ = ("done", "refused", "waiting")

    def __init__(self, waiting: int, done: "asyncio.Future[None]") -> None:
        self.waiting, self.done, self.refused = waiting, done, dict[int, str]()

    def settle(self, count: int = 1) -> None:
        self.waiting -= count
        if self.waiting <= 0 and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: EngagementError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


_Place = tuple[str, int]
_Row = tuple[bytes | None, bytes, Headers | None, _Delivery, int]


class BatchSender:
    """A `RecordSender` to Kafka. Connects in the background, again and again while Kafka is away."""

    def __init__(self, settings: Settings, policy: BatchPolicy | None = None) -> None:
        self._settings, self._policy = settings, policy or BatchPolicy()
        self._producer: Any = None
        self._partitions: Mapping[str, int] = {}
        self._queues: dict[_Place, deque[_Row]] = {}
        self._flying: dict[_Place, list[_Row]] = {}
        self._alone: set[_Place] = set()
        self._bytes = 0
        self._progress = time.monotonic()
        self._absence = f"Kafka at {settings.kafka} is not connected yet; try again"
        self._outages = OutageLog(log)
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connecting: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    @property
    def absence(self) -> str:
        if self._producer is None:
            return self._absence
        if self._bytes and time.monotonic() - self._progress > STALL_SECONDS:
            return f"Kafka at {self._settings.kafka} has acked nothing for {STALL_SECONDS:g} s; try again"
        return ""

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    def admit(self) -> None:
        if absence := self.absence:
            raise Unavailable(absence)
        if self._bytes > self._policy.memory_bytes:
            raise Overloaded("Kafka lags behind the requests; send again in a second, or more slowly")

    async def deliver(self, records: Sequence[OutgoingRecord]) -> dict[int, str]:
        if not records:
            return {}
        self.admit()
        if not self._bytes:
            self._progress = time.monotonic()
        delivery = _Delivery(len(records), asyncio.get_running_loop().create_future())
        for index, (topic, key, value, headers) in enumerate(records):
            partitions = self._partitions[topic]
            place = (topic, partition_of(key, partitions) if key is not None else index % partitions)
            queue = self._queues.get(place)
            if queue is None:
                queue = self._queues[place] = deque()
            queue.append((key, value, headers, delivery, index))
            self._bytes += _cost(key, value)
        self._schedule()
        try:
            async with asyncio.timeout(self._policy.ack_seconds):
                await delivery.done
        except TimeoutError:
            raise Unavailable(
                f"Kafka has not acked {delivery.waiting} of {len(records)} records within "
                f"{self._policy.ack_seconds:g} s; send the request again"
            ) from None
        return delivery.refused

    async def close(self) -> None:
        until = time.monotonic() + self._policy.ack_seconds
        while self._bytes and self._producer is not None and time.monotonic() < until:
            await asyncio.sleep(self._policy.linger_seconds)
        if self._connecting is not None:
            self._connecting.cancel()
            with suppress(asyncio.CancelledError):
                await self._connecting
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop(producer)

    async def _connect(self) -> None:
        while self._producer is None:
            producer = None
            try:
                counts = await in_daemon_thread(lambda: read_partitions(self._settings))
                producer = AIOKafkaProducer(
                    **aiokafka_options(self._settings),
                    acks="all",
                    compression_type=self._policy.compression,
                    max_batch_size=BATCH_BYTES,
                    max_request_size=self._settings.record_limit + 4 * FRAMING_BYTES,
                    request_timeout_ms=int(self._policy.ack_seconds * 1000),
                    metadata_max_age_ms=60_000,
                )
                await producer.start()
                self._partitions, self._producer = counts, producer
                self._progress = time.monotonic()
                self._outages.note(CONNECTION, None)
                log.info("connected to Kafka", extra={"kafka": self._settings.kafka})
                self._schedule()
            except (EngagementError, KafkaError, OSError) as error:
                self._absence = str(error) if isinstance(error, EngagementError) else f"Kafka is away ({error!r})"
                self._outages.note(CONNECTION, f"{self._absence} (trying again)")
                if producer is not None:
                    await _stop(producer)
                await asyncio.sleep(CONNECT_PAUSE_SECONDS)

    def _schedule(self) -> None:
        if self._timer is None and self._producer is not None:
            self._timer = asyncio.get_running_loop().call_later(self._policy.linger_seconds, self._send_round)

    def _send_round(self) -> None:
        """Sends a batch to each idle partition with records."""
        self._timer = None
        if self._producer is None:
            return
        batches = []
        for place, queue in self._queues.items():
            if queue and place not in self._flying:
                builder, rows = self._fill(place, queue)
                self._flying[place] = rows
                batches.append((place, builder))
        if batches:
            task = asyncio.get_running_loop().create_task(self._submit(self._producer, batches))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _fill(self, place: _Place, queue: "deque[_Row]") -> tuple[Any, list[_Row]]:
        builder, rows = self._producer.create_batch(), list[_Row]()
        while queue:
            key, value, headers, _, _ = queue[0]
            if builder.append(timestamp=None, key=key, value=value, headers=headers or []) is None:
                break
            rows.append(queue.popleft())
            if place in self._alone:
                break
        builder.close()
        return builder, rows

    async def _submit(self, producer: Any, batches: Sequence[tuple[_Place, Any]]) -> None:
        for place, builder in batches:
            try:
                landing = await producer.send_batch(builder, place[0], partition=place[1])
            except (KafkaError, AssertionError) as error:  # a partition that the broker does not know any more
                self._landed(producer, place, error)
            else:
                landing.add_done_callback(lambda done, at=place: self._landed(producer, at, done.exception()))

    def _landed(self, producer: Any, place: _Place, error: BaseException | None) -> None:
        rows = self._flying.pop(place, [])
        if isinstance(error, TOO_LARGE) and len(rows) > 1:
            self._alone.add(place)  # the broker names no record: each is tried alone
            self._queues[place].extendleft(reversed(rows))
            self._schedule()
            return
        self._progress = time.monotonic() if error is None else self._progress
        for key, value, _, delivery, index in rows:
            self._bytes -= _cost(key, value)
            if error is None:
                delivery.settle()
            elif isinstance(error, TOO_LARGE):
                delivery.refused[index] = "the broker refuses a record of this size; shorten it"
                delivery.settle()
            else:
                delivery.fail(self._explain(place[0], error))
        queue = self._queues[place]
        if not queue:
            self._alone.discard(place)
            del self._queues[place]
        else:
            self._schedule()
        passing = error is None or isinstance(error, TOO_LARGE) or getattr(error, "retriable", False)
        if not passing and producer is self._producer:
            self._reconnect(str(self._explain(place[0], error)))

    def _explain(self, topic: str, error: BaseException | None) -> EngagementError:
        said = f"topic {topic} at {self._settings.kafka}: {str(error)[:200] or type(error).__name__}"
        return Unavailable(f"Kafka did not take a record ({said}); send the request again")

    def _reconnect(self, reason: str) -> None:
        """Drops a producer that may be broken, and connects again; its other batches fail or land by themselves."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        log.error("%s; connecting again", reason)
        self._absence = reason
        task = asyncio.get_running_loop().create_task(_stop(producer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.start()


def _cost(key: bytes | None, value: bytes) -> int:
    return 2 * (len(value) + len(key or b"")) + RECORD_COST


async def _stop(producer: Any) -> None:
    with suppress(KafkaError, OSError, TimeoutError):
        await asyncio.wait_for(producer.stop(), CONNECT_PAUSE_SECONDS * 4)

"""Kafka in memory: a broker, a producer connection that is poisoned as the real one is, and a producer that remembers.

They pass the same contract tests as the real ones (tests/test_publisher.py). And a consumer whose fetch is as unkind as
aiokafka's can be, which tests/test_rebalance.py holds against aiokafka's own.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

from aiokafka import TopicPartition

from pipeline.errors import EngagementError, RecordTooLarge, Refused, Unavailable
from pipeline.kafka.topics import partition_of
from pipeline.record_producer import Headers, OnDone


@dataclass
class FakeReceipt:
    exception: BaseException | None = None
    is_done: bool = False
    value: Any = None
    waiting: list[Callable[[Any], Any]] = field(default_factory=list)

    def add_both(self, done: Callable[[Any], Any]) -> None:
        if self.is_done:
            done(None)
        else:
            self.waiting.append(done)

    def end(self, exception: BaseException | None = None) -> None:
        self.exception, self.is_done = exception, True
        for done in self.waiting:
            done(None)


class FakeBroker:
    """Takes records of up to `limit` bytes while it is `up`. `log`: (topic, partition) -> (key, value) in order."""

    def __init__(self, partitions: int = 4, limit: int = 10_000) -> None:
        self.partitions, self.limit, self.up = partitions, limit, True
        self.clock_ms = 1_790_000_000_000
        self.log: dict[tuple[str, int], list[tuple[bytes | None, bytes | None]]] = defaultdict(list)
        self.links_opened = 0

    def open_link(self, delivery_seconds: float = 0.2) -> "FakeLink":
        if not self.up:
            raise Unavailable("the fake broker is down; bring it up")
        self.links_opened += 1
        return FakeLink(self, delivery_seconds)

    def values(self) -> list[bytes | None]:
        return [value for queue in self.log.values() for _, value in queue]


class FakeLink:
    """Sends in batches of three a partition. A refused record fails its whole batch; any failure poisons: later sends
    hang."""

    def __init__(self, broker: FakeBroker, delivery_seconds: float) -> None:
        self.broker, self.delivery_seconds = broker, delivery_seconds
        self.queued: dict[tuple[str, int], list[tuple[FakeReceipt, float, bytes | None, bytes | None]]] = defaultdict(
            list
        )
        self.poisoned = self.dropped = False

    def partitions(self, topic: str) -> int:
        if not self.broker.up:
            raise Unavailable("the fake broker is down; bring it up")
        return self.broker.partitions

    def send(
        self, topic: str, value: bytes | None, key: bytes | None, headers: Headers | None, partition: int | None
    ) -> FakeReceipt:
        receipt = FakeReceipt()
        place = (topic, partition or 0)
        self.queued[place].append((receipt, time.monotonic(), key, value))
        return _Watched(receipt, self, place)  # type: ignore[return-value]

    def work(self, place: tuple[str, int]) -> None:
        """One batch of a partition, as far as it goes."""
        queue = self.queued[place]
        if self.poisoned or self.dropped or not queue:
            return
        batch = queue[:3]
        if not self.broker.up:
            if time.monotonic() - batch[0][1] > self.delivery_seconds:
                self._fail(queue, batch, TimeoutError("expired"))
            return
        if any(len(value or b"") > self.broker.limit for _, _, _, value in batch):
            self._fail(queue, batch, ValueError("MessageSizeTooLarge"))
            return
        del queue[:3]
        for receipt, _, key, value in batch:
            self.broker.log[place].append((key, value))
            receipt.value = SimpleNamespace(timestamp=self.broker.clock_ms)
            receipt.end()

    def _fail(self, queue: list[Any], batch: list[Any], error: Exception) -> None:
        self.poisoned = True
        del queue[: len(batch)]
        for receipt, *_ in batch:
            receipt.end(error)

    def drop(self) -> None:
        self.dropped = True


class _Watched:
    """A receipt that does its link's work when it is looked at: no thread of its own."""

    def __init__(self, receipt: FakeReceipt, link: FakeLink, place: tuple[str, int]) -> None:
        self.receipt, self.link, self.place = receipt, link, place
        self.add_both = receipt.add_both

    @property
    def is_done(self) -> bool:
        if not self.receipt.is_done:
            self.link.work(self.place)
        return self.receipt.is_done

    @property
    def exception(self) -> BaseException | None:
        return self.receipt.exception

    @property
    def value(self) -> Any:
        return self.receipt.value


class FakeRecordProducer:
    """A `RecordProducer` that remembers: (topic, partition, key, value, headers) in `sent`. Refuses above `limit`,
    waits while not `up`."""

    def __init__(self, partitions: int = 4, limit: int = 10_000, record_bytes: int = 1_000_000) -> None:
        self.partitions, self.limit, self.record_bytes, self.up = partitions, limit, record_bytes, True
        self.sent: list[tuple[str, int, bytes | None, bytes | None, Headers]] = []
        self._waiting: list[tuple[str, int, bytes | None, bytes | None, Headers, OnDone | None]] = []
        self._refusal: EngagementError | None = None
        self.clock_ms = 1_790_000_000_000
        self.broker_ms: int | None = None

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        on_done: OnDone | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
    ) -> None:
        if len(key or b"") + len(value or b"") > self.record_bytes:
            raise RecordTooLarge(f"above {self.record_bytes} bytes; shorten it")
        place = partition_of(key or b"", self.partitions) if partition is None else partition
        self._waiting.append((topic, place, key, value, headers or [], on_done))
        self._work()

    def flush(self, seconds: float | None = None) -> None:
        until = time.monotonic() + (600 if seconds is None else seconds)
        while self._waiting and time.monotonic() < until:
            self._work()
            time.sleep(0.005)
        if self._waiting:
            raise Unavailable("not acked in time; bring it up")
        if self._refusal is not None:
            error, self._refusal = self._refusal, None
            raise error

    def close(self) -> None:
        self.flush(1)

    def _work(self) -> None:
        while self.up and self._waiting:
            topic, partition, key, value, headers, on_done = self._waiting.pop(0)
            error = Refused(f"topic {topic} refuses; shorten it") if len(value or b"") > self.limit else None
            if error is None:
                self.sent.append((topic, partition, key, value, headers))
                self.broker_ms = self.clock_ms
            if on_done is not None:
                on_done(error)
            elif error is not None:
                self._refusal = error


@dataclass(frozen=True)
class FakeRecord:
    """What a source looks at."""

    offset: int
    timestamp: int
    key: bytes = b"p"
    value: bytes = b"{}"


class FakeConsumer:
    """Has an assignment at any time, and answers a fetch at once, never, or with records although it is cancelled."""

    LIKES: ClassVar = TopicPartition("e.likes", 0)

    def __init__(self, answers: str = "at once", refusal: Exception | None = None) -> None:
        self.answers, self.refusal = answers, refusal
        self._coordinator = SimpleNamespace(check_errors=self._check_errors, member_id="m")

    def assignment(self) -> set[TopicPartition]:
        return {self.LIKES}

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[str]]:
        if self.answers != "at once":
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                if self.answers == "never":
                    raise
        await asyncio.sleep(0)
        return {self.LIKES: [FakeRecord(0, int(time.time() * 1000))]}

    def highwater(self, partition: TopicPartition) -> None:
        return None

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    beginning_offsets = end_offsets

    async def committed(self, partition: TopicPartition) -> None:
        return None

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0}

    def _check_errors(self) -> None:
        if self.refusal is not None:
            raise self.refusal

"""The publisher sends records to Kafka at least once, in order per partition, in bounded memory.

The final failure of one record, refused or expired, poisons kafka-python's idempotent producer: every later send fails
or hangs. The publisher therefore keeps each record until it is acked. After a failure it drops the connection without
waiting, opens another one and sends the records that are not acked again, in order per partition. A refused record
fails the other records of its batch too; the publisher sends these suspects one by one, and a record that is refused
alone is refused for good.

A record costs 4 to 5 us here, beside 25 to 50 us of kafka-python's own send (benchmarks/publisher.py): one lock, one
small object, no callback. A thread looks at the acks, because a producer that seldom sends must recover too.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pipeline.errors import EngagementError, RecordTooLarge, Refused, SettingsError, Unavailable
from pipeline.kafka.client import KafkaLink
from pipeline.kafka.inflight import (
    InflightRecord,
    PartitionQueue,
    RecordOutcome,
    report_outcomes,
    send_first_alone,
    send_on,
)
from pipeline.kafka.link import CONNECTION, Link, LinkPolicy
from pipeline.kafka.publisher_policy import (
    ACK_TICK_SECONDS,
    RECONNECT_SECONDS,
    RECORD_OVERHEAD,
    REFUSALS_KEPT,
    WAITED_ACK_TICK_SECONDS,
    PublisherPolicy,
)
from pipeline.kafka.topics import partition_of
from pipeline.observability.outages import OutageLog
from pipeline.record_producer import Headers, OnDone
from pipeline.settings import Settings

log = logging.getLogger(__name__)


class Publisher:
    """A `RecordProducer` that sends to Kafka; a context manager, safe to use from several threads.

    `send` blocks while `memory_bytes` are in flight, for `block_seconds` at most, then raises Unavailable: that record
    is not taken, and all others stay in flight. `on_done` is called from a thread of the publisher. While the broker is
    away, records wait; sending resumes by itself.
    """

    def __init__(self, open_link: Callable[[], Link], policy: PublisherPolicy | None = None) -> None:
        self._policy, self._open_link = policy or PublisherPolicy(), open_link
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)
        self._wake, self._stopping, self._outages = threading.Event(), threading.Event(), OutageLog(log)
        self._queues: dict[str, list[PartitionQueue]] = {}
        self._bytes = self._waiters = 0
        self._refusals: deque[EngagementError] = deque(maxlen=REFUSALS_KEPT)
        self._broken: EngagementError | None = None
        self._broker_ms: int | None = None
        self._closed = self._reporting = False
        self._link: Link | None = open_link()
        self._thread = threading.Thread(target=self._watch, name="publisher", daemon=True)
        self._thread.start()

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        on_done: OnDone | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
    ) -> None:
        if key is None and value is None:
            raise ValueError("a record needs a key or a value")
        queues = self._queues.get(topic) or self._open_queues(topic)
        size = len(key or b"") + len(value or b"")
        if size > self._policy.record_bytes:
            raise RecordTooLarge(
                f"a record of {size} bytes for {topic} is above the limit of {self._policy.record_bytes}: "
                f"shorten it, or raise ENGAGEMENT_RECORD_LIMIT and the topic's max.message.bytes"
            )
        if partition is None:
            partition = partition_of(key or b"", len(queues))
        elif not 0 <= partition < len(queues):
            raise Refused(
                f"{topic} has no partition {partition}; ENGAGEMENT_PARTITIONS must be {len(queues)}, as the topic has"
            )
        record = InflightRecord(key, value, headers, on_done, size * 2 + RECORD_OVERHEAD)
        with self._lock:
            if self._bytes > self._policy.memory_bytes or self._broken or self._closed:
                self._wait_for_room()
            queue = queues[partition]
            if self._link is not None:
                record.receipt = send_on(self._link, queue, record)
            queue.records.append(record)
            self._bytes += record.size
        if on_done is not None and record.receipt is not None:
            record.receipt.add_both(self._wake_up)

    def flush(self, seconds: float | None = None) -> None:
        with self._lock:
            ends = [(queue, queue.settled + len(queue.records)) for queue in self._all_queues()]
            patience = self._policy.block_seconds if seconds is None else seconds
            if not self._wait(
                lambda: not self._reporting and all(queue.settled >= end for queue, end in ends), patience
            ):
                raise self._broken or self._out_of_patience(patience)
            if self._refusals:
                error, more = self._refusals[0], len(self._refusals) - 1
                self._refusals.clear()
                raise Refused(f"{error}" + (f" (and {more} more records)" if more else "")) from error

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            self.flush(self._policy.close_seconds)
        finally:
            self._stopping.set()
            self._wake.set()
            self._thread.join(timeout=1)
            with self._lock:
                link, self._link = self._link, None
                given_up = [record for queue in self._all_queues() for record in queue.give_up()]
            if link is not None:
                link.drop()
            lost = Unavailable(f"not acked within {self._policy.close_seconds:g} s of closing; send it again")
            report_outcomes((record, lost) for record in given_up)

    @property
    def broker_ms(self) -> int | None:
        """Returns the timestamp of the newest acked record; see `RecordProducer`."""
        return self._broker_ms

    @property
    def in_flight(self) -> int:
        """Returns the number of records that are not acked yet."""
        with self._lock:
            return sum(len(queue.records) for queue in self._all_queues())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        try:
            self.close()
        except EngagementError:
            if error is None:
                raise
            log.exception("closing after %r", error)

    def _open_queues(self, topic: str) -> list[PartitionQueue]:
        """Makes a queue per partition of a topic; waits for a connection, `block_seconds` at most.

        Raises Unavailable when the broker does not tell the number of partitions.
        """
        until = time.monotonic() + self._policy.block_seconds
        while (link := self._link) is None:
            if self._broken or self._closed or time.monotonic() > until:
                raise self._broken or self._out_of_patience(self._policy.block_seconds)
            time.sleep(ACK_TICK_SECONDS)
        queues = [PartitionQueue(topic, number) for number in range(link.partitions(topic))]
        with self._lock:
            return self._queues.setdefault(topic, queues)

    def _wait_for_room(self) -> None:
        if not self._wait(lambda: self._bytes <= self._policy.memory_bytes or self._closed, self._policy.block_seconds):
            raise self._broken or self._out_of_patience(self._policy.block_seconds)
        if self._broken:
            raise self._broken
        if self._closed:
            raise Refused("this publisher is closed; open another one")

    def _wait(self, reached: Callable[[], bool], seconds: float) -> bool:
        """Waits until `reached()` holds; the caller holds the lock.

        Returns False when time is up or the publisher cannot go on.
        """
        self._waiters += 1
        self._wake.set()
        self._settled.wait_for(lambda: reached() or self._broken is not None, seconds)
        self._waiters -= 1
        return reached()

    def _out_of_patience(self, seconds: float) -> Unavailable:
        count = sum(len(queue.records) for queue in self._all_queues())
        return Unavailable(
            f"Kafka has not acked {count} records within {seconds:g} s; is it up, and is ENGAGEMENT_KAFKA right?"
        )

    def _all_queues(self) -> list[PartitionQueue]:
        return [queue for queues in self._queues.values() for queue in queues]

    def _wake_up(self, _: object) -> None:
        self._wake.set()

    def _watch(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(WAITED_ACK_TICK_SECONDS if self._waiters else ACK_TICK_SECONDS)
            self._wake.clear()
            with self._lock:
                acked: list[InflightRecord] = []
                failed = [queue for queue in self._all_queues() if queue.reap(acked)]
                self._reporting = bool(acked)
                if acked and acked[-1].receipt is not None and acked[-1].receipt.value is not None:
                    self._broker_ms = acked[-1].receipt.value.timestamp
            if acked:
                self._conclude([(record, None) for record in acked])
            if failed:
                self._cure()

    def _cure(self) -> None:
        """Opens a new connection and sends the unacked records again, in order; until then `send` only queues."""
        with self._lock:
            link, self._link = self._link, None
        self._outages.note(CONNECTION, f"{CONNECTION} failed a record; opening another, sending unacked records again")
        while not self._stopping.is_set():
            if link is not None:
                link.drop()
                link = None
            try:
                link = self._open_link()
                cured = self._send_again(link)
            except Unavailable as error:
                self._outages.note(CONNECTION, f"{error} (trying again)")
                cured = False
                self._stopping.wait(RECONNECT_SECONDS)
            except (Refused, SettingsError) as error:
                with self._lock:
                    self._broken = error
                    self._settled.notify_all()
                return
            if cured:
                self._outages.note(CONNECTION, None)
                return
        if link is not None:
            link.drop()

    def _send_again(self, link: Link) -> bool:
        """Sends the records that are not acked over a new connection; returns False when that connection failed too."""
        with self._lock:
            everything = self._all_queues()
            outcomes = [outcome for queue in everything for outcome in queue.sort_out()]
            self._reporting = True
        self._conclude(outcomes)
        for queue in everything:
            while self._is_suspected(queue):
                if not self._send_alone(link, queue):
                    return False
        with self._lock:
            for queue in self._all_queues():
                for record in queue.records:
                    record.receipt = send_on(link, queue, record)
            self._link = link
        return True

    def _is_suspected(self, queue: PartitionQueue) -> bool:
        with self._lock:  # `send` goes on queueing
            return queue.has_suspect()

    def _send_alone(self, link: Link, queue: PartitionQueue) -> bool:
        """Sends the first record of a queue in a separate batch; returns False when it failed or was stopped."""
        outcome = send_first_alone(link, queue, self._stopping, WAITED_ACK_TICK_SECONDS)
        if outcome is None:
            return False
        with self._lock:
            queue.settle_first()
            self._reporting = True
        self._conclude([outcome])
        return outcome[1] is None

    def _conclude(self, outcomes: list[RecordOutcome]) -> None:
        """Reports outcomes: first to the senders, then to the threads that wait, so a caller whose `flush` has returned
        knows every outcome."""
        self._refusals.extend(error for record, error in outcomes if error is not None and record.on_done is None)
        report_outcomes(outcomes)
        with self._lock:
            self._reporting = False
            self._bytes -= sum(record.size for record, _ in outcomes)
            self._settled.notify_all()


def open_publisher(
    settings: Settings, policy: PublisherPolicy | None = None, link: LinkPolicy | None = None
) -> Publisher:
    """Opens a publisher with the limits of the settings. Raises Unavailable when no broker answers within 10 s."""
    bounds = policy or PublisherPolicy(
        memory_bytes=settings.producer_memory_mb * 1024 * 1024, record_bytes=settings.record_limit
    )
    sending = link or LinkPolicy(compression=settings.producer_compression, record_bytes=bounds.record_bytes)
    return Publisher(lambda: KafkaLink(settings, sending), bounds)

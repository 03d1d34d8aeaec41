"""Records in flight: one queue per partition, in order, until each record is acked or refused for good."""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Event
from typing import Any

from pipeline.errors import EngagementError
from pipeline.kafka.client import concerns_topic, is_passing, translate_error
from pipeline.kafka.link import Link, Receipt
from pipeline.record_producer import Headers, OnDone

RecordOutcome = tuple["InflightRecord", EngagementError | None]
"""A record with the error that settles it; None: the record is acked."""

log = logging.getLogger("pipeline.kafka.publisher")


class InflightRecord:
    """A record that is neither acked nor refused. A record without a receipt waits for a connection."""

    __slots__ = ("headers", "key", "on_done", "receipt", "size", "suspect", "value")

    def __init__(
        self, key: bytes | None, value: bytes | None, headers: Headers | None, on_done: OnDone | None, size: int
    ) -> None:
        self.key, self.value, self.headers, self.on_done, self.size = key, value, headers, on_done, size
        self.receipt: Receipt | None = None
        self.suspect = False


class PartitionQueue:
    """The unacked records of a partition, in order. Callers hold the publisher's lock."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition
        self.records: deque[InflightRecord] = deque()
        self.settled = 0

    def reap(self, acked: list[InflightRecord]) -> bool:
        """Moves acked records from the front to `acked`; returns True when the record at the front has failed."""
        records, before = self.records, len(acked)
        while records and (receipt := records[0].receipt) is not None and receipt.is_done and receipt.exception is None:
            acked.append(records.popleft())
        self.settled += len(acked) - before
        return bool(records) and (receipt := records[0].receipt) is not None and receipt.is_done

    def sort_out(self) -> list[RecordOutcome]:
        """Sorts the records after their connection was dropped.

        Removes and returns those that are acked or refused for good, marks suspects, keeps the others in order.
        """
        outcomes: list[RecordOutcome] = []
        kept: deque[InflightRecord] = deque()
        for record in self.records:
            done = record.receipt is not None and record.receipt.is_done
            error = record.receipt.exception if record.receipt is not None and done else None
            if done and error is None:
                outcomes.append((record, None))
            elif concerns_topic(error):
                outcomes.append((record, translate_error(error, "the broker", self.topic)))
            else:
                record.receipt = None
                record.suspect |= error is not None and not is_passing(error)
                kept.append(record)
        self.records = kept
        self.settled += len(outcomes)
        return outcomes

    def has_suspect(self) -> bool:
        """Tells whether a record may have made the connection fail."""
        return any(record.suspect for record in self.records)

    def settle_first(self) -> None:
        """Removes the record at the front, acked or refused."""
        self.records.popleft()
        self.settled += 1

    def give_up(self) -> list[InflightRecord]:
        """Removes and returns all records."""
        given_up = list(self.records)
        self.records.clear()
        self.settled += len(given_up)
        return given_up


def report_outcomes(outcomes: Iterable[RecordOutcome]) -> None:
    """Calls `on_done` of each record; the caller must not hold the publisher's lock, because `on_done` may send."""
    for record, error in outcomes:
        try:
            if record.on_done is not None:
                record.on_done(error)
        except Exception:
            log.exception("on_done failed; the record itself is settled")


def send_on(link: Link, queue: PartitionQueue, record: InflightRecord) -> Receipt:
    """Hands a record to a connection.

    A record that the connection does not accept gets the receipt of a failure; only wrong types raise (TypeError).
    """
    try:
        return link.send(queue.topic, record.value, record.key, record.headers, queue.partition)
    except TypeError:
        raise
    except Exception as error:
        return _Failure(error)


def send_first_alone(link: Link, queue: PartitionQueue, stopping: Event, tick_seconds: float) -> RecordOutcome | None:
    """Sends the first record of a queue in a separate batch and waits for the outcome.

    Returns None when the connection failed, or once `stopping` is set.
    """
    record = queue.records[0]
    record.receipt = send_on(link, queue, record)
    while not record.receipt.is_done:
        if stopping.wait(tick_seconds):
            return None
    error = record.receipt.exception
    if error is not None and is_passing(error):
        return None
    return record, None if error is None else translate_error(error, "the broker", queue.topic)


@dataclass
class _Failure:
    """The receipt of a record that the connection did not accept."""

    exception: BaseException
    is_done: bool = True
    value: None = None

    def add_both(self, done: Callable[[Any], Any]) -> None:
        done(None)

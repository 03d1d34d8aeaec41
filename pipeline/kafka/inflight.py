"""What a publisher has in flight: one queue a partition, in order, until each record is acked or refused for good."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.errors import EngagementError
from pipeline.kafka.client import Link, Receipt, concerns_topic, is_passing, translate_error
from pipeline.record_producer import Headers, OnDone

Delivery = tuple["InflightRecord", EngagementError | None]


class InflightRecord:
    """A record on its way. Without a receipt it waits for a connection."""

    __slots__ = ("headers", "key", "on_done", "receipt", "size", "suspect", "value")

    def __init__(
        self, key: bytes | None, value: bytes | None, headers: Headers | None, on_done: OnDone | None, size: int
    ) -> None:
        self.key, self.value, self.headers, self.on_done, self.size = key, value, headers, on_done, size
        self.receipt: Receipt | None = None
        self.suspect = False


class PartitionQueue:
    """The records of one partition that are not acked, in order. Its methods want the publisher's lock."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition
        self.records: deque[InflightRecord] = deque()
        self.settled = 0

    def reap(self, acked: list[InflightRecord]) -> bool:
        """Moves what is acked from the front to `acked`; True when the front has failed."""
        records, before = self.records, len(acked)
        while records and (receipt := records[0].receipt) is not None and receipt.is_done and receipt.exception is None:
            acked.append(records.popleft())
        self.settled += len(acked) - before
        return bool(records) and (receipt := records[0].receipt) is not None and receipt.is_done

    def sort_out(self) -> list[Delivery]:
        """After a connection was dropped: takes out what is acked or refused for good, marks suspects, keeps the rest
        in order."""
        deliveries: list[Delivery] = []
        kept: deque[InflightRecord] = deque()
        for record in self.records:
            done = record.receipt is not None and record.receipt.is_done
            error = record.receipt.exception if record.receipt is not None and done else None
            if done and error is None:
                deliveries.append((record, None))
            elif concerns_topic(error):
                deliveries.append((record, translate_error(error, "the broker", self.topic)))
            else:
                record.receipt = None
                record.suspect |= error is not None and not is_passing(error)
                kept.append(record)
        self.records = kept
        self.settled += len(deliveries)
        return deliveries

    def has_suspect(self) -> bool:
        return any(record.suspect for record in self.records)

    def settle_first(self) -> None:
        self.records.popleft()
        self.settled += 1

    def give_up(self) -> list[InflightRecord]:
        given_up = list(self.records)
        self.records.clear()
        self.settled += len(given_up)
        return given_up


def send_on(link: Link, queue: PartitionQueue, record: InflightRecord) -> Receipt:
    """Hands a record to a connection. A record that it does not even take has failed; only wrong types are raised
    (TypeError)."""
    try:
        return link.send(queue.topic, record.value, record.key, record.headers, queue.partition)
    except TypeError:
        raise
    except Exception as error:
        return _Failure(error)


@dataclass
class _Failure:
    """The receipt of a record that the connection did not even take."""

    exception: BaseException
    is_done: bool = True
    value: None = None

    def add_both(self, done: Callable[[Any], Any]) -> None:
        done(None)

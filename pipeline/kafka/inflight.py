"""What a publisher has in flight: one lane a partition, in order, until each record is acked or refused for good."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.errors import EngagementError
from pipeline.kafka.client import Link, Receipt, concerns_topic, explain, is_passing
from pipeline.record_producer import Headers, OnDone

Outcome = tuple["Pending", EngagementError | None]


class Pending:
    """A record on its way. Without a receipt it waits for a connection."""

    __slots__ = ("headers", "key", "on_done", "receipt", "size", "suspect", "value")

    def __init__(
        self, key: bytes | None, value: bytes | None, headers: Headers | None, on_done: OnDone | None, size: int
    ) -> None:
        self.key, self.value, self.headers, self.on_done, self.size = key, value, headers, on_done, size
        self.receipt: Receipt | None = None
        self.suspect = False


class Lane:
    """The records of one partition that are not acked, in order. Its methods want the publisher's lock."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition
        self.queue: deque[Pending] = deque()
        self.settled = 0

    def reap(self, acked: list[Pending]) -> bool:
        """Moves what is acked from the front to `acked`; True when the front has failed."""
        queue, before = self.queue, len(acked)
        while queue and (receipt := queue[0].receipt) is not None and receipt.is_done and receipt.exception is None:
            acked.append(queue.popleft())
        self.settled += len(acked) - before
        return bool(queue) and (receipt := queue[0].receipt) is not None and receipt.is_done

    def sort_out(self) -> list[Outcome]:
        """After a connection was dropped: takes out what is acked or refused for good, marks suspects, keeps the rest
        in order."""
        outcomes: list[Outcome] = []
        kept: deque[Pending] = deque()
        for record in self.queue:
            done = record.receipt is not None and record.receipt.is_done
            error = record.receipt.exception if record.receipt is not None and done else None
            if done and error is None:
                outcomes.append((record, None))
            elif concerns_topic(error):
                outcomes.append((record, explain(error, "the broker", self.topic)))
            else:
                record.receipt = None
                record.suspect |= error is not None and not is_passing(error)
                kept.append(record)
        self.queue = kept
        self.settled += len(outcomes)
        return outcomes

    def has_suspect(self) -> bool:
        return any(record.suspect for record in self.queue)

    def settle_first(self) -> None:
        self.queue.popleft()
        self.settled += 1

    def give_up(self) -> list[Pending]:
        given_up = list(self.queue)
        self.queue.clear()
        self.settled += len(given_up)
        return given_up


def send_on(link: Link, lane: Lane, record: Pending) -> Receipt:
    """Hands a record to a connection. A record that it does not even take has failed; only wrong types are raised
    (TypeError)."""
    try:
        return link.send(lane.topic, record.value, record.key, record.headers, lane.partition)
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

"""Producers for a single topic, behind the ports `Outbox` and `Messages` of the agents.

`PartitionProducer` sends records that have no key to a partition that the caller names; `KeyedProducer` sends records
whose key decides the partition. Both connect with the first record, so an agent can be built before Kafka answers.
"""

from collections.abc import Callable
from typing import Final

from pipeline.record_producer import RecordProducer

FLUSH_SECONDS: Final = 2.0
"""How long one flush waits for acks. A flush that runs out of time leaves its records in flight; the next flush goes on
waiting for them."""


class TopicProducer:
    """A lazily opened `RecordProducer` for a single topic.

    `open_producer` is called with the first record; it may block, and raises Unavailable when no broker answers.
    """

    def __init__(self, topic: str, open_producer: Callable[[], RecordProducer]) -> None:
        self._topic, self._open = topic, open_producer
        self._producer: RecordProducer | None = None

    def flush(self) -> None:
        """Blocks until all records are acked, at most FLUSH_SECONDS. Raises Unavailable, Refused."""
        if self._producer is not None:
            self._producer.flush(FLUSH_SECONDS)

    @property
    def broker_ms(self) -> int | None:
        """The broker's timestamp of the newest acked record, see `RecordProducer`; None before the first ack."""
        return self._producer.broker_ms if self._producer is not None else None

    def close(self) -> None:
        """Flushes and closes the connection, in bounded time. Raises as `flush` does."""
        if self._producer is not None:
            self._producer.close()

    def _send(self, key: bytes | None, value: bytes, partition: int | None = None) -> None:
        if self._producer is None:
            self._producer = self._open()
        self._producer.send(self._topic, key, value, partition=partition)


class PartitionProducer(TopicProducer):
    """Sends records without a key to the partition that each call names."""

    def send(self, partition: int, value: bytes) -> None:
        """Queues a record. Raises Unavailable, RecordTooLarge; Refused for a partition that the topic lacks."""
        self._send(None, value, partition)


class KeyedProducer(TopicProducer):
    """Sends records to the partition of their key."""

    def send(self, key: str, value: bytes) -> None:
        """Queues a record under the key in UTF-8. Raises Unavailable, RecordTooLarge."""
        self._send(key.encode(), value)

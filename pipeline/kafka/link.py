"""The port of a producer connection; `client.KafkaLink` implements it over kafka-python."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pipeline.record_producer import Headers

CONNECTION: Final = "the Kafka connection"
"""A producer connection as logs name it."""


class Receipt(Protocol):
    """The outcome of a record.

    `value` is None until the record is acked, then holds the `timestamp` (milliseconds since 1970) under which the log
    has the record. `exception` is kafka-python's; `translate_error` makes an error of this project of it.
    """

    @property
    def value(self) -> Any: ...

    @property
    def is_done(self) -> bool: ...
    @property
    def exception(self) -> BaseException | None: ...
    def add_both(self, done: Callable[[Any], Any]) -> Any: ...


class Link(Protocol):
    """A producer connection. A failed record may poison the connection: `drop` it then, and open another one."""

    def send(
        self, topic: str, value: bytes | None, key: bytes | None, headers: Headers | None, partition: int | None
    ) -> Receipt:
        """Queues a record, in order per partition. Raises errors of kafka-python, see `translate_error`."""

    def partitions(self, topic: str) -> int:
        """Returns the number of partitions of a topic; blocks for KAFKA_CONNECT_SECONDS at most.

        Raises Unavailable, Refused.
        """

    def drop(self) -> None:
        """Closes the connection at once, without waiting. Records that were not acked may or may not be in the log."""


@dataclass(frozen=True)
class LinkPolicy:
    """How a producer connection sends. kafka-python gives a record up after `delivery_seconds`, and then fails as a
    whole."""

    delivery_seconds: float = 1800
    compression: str = "lz4"
    record_bytes: int = 1_000_000

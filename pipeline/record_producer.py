"""The port by which sources and agents send records, without knowing of Kafka."""

from collections.abc import Callable
from typing import Protocol

from pipeline.errors import EngagementError

Headers = list[tuple[str, bytes]]

OnDone = Callable[[EngagementError | None], None]
"""Called with the outcome of a record: None when every in-sync replica has the record, else the final error. Must not
block or raise."""


class RecordProducer(Protocol):
    """Sends records. `Publisher` sends to Kafka; tests use a producer that remembers."""

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        on_done: OnDone | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
    ) -> None:
        """Queues a record. Raises RecordTooLarge at once.

        A later failure is passed to `on_done`; without `on_done`, `flush` raises it.
        """

    def flush(self, seconds: float | None = None) -> None:
        """Blocks until all records sent before are acked.

        Raises Refused for records that were refused for good, Unavailable after `seconds`.
        """

    @property
    def broker_ms(self) -> int | None:
        """Returns the timestamp of the record that was acked last, in milliseconds since 1970; None before any ack.

        It is the broker's clock where the topic has LogAppendTime.
        """

    def close(self) -> None:
        """Flushes and closes, in bounded time. Raises as `flush` does.

        Records that are not acked by then are given up; their `on_done` is called with Unavailable.
        """

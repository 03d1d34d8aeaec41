"""The port through which records leave: what producers and agents are given, so that they know nothing of Kafka."""

from collections.abc import Callable
from typing import Protocol

from pipeline.errors import EngagementError

Headers = list[tuple[str, bytes]]

OnDone = Callable[[EngagementError | None], None]
"""Told what became of a record: None when every in-sync replica has it, else why it never will. Must not block or
raise."""


class RecordProducer(Protocol):
    """Where producers put records. `Publisher` is the real one; tests have one that remembers."""

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        on_done: OnDone | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
    ) -> None:
        """Queues one record. Raises RecordTooLarge at once; what becomes of it later is told to `on_done`, else raised
        by `flush`."""

    def flush(self, seconds: float | None = None) -> None:
        """Blocks until all that was sent before is acked. Raises Refused for what never will be, Unavailable when time
        is up."""

    @property
    def broker_ms(self) -> int | None:
        """The timestamp of the record that was acked last, in milliseconds since 1970: the broker's own clock, where
        the topic has LogAppendTime. None before the first ack."""

    def close(self) -> None:
        """Flushes and ends, in bounded time. Raises as `flush` does; records that were not acked are then given up, and
        said so."""

"""The port by which requests send records: `BatchSender` sends to Kafka, tests use a sender that remembers."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pipeline.errors import EngagementError
from pipeline.record_producer import Headers


class Overloaded(EngagementError):
    """More records wait for their acks than memory allows; the same request may succeed a little later."""


class OutgoingRecord(NamedTuple):
    """A record to send; the key decides the partition."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers | None = None


class RecordSender(Protocol):
    """Sends the records of requests; belongs to one event loop."""

    def start(self) -> None:
        """Begins to connect."""
        ...

    @property
    def absence(self) -> str:
        """The reason why no record can be sent now; empty while Kafka takes records."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """Memory of the records without ack."""
        ...

    def admit(self) -> None:
        """Raises Unavailable while Kafka is away, Overloaded while too many records wait."""
        ...

    async def deliver(self, records: Sequence[OutgoingRecord]) -> dict[int, str]:
        """Sends records and returns once each is acked or refused for good: the reasons by index of the refused.

        Raises Overloaded and Unavailable; then some records may be stored all the same.
        """
        ...

    async def close(self) -> None:
        """Waits for outstanding acks, in bounded time, and closes the connection."""
        ...

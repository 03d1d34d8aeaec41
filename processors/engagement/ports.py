"""Ports of the engagement job: the log, which can be read, the store, which takes rows, and the outbox for messages.

ClickHouse implements log and store (store.py), Kafka the outbox (outbox.py); the fakes of the tests pass the same
contract tests. Each call blocks, and may raise pipeline.errors.Unavailable (worth another try: every call is
idempotent) or Refused.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from pipeline.dead_letters import DeadLetter
from pipeline.errors import Unavailable
from pipeline.observability.metrics import WorkerMetrics
from processors.columnar.hashing import Hasher, Hashes
from processors.engagement.fold.columns import EventColumns, Identities
from processors.engagement.rows.post_facts import PostEvent
from processors.engagement.state import Tagged


class LoggedEvents(NamedTuple):
    """Stored events of some posts, in the form of the fold. `posts` are hashes of post ids, one per event."""

    posts: Hashes
    events: Identities


class EventLog(Protocol):
    """The log: all stored events."""

    def known(self, partitions: Sequence[int], of: int) -> Iterator[Hashes]:
        """Reads the hashes of all posts with an event whose key belongs to `partitions` out of `of`, in blocks, in any
        order."""
        ...

    def read(self, post_ids: Sequence[str]) -> Iterator[LoggedEvents]:
        """Reads all events of these posts, in blocks. An event may come twice."""
        ...

    def read_posts(self, post_ids: Sequence[str]) -> Sequence[PostEvent]:
        """Reads the events of kind post of these posts, in the order of the log. An event may come twice."""
        ...

    def read_tagged(self, post_ids: Sequence[str]) -> Sequence[Tagged]:
        """Reads the shares and comments of the given posts with conversations of their own. Each comes once, with the
        content of its first event in the log."""
        ...

    def retired(self, post_ids: Sequence[str]) -> Mapping[str, int]:
        """Reads which of these posts retention has retired, each with the as_of of its last row, in seconds since
        1970."""
        ...

    def retired_since(self, version: int) -> tuple[Sequence[str], int]:
        """Reads the posts that were retired at `version` (milliseconds since 1970, by the store's clock) or later, and
        the highest version that was read; `version` where there is none."""
        ...

    def read_channels(self, post_ids: Sequence[str]) -> Sequence[str]:
        """Reads the channels of all events of these posts, each once."""
        ...


class RowStore(Protocol):
    """The store of events and rows. Rows can be read once the call that stores them has returned."""

    def append(self, events: EventColumns) -> None:
        """Appends new events to the log."""
        ...

    def upsert(self, table: str, columns: Mapping[str, Sequence[Any] | Any]) -> None:
        """Stores absolute rows in a table of schemas/tables.py, column by column, with values as pipeline.wire.plain
        takes them."""
        ...


class Outbox(Protocol):
    """The producer of records of the topic `conversations`."""

    def send(self, partition: int, value: bytes) -> None:
        """Queues one record."""
        ...

    def flush(self) -> None:
        """Blocks until all records that were sent before are acked. After a while without acks raises Unavailable; the
        records are still on their way then."""
        ...

    @property
    def broker_ms(self) -> int | None:
        """The broker's time at the last ack, in milliseconds since 1970; None before the first."""
        ...


@dataclass(frozen=True)
class EngagementPorts:
    """All that the engagement job reaches outside of itself.

    `write_dead_letters` blocks until the letters are safe, and raises Unavailable. `after_step` is called with each of
    ENGAGEMENT_STEPS once the step is done. `on_store` is called with the error each time that the store fails, and with
    None when the store answers again. Without an `outbox` no messages are sent.
    """

    log: EventLog
    store: RowStore
    write_dead_letters: Callable[[Sequence[DeadLetter]], None]
    hasher: Hasher
    metrics: WorkerMetrics
    outbox: Outbox | None = None
    after_step: Callable[[str], None] = lambda step: None
    on_store: Callable[[Unavailable | None], None] = lambda error: None

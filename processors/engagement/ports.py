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
    """Stored events of some posts, as the fold takes them: `posts` are hashes of post ids, one per event."""

    posts: Hashes
    events: Identities


class EventLog(Protocol):
    """The events that are stored."""

    def known(self, partitions: Sequence[int], of: int) -> Iterator[Hashes]:
        """Hashes of all posts that have an event and whose key belongs to one of `partitions` out of `of`: in blocks,
        in any order."""
        ...

    def read(self, post_ids: Sequence[str]) -> Iterator[LoggedEvents]:
        """All events of these posts, in blocks; some may come twice."""
        ...

    def read_posts(self, post_ids: Sequence[str]) -> Sequence[PostEvent]:
        """The events of kind post of these posts, in the order of the log; some may come twice."""
        ...

    def read_tagged(self, post_ids: Sequence[str]) -> Sequence[Tagged]:
        """The shares and comments of these posts that name conversations, each once, as the first of it in the log
        has it."""
        ...

    def read_channels(self, post_ids: Sequence[str]) -> Sequence[str]:
        """The channels of all events of these posts, each once."""
        ...


class RowStore(Protocol):
    """Where rows go. What is stored when a call returns can be read."""

    def append(self, events: EventColumns) -> None:
        """New events into the log."""
        ...

    def upsert(self, table: str, columns: Mapping[str, Sequence[Any] | Any]) -> None:
        """Absolute rows into a table of schemas/tables.py, column by column, their values as
        pipeline.clickhouse.insert_format.plain takes them."""
        ...


class Outbox(Protocol):
    """Where records of the topic of conversations go."""

    def send(self, partition: int, value: bytes) -> None:
        """Queues one record."""
        ...

    def flush(self) -> None:
        """Blocks until all that was sent before is acked, or for a while: then raises Unavailable, and what was sent is
        still on its way."""
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

"""What the engagement job needs from outside: a log that can be read, and a store that takes rows. ClickHouse is one
(stored.py), a fake for tests another; both pass the same contract tests.

Each call blocks. Each may raise pipeline.errors.Unavailable (worth another try: all of it is idempotent) or Refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from processors.columnar.hashing import Hashes
from processors.engagement.fold.columns import EventColumns, Identities
from processors.engagement.rows.post_facts import PostEvent
from processors.engagement.state import Tagged


class LoggedEvents(NamedTuple):
    """Stored events of some posts, as the fold takes them: `posts` are hashes of post ids, one per event."""

    posts: Hashes
    events: Identities


class Log(Protocol):
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


class Store(Protocol):
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

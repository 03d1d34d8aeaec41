"""Ports of the spike monitor. ClickHouse and Kafka implement the ports (store.py, evidence.py, sending.py), and so do
the fakes of the tests.

Each call blocks. Each may raise pipeline.errors.Unavailable (worth another try: all calls are idempotent) or Refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from processors.spikes.detection.life import RANKS, Change
from schemas.alerts import AlertState, SpikeAlert


class Evidence(NamedTuple):
    """What the store knows of the minutes of a change.

    `observed`: counts a minute, not capped; `most`: counts of the post that has most; `total`: counts of all posts.
    `voices_usual` and `channels_usual` are means over spans of the day before. `top_counts` and `top_urls` (empty: not
    known) are of `top_posts`. `seen_before`, of a conversation whose usual count is next to none: the counts of the
    `seen_days` before the spike. A value that could not be found out is None, zero or empty, and `missing` names that
    value in words.
    """

    observed: float
    total: int
    most: int
    voices: int | None
    voices_usual: float | None
    channels: int | None
    channels_usual: float | None
    top_posts: tuple[str, ...]
    top_authors: tuple[str, ...]
    sql: str
    missing: tuple[str, ...] = ()
    top_counts: tuple[int, ...] = ()
    top_urls: tuple[str, ...] = ()
    seen_before: int | None = None
    seen_days: float | None = None


class StoredSpike(NamedTuple):
    """The newest row of a spike. Minutes since 1970; `expected` counts a minute."""

    spike_id: str
    conversation: str
    state: AlertState
    started: int
    as_of: int
    version: int
    expected: float
    scale: int

    @property
    def is_sent(self) -> bool:
        """Whether the state of this row, and each state before, was sent and acked."""
        return bool(self.version & 1)

    @property
    def order(self) -> tuple[int, int]:
        """Order among the states of the spike, comparable with `Change.order`."""
        return self.as_of, RANKS[self.state]


class SpikeHistory(Protocol):
    """Stored closed minutes and spikes of the partitions of `floors`, out of `of`."""

    def oldest(self, floors: Mapping[int, int], of: int) -> int | None:
        """Returns the first closed minute that has a count, None where no minute has."""
        ...

    def closings(
        self, floors: Mapping[int, int], of: int, minutes: int, kinds: Sequence[str]
    ) -> Iterator[tuple[int, list[str], list[int]]]:
        """Yields the counts of the last `minutes` before each partition's floor, minute by minute, each conversation
        once."""
        ...

    def spikes(self, floors: Mapping[int, int], of: int, since: int) -> Sequence[StoredSpike]:
        """Returns the spikes that are open, or whose newest state is of minute `since` or later."""
        ...


class EvidenceSource(Protocol):
    """Finds out what a spike consists of: voices, channels, posts and authors."""

    def collect(self, changes: Sequence[Change]) -> Sequence[Evidence]:
        """Returns the evidence of the minutes of each change, in bounded time: incomplete where time does not
        suffice."""
        ...


class SpikeStore(Protocol):
    """Stores the rows of spikes."""

    def save(self, alerts: Sequence[SpikeAlert], versions: Sequence[int]) -> None:
        """Stores one row per alert. Rows can be read as soon as the call returns."""
        ...


class AlertSender(Protocol):
    """Sends alerts to the alert agent."""

    def send(self, key: str, value: bytes) -> None:
        """Queues one message."""
        ...

    def flush(self) -> None:
        """Blocks until all queued messages are acked. After a while raises Unavailable; the messages stay on their
        way."""
        ...

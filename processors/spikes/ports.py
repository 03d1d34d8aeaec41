"""What the watch needs from outside. ClickHouse and Kafka are one (stored.py, evidence.py, sending.py), fakes for tests
others.

Each call blocks. Each may raise pipeline.errors.Unavailable (worth another try: all of it is idempotent) or Refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from processors.spikes.life import RANKS, Change
from schemas.alerts import AlertState, SpikeAlert


class Facts(NamedTuple):
    """What the store knows of a change. `observed`: counts a minute, not capped; `most`: of the post that has most;
    `total`: of all its posts. Usual ones are means over spans of the day before. What could not be found out is None,
    zero or empty, and `missing` says in words what that is."""

    observed: float
    total: int
    most: int
    voices: int | None
    voices_usual: float | None
    channels: int
    channels_usual: float
    top_posts: tuple[str, ...]
    top_authors: tuple[str, ...]
    sql: str
    missing: tuple[str, ...] = ()


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
    def is_told(self) -> bool:
        """Whoever wrote it has sent it, and all states before it."""
        return bool(self.version & 1)

    @property
    def place(self) -> tuple[int, int]:
        """As `Change.place`."""
        return self.as_of, RANKS[self.state]


class Past(Protocol):
    """What is stored of closed minutes and of spikes, of the partitions of `floors`, out of `of`."""

    def oldest(self, floors: Mapping[int, int], of: int) -> int | None:
        """The first closed minute that has a count; None where there is none."""
        ...

    def closings(
        self, floors: Mapping[int, int], of: int, minutes: int, kinds: Sequence[str]
    ) -> Iterator[tuple[int, list[str], list[int]]]:
        """The counts of the last `minutes` before each partition's floor, minute by minute, each conversation once."""
        ...

    def spikes(self, floors: Mapping[int, int], of: int, since: int) -> Sequence[StoredSpike]:
        """Spikes that are open, or were judged at `since` or later."""
        ...


class Witness(Protocol):
    """Who can say what a spike is made of."""

    def facts(self, changes: Sequence[Change]) -> Sequence[Facts]:
        """Of the minutes that each speaks of; in bounded time, whatever it leaves out."""
        ...


class Spikes(Protocol):
    """Where rows of spikes go."""

    def save(self, alerts: Sequence[SpikeAlert], versions: Sequence[int]) -> None:
        """What is saved when the call returns can be read."""
        ...


class Messages(Protocol):
    """Where alerts go."""

    def send(self, conversation: str, value: bytes) -> None:
        """Queues one message, keyed by its conversation."""
        ...

    def flush(self) -> None:
        """Blocks until all that was sent is acked, or for a while: then raises Unavailable, and it is still on its
        way."""
        ...

"""What the source hands over, to whom, and how it is cut."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Final, Protocol

from pipeline.kafka.group_policy import GroupPolicy, Partition
from pipeline.observability.metrics import BatchStep
from processors.runtime.records import Run

BEHIND_SECONDS: Final = 5.0
"""Records older than this are a backlog: batches may then fill up, because larger ones cost less per event."""

BACKLOG_FLUSHES: Final = 8
FRESH_SECONDS: Final = 0.1
"""A batch gathers for as long, and until it has reached records as young as this. The consumer reads ahead and rests
until that is taken: what comes first was read when the last batch was cut, what has come since takes a round trip."""


@dataclass
class Batch:
    """Consecutive records of some partitions; once a second, where none come, an empty one. `stored` becomes True once
    all of it is stored, False when it was given up.

    `lags`: records of each of our partitions that come after it, None where that is not known yet. `all_read`: the
    whole group has committed all there is, and nothing more is waited for.
    """

    runs: list[Run]
    next_offsets: dict[Partition, int]
    lags: Mapping[Partition, int | None] = field(default_factory=dict)
    all_read: bool = False
    stored: "asyncio.Future[bool]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    given_up: Event = field(default_factory=Event)

    def first_offsets(self) -> dict[Partition, int]:
        """Where each partition goes on when this batch is to be read again."""
        first: dict[Partition, int] = {}
        for run in self.runs:
            first.setdefault((run.topic, run.partition), run.records[0].offset)
        return first

    def complete(self, outcome: bool | Exception) -> None:
        """Sets the outcome of the batch: True when it is stored, False when it was given up, an exception to end the
        worker."""
        if self.stored.done():
            return
        if isinstance(outcome, Exception):
            self.stored.set_exception(outcome)
        else:
            self.stored.set_result(outcome)


class Agent(Protocol):
    """Processes the batches that a source reads."""

    async def prepare(self) -> None:
        """Prepares the agent for its first batch. Raises Unavailable, after which the source calls again, or the error
        that ends the worker."""
        ...

    async def assign(self, partitions: list[int], of: int) -> None:
        """Makes these partitions, out of `of`, the agent's own. Awaited inside a rebalance."""
        ...

    async def process(self, batch: Batch) -> bool:
        """Folds and stores a batch. Returns True once all of the batch is stored, False when it was given up. Raises
        the error that ends the worker."""
        ...

    async def close(self) -> None:
        """Closes the agent after its last batch."""
        ...


@dataclass(frozen=True)
class SourcePolicy:
    """The topics of a source, and how the source cuts batches.

    `kinds`: the kind of the records of each topic. `rewind_to`: Unix time in milliseconds at which a first assignment
    starts instead of at the committed offsets. `name` is that of the agent, `label` the name of the source in metrics
    and health, which is empty for the engagement agent. `fetch_step` and `commit_step` name the steps in metrics;
    `tells_batches`: whether metrics get the sizes of the batches.
    """

    group: GroupPolicy
    kinds: Mapping[str, str]
    flush_seconds: float = 0.5
    flush_events: int = 200_000
    rewind_to: int | None = None
    name: str = "engagement"
    label: str = ""
    fetch_step: Step = "fetch"
    commit_step: Step = "commit"
    tells_batches: bool = True

    def due(self, started: float, last_cut: float, reached: Sequence[float], now: float) -> float:
        """When the batch that was begun at `started` is cut, the last one having been cut at `last_cut` (monotonic
        seconds), where this one has `reached` these times of some partitions (Unix seconds, as `now` is)."""
        if now - min(reached) > BEHIND_SECONDS:
            return started + self.flush_seconds * BACKLOG_FLUSHES
        if now - max(reached) > FRESH_SECONDS:
            return started + self.flush_seconds
        # Records wait while the batch before theirs is stored: that counts.
        return max(started + FRESH_SECONDS, last_cut + self.flush_seconds)


@dataclass(frozen=True)
class CatchUp:
    """For a run that ends: `is_due` says whether all that is read before us is done with, `then` is called each time
    that the whole group has committed all there is and an `all_read` batch is stored."""

    is_due: Callable[[], bool] = lambda: True
    then: Callable[[], None] = lambda: None

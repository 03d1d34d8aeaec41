"""Batches: what a source passes to its agent, and the policy by which the source cuts them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Final, Protocol

from pipeline.kafka.group_policy import GroupPolicy, Partition
from pipeline.observability.metrics import BatchStep
from processors.runtime.records import Run

BEHIND_SECONDS: Final = 5.0
"""The age of records above which they are a backlog. Batches may fill up then, because larger ones cost less per
event."""

BACKLOG_FLUSHES: Final = 8
FRESH_SECONDS: Final = 0.1
"""A batch is filled for at least this long, and until its newest record is younger than this. The consumer reads ahead
and then rests until its records are taken: the first records of a batch were read when the last batch was cut, and
newer ones take a round trip."""


@dataclass
class Batch:
    """Consecutive records of some partitions. An agent without records gets an empty batch once a second.

    `next_offsets`: the offsets to commit once the batch is stored. `lags`: the number of records after the batch in
    each owned partition, None where it is unknown. `all_read`: the whole group has committed all records, and the run
    ends. `stored` becomes True once all of the batch is stored, False when it was given up. `given_up` is set by the
    source when a rebalance or a stop does not wait for the batch any longer.
    """

    runs: list[Run]
    next_offsets: dict[Partition, int]
    lags: Mapping[Partition, int | None] = field(default_factory=dict)
    all_read: bool = False
    stored: "asyncio.Future[bool]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    given_up: Event = field(default_factory=Event)

    def first_offsets(self) -> dict[Partition, int]:
        """Returns the offset of each partition from which the batch is read again."""
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
    fetch_step: BatchStep = "fetch"
    commit_step: BatchStep = "commit"
    tells_batches: bool = True

    def due(self, started: float, last_cut: float, reached: Sequence[float], now: float) -> float:
        """Returns the monotonic time at which to cut a batch begun at `started`, after the last batch was cut at
        `last_cut` (monotonic seconds). `reached`: Unix times of the newest record of some partitions; `now` is Unix
        time too."""
        if now - min(reached) > BEHIND_SECONDS:
            return started + self.flush_seconds * BACKLOG_FLUSHES
        if now - max(reached) > FRESH_SECONDS:
            return started + self.flush_seconds
        # The time counts in which records waited while the batch before theirs was stored.
        return max(started + FRESH_SECONDS, last_cut + self.flush_seconds)


@dataclass(frozen=True)
class CatchUp:
    """The end of a run that ends. `is_due` returns whether the sources before this one have caught up. `then` is called
    each time that the whole group has committed all records and an `all_read` batch is stored."""

    is_due: Callable[[], bool] = lambda: True
    then: Callable[[], None] = lambda: None

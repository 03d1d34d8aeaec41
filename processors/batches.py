"""What the source hands over, to whom, and how it is cut."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Protocol

from pipeline.group import GroupPolicy, Partition
from processors.engagement.decoding import Run


@dataclass
class Batch:
    """Consecutive records of some partitions. `stored` becomes True once all of it is stored, False when it was given
    up."""

    runs: list[Run]
    next_offsets: dict[Partition, int]
    stored: "asyncio.Future[bool]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    given_up: Event = field(default_factory=Event)

    def settle(self, outcome: bool | Exception) -> None:
        """Says what became of it; an exception ends the worker."""
        if self.stored.done():
            return
        if isinstance(outcome, Exception):
            self.stored.set_exception(outcome)
        else:
            self.stored.set_result(outcome)


class Host(Protocol):
    """Who folds and stores what the source reads."""

    async def prepare(self) -> None:
        """Before the first record. Raises Unavailable (asked again), or what ends the worker."""
        ...

    async def claim(self, partitions: list[int], of: int) -> None:
        """These partitions, out of `of`, are ours from now on; awaited inside a rebalance."""
        ...

    async def close(self) -> None:
        """After the last record."""
        ...


@dataclass(frozen=True)
class SourcePolicy:
    """How batches are cut. `rewind_to`: milliseconds since 1970, where a first assignment starts instead of the
    committed offsets."""

    group: GroupPolicy
    kinds: Mapping[str, str]
    flush_seconds: float = 0.5
    flush_events: int = 200_000
    rewind_to: int | None = None

"""Ports of a source, and the group of all sources of a worker."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from faust.types import ChannelT

from pipeline.kafka.group import Member
from pipeline.kafka.group_policy import Partition
from pipeline.observability.health import HealthState, WatchdogState
from pipeline.observability.metrics import WorkerMetrics
from processors.runtime.batch import Agent

OpenMember = Callable[[Callable[[], Awaitable[None]], Callable[[frozenset[Partition]], Awaitable[bool]]], Member]
"""Makes the member of the consumer group, given the callbacks `on_revoked` and `on_assigned` of a rebalance."""


class GroupedSource(Protocol):
    """The part of a source for its group."""

    @property
    def is_caught_up(self) -> bool: ...

    async def stop(self) -> None: ...


class SourceGroup:
    """The sources of one worker by name. They stop together, and one may wait until another has caught up."""

    def __init__(self) -> None:
        self._sources: dict[str, GroupedSource] = {}

    def add(self, name: str, source: GroupedSource) -> None:
        """Adds a source."""
        self._sources[name] = source

    def is_caught_up(self, name: str) -> bool:
        """Returns whether the source of that name has caught up; False before it was added."""
        source = self._sources.get(name)
        return source is not None and source.is_caught_up

    def beside(self, source: GroupedSource) -> list[GroupedSource]:
        """Returns all sources but this one."""
        return [other for other in self._sources.values() if other is not source]


@dataclass(frozen=True)
class SourcePorts:
    """All that a source reaches outside of itself."""

    agent: Agent
    channel: ChannelT[Any]
    open_member: OpenMember
    metrics: WorkerMetrics
    health: HealthState
    watchdog: WatchdogState
    group: SourceGroup

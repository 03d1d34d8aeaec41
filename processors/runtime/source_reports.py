"""Reports of a source to metrics, health and its watchdog."""

import time
from typing import Final

from pipeline.errors import Unavailable
from pipeline.kafka.group import Member
from pipeline.kafka.group_policy import Partition
from pipeline.observability.health import HealthState, StoreName, WatchdogState
from pipeline.observability.metrics import WorkerMetrics
from processors.runtime.batch import SourcePolicy

MEMBERSHIP_SECONDS: Final = 3.0
"""The time between two questions to the broker whether the worker is a member of the group. Asked each second while it
is not. A question takes two requests."""


class SourceReports:
    """Reports the group, the stores and the lag of one source."""

    def __init__(
        self, policy: SourcePolicy, metrics: WorkerMetrics, health: HealthState, watchdog: WatchdogState
    ) -> None:
        self._group, self._label = policy.group.group, policy.label
        self._metrics, self._health, self._watchdog = metrics, health, watchdog
        self._look_at = 0.0

    def beat(self) -> None:
        """Notes that the event loop runs."""
        self._health.beat(time.monotonic())

    @property
    def is_ready(self) -> bool:
        return self._health.report(time.monotonic()).ready

    def note_assignment(self, partitions: int) -> None:
        """Notes that the group has assigned partitions, or none."""
        self._health.note_assignment(partitions, self._label)

    def note_commit(self) -> None:
        """Notes that offsets moved and are committed."""
        self._metrics.note_commit(time.time())
        self._watchdog.note_commit(time.monotonic())

    def note_away(self, error: Unavailable, store: StoreName = "kafka") -> None:
        """Notes that a store does not answer."""
        if store == "kafka":
            self._metrics.count_kafka_error()
        self._health.note_away(store, str(error), time.monotonic())
        self._watchdog.note_away(store, time.monotonic())

    def note_back(self, store: StoreName = "kafka") -> None:
        """Notes that a store answers."""
        self._health.note_back(store)
        self._watchdog.note_back(store, time.monotonic())

    def note_lags(self, lags: dict[Partition, int]) -> None:
        """Notes the number of records of each owned partition that are not committed."""
        self._metrics.set_lag(lags, self._label)
        self._watchdog.note_lag(sum(lags.values()), time.monotonic())

    async def look_at_membership(self, member: Member) -> None:
        """Asks the broker whether the worker is a member of the group, when a question is due. Raises Unavailable."""
        if member.is_settled and time.monotonic() < self._look_at:
            return
        standing = await member.standing()
        now = time.monotonic()
        if standing == "outside":
            self._health.note_outside(
                f"not a member of the consumer group {self._group}: waiting to be let in", self._label
            )
            self._watchdog.note_outside(self._group, now)
        else:
            self._watchdog.note_member(now)
        if standing == "rebalancing":
            self._health.note_outside(
                f"the consumer group {self._group} is rebalancing: waiting for partitions", self._label
            )
        if standing == "member":
            self._health.note_member(self._label)
            self._look_at = now + MEMBERSHIP_SECONDS

    def stuck(self) -> str | None:
        """Returns why the process has to end; None while it need not."""
        reason = self._watchdog.stuck(time.monotonic())
        if reason is not None:
            self._health.note_failure(reason)
        return reason

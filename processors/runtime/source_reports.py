"""What a source tells metrics, health and its watchdog of itself."""

import logging
import time
from typing import Final

from pipeline.errors import Unavailable
from pipeline.kafka.group import Member
from pipeline.kafka.group_policy import Partition
from pipeline.observability.health import HealthState, StoreName, WatchdogState
from pipeline.observability.metrics import WorkerMetrics
from processors.runtime.batch import SourcePolicy

MEMBERSHIP_SECONDS: Final = 3.0
"""How often the broker is asked whether it counts us in the group; each second while it does not. Two requests."""

log = logging.getLogger(__name__)


class SourceReports:
    """Says for one source how its group, its stores and its lag are."""

    def __init__(
        self, policy: SourcePolicy, metrics: WorkerMetrics, health: HealthState, watchdog: WatchdogState
    ) -> None:
        self._group, self._label = policy.group.group, policy.label
        self._metrics, self._health, self._watchdog = metrics, health, watchdog
        self._look_at = 0.0

    def beat(self) -> None:
        """The event loop runs."""
        self._health.beat(time.monotonic())

    @property
    def is_ready(self) -> bool:
        return self._health.report(time.monotonic()).ready

    def note_assignment(self, partitions: int) -> None:
        """The group has spoken."""
        self._health.note_assignment(partitions, self._label)

    def note_commit(self) -> None:
        """Offsets moved and are committed."""
        self._metrics.note_commit(time.time())
        self._watchdog.note_commit(time.monotonic())

    def note_away(self, error: Unavailable, store: StoreName = "kafka") -> None:
        """A store does not answer."""
        log.warning("%s", error)
        if store == "kafka":
            self._metrics.count_kafka_error()
        self._health.note_away(store, str(error), time.monotonic())
        self._watchdog.note_away(store, time.monotonic())

    def note_back(self, store: StoreName = "kafka") -> None:
        """A store answers."""
        self._health.note_back(store)
        self._watchdog.note_back(store, time.monotonic())

    def note_lags(self, lags: dict[Partition, int]) -> None:
        """Records of each of our partitions that are not committed."""
        self._metrics.set_lag(lags, self._label)
        self._watchdog.note_lag(sum(lags.values()), time.monotonic())

    async def look_at_membership(self, member: Member) -> None:
        """Asks the broker whether it counts us in the group, when it is time to. Raises Unavailable."""
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
        """Why the process has to end, once it has."""
        reason = self._watchdog.stuck(time.monotonic())
        if reason is not None:
            self._health.note_failure(reason)
        return reason

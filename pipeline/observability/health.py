"""Is the worker alive, is it ready, is it stuck: pure logic, time is an argument (seconds of any monotonic clock).

    live    the process works, or waits for a store that is away (law 10): false only when it should be restarted
    ready   Kafka and ClickHouse answer, the broker counts this worker in each of its groups, and each group has
            assigned partitions (none, to a worker too many)

Waiting is not being stuck. The watchdog counts only time in which lag is left *and* the stores answer: while
ClickHouse or Kafka is known to be away its clock stands still, so an outage of an hour restarts nobody. A worker that
has its stores and its lag and commits nothing for `minutes` is stuck, and its supervisor does better with a new
process. So it does with a worker that the broker does not count in its group for `outside_seconds` in which Kafka
answered: such a worker sees no lag, since it has no partitions.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from threading import Lock
from typing import Final, Literal

StoreName = Literal["clickhouse", "kafka"]

NO_PARTITIONS: Final = "no partitions yet: waiting for the consumer group"


@dataclass(frozen=True)
class HealthPolicy:
    """`silent_seconds`: how long the event loop may go without a `beat`. A fold, a cold look-up or a first compilation
    holds it for tens of seconds at most, so two minutes are a hang."""

    silent_seconds: float = 120


@dataclass(frozen=True)
class Report:
    """What /healthz and /readyz say. `reasons` are sentences, empty when all is well."""

    live: bool
    ready: bool
    reasons: tuple[str, ...]


class HealthState:
    """Moves as the worker tells it; read by the HTTP thread at any time."""

    def __init__(
        self,
        policy: HealthPolicy | None = None,
        on_ready: Callable[[bool], None] = lambda ready: None,
        groups: Collection[str] = ("",),
    ) -> None:
        """`on_ready` is called after every change with the new value (the `ready` gauge). `groups`: those that have to
        have spoken."""
        self._policy = policy or HealthPolicy()
        self._on_ready = on_ready
        self._lock = Lock()
        self._away: dict[StoreName, tuple[str, float]] = {}
        self._silent = set(groups)
        self._outside: dict[str, str] = {}
        self._failure: str | None = None
        self._beaten: float | None = None

    def note_away(self, store: StoreName, reason: str, now: float) -> None:
        """`store` does not answer. The first call of an outage sets its beginning; later ones only the reason."""
        with self._lock:
            self._away[store] = (reason, self._away.get(store, (reason, now))[1])
        self._tell()

    def note_back(self, store: StoreName) -> None:
        with self._lock:
            self._away.pop(store, None)
        self._tell()

    def note_assignment(self, partitions: int, group: str = "") -> None:
        """The group has spoken. Zero is an answer: a worker too many stands by, and is ready."""
        with self._lock:
            self._silent.discard(group)
        self._tell()

    def note_outside(self, reason: str, group: str = "") -> None:
        """The broker does not count this worker in the group, or its partitions are being handed out anew."""
        with self._lock:
            self._outside[group] = reason
        self._tell()

    def note_member(self, group: str = "") -> None:
        """The broker counts this worker in the group, and it has its partitions."""
        with self._lock:
            self._outside.pop(group, None)
        self._tell()

    def note_failure(self, reason: str) -> None:
        """The worker cannot go on (stuck, fuse, refused); it stays so until the process ends."""
        with self._lock:
            self._failure = self._failure or reason
        self._tell()

    def beat(self, now: float) -> None:
        """The event loop runs. Where it is never called silence is not judged."""
        self._beaten = now

    def report(self, now: float) -> Report:
        with self._lock:
            failure, away, silent, beaten = self._failure, dict(self._away), bool(self._silent), self._beaten
            outside = [reason for _, reason in sorted(self._outside.items())]
        fatal = [failure] if failure else []
        if beaten is not None and now - beaten > self._policy.silent_seconds:
            fatal.append(f"the event loop has not moved for {now - beaten:.0f} s")
        waiting = [
            f"waiting for {store} since {now - since:.0f} s: {reason}"
            for store, (reason, since) in sorted(away.items())
        ]
        waiting.extend(outside)
        if silent:
            waiting.append(NO_PARTITIONS)
        return Report(live=not fatal, ready=not fatal and not waiting, reasons=(*fatal, *waiting))

    def _tell(self) -> None:
        with self._lock:
            ready = not (self._failure or self._away or self._silent or self._outside)
        self._on_ready(ready)


@dataclass(frozen=True)
class WatchdogPolicy:
    """`minutes`: `ENGAGEMENT_STUCK_MINUTES`. `outside_seconds`: a member that was dropped is back within a minute: the
    request that was under way may take aiokafka's 40 s, and a rebalance as long as a session, 10 s. So two minutes are
    a hang."""

    minutes: float = 5
    outside_seconds: float = 120


class WatchdogState:
    """Counts the time in which the worker could have committed and did not, and that in which it could have been in its
    group and was not. Any thread may tell it."""

    def __init__(self, policy: WatchdogPolicy) -> None:
        self._policy = policy
        self._lock = Lock()
        self._lag = 0
        self._away: set[StoreName] = set()
        self._outside: str | None = None
        self._stuck_clock, self._outside_clock = _StopWatch(), _StopWatch()

    def note_commit(self, now: float) -> None:
        """Offsets moved and are committed. A commit of the same offsets is no progress: do not note it."""
        with self._lock:
            self._stuck_clock.reset()
            self._set_clocks(now)

    def note_progress(self, now: float) -> None:
        """Something that must come before the next commit goes forward, and will end."""
        self.note_commit(now)

    def note_lag(self, lag: int, now: float) -> None:
        """Records left in all partitions of this worker. None left: there is nothing to be stuck on."""
        with self._lock:
            self._lag = lag
            if lag <= 0:
                self._stuck_clock.reset()
            self._set_clocks(now)

    def note_outside(self, group: str, now: float) -> None:
        """The broker does not count this worker in that group. A rebalance is not meant: the group's members are still
        members."""
        with self._lock:
            self._outside = group
            self._set_clocks(now)

    def note_member(self, now: float) -> None:
        """The broker counts this worker in its group."""
        with self._lock:
            self._outside = None
            self._outside_clock.reset()
            self._set_clocks(now)

    def note_away(self, store: StoreName, now: float) -> None:
        with self._lock:
            self._away.add(store)
            self._set_clocks(now)

    def note_back(self, store: StoreName, now: float) -> None:
        with self._lock:
            self._away.discard(store)
            self._set_clocks(now)

    def stuck(self, now: float) -> str | None:
        """A sentence with the cure once as much countable time has passed as the policy says, else None."""
        with self._lock:
            lag, group = self._lag, self._outside
            minutes, outside = self._stuck_clock.seconds(now) / 60, self._outside_clock.seconds(now)
        if outside >= self._policy.outside_seconds:
            return (
                f"outside: Kafka answers, and for {outside:.0f} s it has not counted this worker in the consumer group "
                f"{group}; the process ends so that its supervisor restarts it"
            )
        if minutes < self._policy.minutes:
            return None
        return (
            f"stuck: {lag} records are left, Kafka and ClickHouse answer, and nothing was committed for "
            f"{minutes:.1f} minutes; the process ends so that its supervisor restarts it "
            f"(ENGAGEMENT_STUCK_MINUTES={self._policy.minutes:g})"
        )

    def _set_clocks(self, now: float) -> None:
        self._stuck_clock.run(self._lag > 0 and not self._away, now)
        self._outside_clock.run(self._outside is not None and "kafka" not in self._away, now)


class _StopWatch:
    """Seconds that counted."""

    def __init__(self) -> None:
        self._counted = 0.0
        self._running_since: float | None = None

    def run(self, counts: bool, now: float) -> None:
        """From now on time counts, or does not."""
        self._counted = self.seconds(now)
        self._running_since = now if counts else None

    def reset(self) -> None:
        self._counted, self._running_since = 0.0, None

    def seconds(self, now: float) -> float:
        return self._counted + (now - self._running_since if self._running_since is not None else 0.0)

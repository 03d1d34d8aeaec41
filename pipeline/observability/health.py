"""Health of a worker: live, ready or stuck. Pure logic; time is an argument, in seconds of any monotonic clock.

    live    the process works, or waits for a store that is away (law 10); a process that is not live needs a restart
    ready   Kafka and ClickHouse answer, the broker counts this worker in each of its groups, and each group has
            assigned partitions (none to a surplus worker)

The watchdog counts only time in which lag is left *and* both stores answer: while ClickHouse or Kafka is away its clock
stands still, so an outage of an hour restarts no worker. A worker that commits nothing for `minutes` of that time is
stuck and is to be replaced by a new process. The same holds for a worker that the broker has not counted in its group
for `outside_seconds` in which Kafka answered: such a worker has no partitions, and hence sees no lag.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from threading import Lock
from typing import Final, Literal

StoreName = Literal["clickhouse", "kafka"]
STORE_TITLES: Final[dict[StoreName, str]] = {"clickhouse": "ClickHouse", "kafka": "Kafka"}
"""Stores as logs name them."""

COMPILING: Final = "compiling kernels"
"""The beginning of the reason of a worker that compiles before it joins its groups, which may take minutes."""

NO_PARTITIONS: Final = "no partitions yet: waiting for the consumer group"


@dataclass(frozen=True)
class HealthPolicy:
    """When a silent event loop counts as hung.

    `silent_seconds` is the longest time without a `beat`. A fold, a cold read or a first compilation holds the event
    loop for tens of seconds at most, so two minutes are a hang.
    """

    silent_seconds: float = 120


@dataclass(frozen=True)
class Report:
    """The answer of /healthz and /readyz. `reasons` are sentences; empty when the worker is well."""

    live: bool
    ready: bool
    reasons: tuple[str, ...]


class HealthState:
    """The health of a worker; any thread may read at any time."""

    def __init__(
        self,
        policy: HealthPolicy | None = None,
        on_ready: Callable[[bool], None] = lambda ready: None,
        groups: Collection[str] = ("",),
        on_store: Callable[[StoreName, str | None], None] = lambda store, reason: None,
    ) -> None:
        """`on_ready` gets the readiness after every note. `groups` are the groups that have to assign first. `on_store`
        gets each note about a store: why it is away, or None where it is back."""
        self._policy = policy or HealthPolicy()
        self._on_ready, self._on_store = on_ready, on_store
        self._lock = Lock()
        self._away: dict[StoreName, tuple[str, float]] = {}
        self._silent = set(groups)
        self._outside: dict[str, str] = {}
        self._failure: str | None = None
        self._loading: str | None = None
        self._beaten: float | None = None

    def note_away(self, store: StoreName, reason: str, now: float) -> None:
        """Marks a store as away; the first note of an outage sets the beginning, later notes the reason."""
        with self._lock:
            self._away[store] = (reason, self._away.get(store, (reason, now))[1])
        self._on_store(store, reason)
        self._tell()

    def note_back(self, store: StoreName) -> None:
        """Marks a store as back."""
        with self._lock:
            self._away.pop(store, None)
        self._on_store(store, None)
        self._tell()

    def note_assignment(self, partitions: int, group: str = "") -> None:
        """Notes that a group has assigned partitions; with zero a surplus worker stands by, and is ready."""
        with self._lock:
            self._silent.discard(group)
        self._tell()

    def note_outside(self, reason: str, group: str = "") -> None:
        """Marks this worker as outside the group, or the group as rebalancing."""
        with self._lock:
            self._outside[group] = reason
        self._tell()

    def note_member(self, group: str = "") -> None:
        """Marks this worker as a member with partitions."""
        with self._lock:
            self._outside.pop(group, None)
        self._tell()

    def note_loading(self, said: str | None) -> None:
        """Notes the progress of loading before the worker joins a group, in words; None at the end."""
        with self._lock:
            self._loading = said
        self._tell()

    def note_failure(self, reason: str) -> None:
        """Notes that the worker cannot go on (stuck, fuse, refused), until the process ends."""
        with self._lock:
            self._failure = self._failure or reason
        self._tell()

    def beat(self, now: float) -> None:
        """Notes a sign of life of the event loop. Silence is judged only after a first beat."""
        self._beaten = now

    def report(self, now: float) -> Report:
        """Returns the health at the time `now`."""
        with self._lock:
            failure, away, silent, beaten = self._failure, dict(self._away), bool(self._silent), self._beaten
            loading = self._loading
            outside = [reason for _, reason in sorted(self._outside.items())]
        fatal = [failure] if failure else []
        if beaten is not None and now - beaten > self._policy.silent_seconds:
            fatal.append(f"the event loop has not moved for {now - beaten:.0f} s")
        waiting = [
            f"waiting for {store} since {now - since:.0f} s: {reason}"
            for store, (reason, since) in sorted(away.items())
        ]
        waiting.extend(outside)
        if loading or silent:
            waiting.append(loading or NO_PARTITIONS)
        return Report(live=not fatal, ready=not fatal and not waiting, reasons=(*fatal, *waiting))

    def _tell(self) -> None:
        with self._lock:
            ready = not (self._failure or self._away or self._silent or self._outside or self._loading)
        self._on_ready(ready)


@dataclass(frozen=True)
class WatchdogPolicy:
    """When a worker counts as stuck.

    `minutes` is ENGAGEMENT_STUCK_MINUTES. A member that was dropped is back within a minute: the request under way may
    take the 40 s of aiokafka, and a rebalance the 10 s of a session; `outside_seconds` of two minutes are a hang.
    """

    minutes: float = 5
    outside_seconds: float = 120


class WatchdogState:
    """Counts the time in which the worker could have committed, or have been in its group, and was not.

    Any thread may call.
    """

    def __init__(self, policy: WatchdogPolicy) -> None:
        self._policy = policy
        self._lock = Lock()
        self._lag = 0
        self._away: set[StoreName] = set()
        self._outside: str | None = None
        self._stuck_clock, self._outside_clock = _StopWatch(), _StopWatch()

    def note_commit(self, now: float) -> None:
        """Notes a commit that moved offsets; a commit of the same offsets is no progress and must not be noted."""
        with self._lock:
            self._stuck_clock.reset()
            self._set_clocks(now)

    def note_progress(self, now: float) -> None:
        """Notes that work which the next commit waits for goes forward, and will end."""
        self.note_commit(now)

    def note_lag(self, lag: int, now: float) -> None:
        """Notes the records left in all partitions of this worker; without any, the worker is not stuck."""
        with self._lock:
            self._lag = lag
            if lag <= 0:
                self._stuck_clock.reset()
            self._set_clocks(now)

    def note_outside(self, group: str, now: float) -> None:
        """Marks this worker as outside a group; a rebalance does not count."""
        with self._lock:
            self._outside = group
            self._set_clocks(now)

    def note_member(self, now: float) -> None:
        """Marks this worker as a member of the group."""
        with self._lock:
            self._outside = None
            self._outside_clock.reset()
            self._set_clocks(now)

    def note_away(self, store: StoreName, now: float) -> None:
        """Marks a store as away; the clocks stand still meanwhile."""
        with self._lock:
            self._away.add(store)
            self._set_clocks(now)

    def note_back(self, store: StoreName, now: float) -> None:
        """Marks a store as back."""
        with self._lock:
            self._away.discard(store)
            self._set_clocks(now)

    def stuck(self, now: float) -> str | None:
        """Returns a sentence with the cure once the policy's time has passed, else None."""
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
    """A stopwatch with stop, resume and reset."""

    def __init__(self) -> None:
        self._counted = 0.0
        self._running_since: float | None = None

    def run(self, counts: bool, now: float) -> None:
        """Starts or stops counting at the time `now`."""
        self._counted = self.seconds(now)
        self._running_since = now if counts else None

    def reset(self) -> None:
        """Sets the seconds to 0 and stops."""
        self._counted, self._running_since = 0.0, None

    def seconds(self, now: float) -> float:
        """Returns the seconds counted so far."""
        return self._counted + (now - self._running_since if self._running_since is not None else 0.0)

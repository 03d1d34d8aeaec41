"""Is the worker alive, is it ready, is it stuck: pure logic, time is an argument (seconds of any monotonic clock).

    live    the process works, or waits for a store that is away (law 10): false only when it should be restarted
    ready   Kafka and ClickHouse answer, and the group has assigned partitions (none, to a worker too many)

Waiting is not being stuck. The watchdog counts only time in which lag is left *and* the stores answer: while
ClickHouse or Kafka is known to be away its clock stands still, so an outage of an hour restarts nobody. A worker that
has its stores and its lag and commits nothing for `minutes` is stuck, and its supervisor does better with a new
process.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from threading import Lock
from typing import Final, Literal

Store = Literal["clickhouse", "kafka"]

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
        self._away: dict[Store, tuple[str, float]] = {}
        self._silent = set(groups)
        self._failure: str | None = None
        self._beaten: float | None = None

    def note_away(self, store: Store, reason: str, now: float) -> None:
        """`store` does not answer. The first call of an outage sets its beginning; later ones only the reason."""
        with self._lock:
            self._away[store] = (reason, self._away.get(store, (reason, now))[1])
        self._tell()

    def note_back(self, store: Store) -> None:
        with self._lock:
            self._away.pop(store, None)
        self._tell()

    def note_assignment(self, partitions: int, group: str = "") -> None:
        """The group has spoken. Zero is an answer: a worker too many stands by, and is ready."""
        with self._lock:
            self._silent.discard(group)
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
        fatal = [failure] if failure else []
        if beaten is not None and now - beaten > self._policy.silent_seconds:
            fatal.append(f"the event loop has not moved for {now - beaten:.0f} s")
        waiting = [
            f"waiting for {store} since {now - since:.0f} s: {reason}"
            for store, (reason, since) in sorted(away.items())
        ]
        if silent:
            waiting.append(NO_PARTITIONS)
        return Report(live=not fatal, ready=not fatal and not waiting, reasons=(*fatal, *waiting))

    def _tell(self) -> None:
        with self._lock:
            ready = self._failure is None and not self._away and not self._silent
        self._on_ready(ready)


@dataclass(frozen=True)
class WatchdogPolicy:
    """`minutes`: `ENGAGEMENT_STUCK_MINUTES`."""

    minutes: float = 5


class WatchdogState:
    """Counts the time in which the worker could have committed and did not. Any thread may tell it."""

    def __init__(self, policy: WatchdogPolicy) -> None:
        self._policy = policy
        self._lock = Lock()
        self._lag = 0
        self._away: set[Store] = set()
        self._counted = 0.0
        self._running_since: float | None = None

    def note_commit(self, now: float) -> None:
        """Offsets moved and are committed. A commit of the same offsets is no progress: do not note it."""
        with self._lock:
            self._counted = 0.0
            self._running_since = now if self._counts() else None

    def note_progress(self, now: float) -> None:
        """Something that must come before the next commit goes forward, and will end."""
        self.note_commit(now)

    def note_lag(self, lag: int, now: float) -> None:
        """Records left in all partitions of this worker. None left: there is nothing to be stuck on."""
        with self._lock:
            self._pass(now)
            self._lag = lag
            if lag <= 0:
                self._counted = 0.0
            self._running_since = now if self._counts() else None

    def note_away(self, store: Store, now: float) -> None:
        with self._lock:
            self._pass(now)
            self._away.add(store)
            self._running_since = None

    def note_back(self, store: Store, now: float) -> None:
        with self._lock:
            self._pass(now)
            self._away.discard(store)
            self._running_since = now if self._counts() else None

    def stuck(self, now: float) -> str | None:
        """A sentence with the cure once `minutes` of countable time have passed, else None."""
        with self._lock:
            running = now - self._running_since if self._running_since is not None else 0.0
            minutes, lag = (self._counted + running) / 60, self._lag
        if minutes < self._policy.minutes:
            return None
        return (
            f"stuck: {lag} records are left, Kafka and ClickHouse answer, and nothing was committed for "
            f"{minutes:.1f} minutes; the process ends so that its supervisor restarts it "
            f"(ENGAGEMENT_STUCK_MINUTES={self._policy.minutes:g})"
        )

    def _counts(self) -> bool:
        return self._lag > 0 and not self._away

    def _pass(self, now: float) -> None:
        if self._running_since is not None:
            self._counted += now - self._running_since
            self._running_since = now

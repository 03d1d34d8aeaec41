"""The pace of sending: as fast as possible, at a rate, or on the time scale of the events.

>>> pace = Pace(PacePolicy(speed=60), started=0.0)
>>> pace.delay(now=0.0, occurred=1000.0), pace.delay(now=0.5, occurred=1060.0)
(0.0, 0.5)
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PacePolicy:
    """Bounds of the pace; None: no bound. `rate`: records a second at most. `speed`: seconds of event time a second."""

    rate: float | None = None
    speed: float | None = None


class Pace:
    """The wait before each record. Pure: the time is an argument, in seconds."""

    def __init__(self, policy: PacePolicy, started: float) -> None:
        self._policy, self._started = policy, started
        self._records = 0
        self._first: float | None = None

    def delay(self, now: float, occurred: float) -> float:
        """Returns the seconds until the next record, whose event time is `occurred`, is due; 0 for a late record."""
        due = self._started
        if self._policy.rate is not None:
            due = max(due, self._started + self._records / self._policy.rate)
        if self._policy.speed is not None:
            self._first = occurred if self._first is None else self._first
            due = max(due, self._started + (occurred - self._first) / self._policy.speed)
        self._records += 1
        return max(0.0, due - now)

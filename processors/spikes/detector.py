"""One series alone: a bank of one, with a verdict that a person can read."""

from typing import NamedTuple

import numpy as np

from processors.spikes.bank import Bank, Verdicts
from processors.spikes.policy import HOUR, SHIPPED, SpikePolicy


class Verdict(NamedTuple):
    """What a count means, on the scale where it stands out most."""

    score: float
    """observed / level: from the policy's threshold (1) on it fires; 0 while nothing can fire and for a count of 0."""
    expected: float
    """The usual count of that scale at this hour of the day."""
    reasons: tuple[str, ...]
    """Why, in words; begins with `warming up` in a series' first day."""
    observed: float
    level: float
    scale_seconds: int
    fires: bool
    warming_up: bool


class Detector:
    """Judges one series of counts as they come. Causal, constant time and memory; equal counts give equal state."""

    def __init__(self, width_seconds: int = 60, policy: SpikePolicy = SHIPPED) -> None:
        """Buckets of that many seconds. Raises SettingsError for a width that `policy.cut` does not know."""
        self._bank = Bank(width_seconds, policy, capacity=1)
        self._rows = self._bank.add()

    def update(self, time: float, count: float) -> Verdict:
        """Takes the count of the bucket of `time` (seconds since 1970); buckets that were left out count 0.

        Raises ValueError for a count that is below 0 or not whole, and for a time before the last one's bucket.

        >>> detector = Detector()
        >>> detector.update(1_700_000_000, 3).reasons
        ('warming up: 0.0 of 24 h seen, nothing fires before 1 h',)
        """
        if not np.isfinite(time):
            raise ValueError(f"time: {time} is not a time")
        return verdicts_of(self._bank.update_many(self._rows, int(time // 1), np.array([count])), self._bank.policy)[0]

    def firing_level(self, time: float) -> int:
        """The least count of the bucket of `time` that is sure to fire; see `Bank.firing_levels`."""
        return self._bank.firing_level(0, int(time // 1))

    def state(self) -> bytes:
        """All that is known: equal after equal counts."""
        return self._bank.state(0)


def verdicts_of(verdicts: Verdicts, policy: SpikePolicy = SHIPPED) -> list[Verdict]:
    """The rows of a bank's verdicts, each with its reasons. Some us each: meant for those that fire."""
    columns = zip(*(column.tolist() for column in verdicts), strict=True)
    found = []
    for score, observed, expected, level, scale, age, most, fires in columns:
        young = age < policy.young_hours
        said = _reasons(observed, expected, level, scale, most) if score > 0.0 else ()
        if young:
            said = (_warming(age, policy), *said)
        found.append(Verdict(score, expected, said, observed, level, scale, fires, young))
    return found


def _warming(age: float, policy: SpikePolicy) -> str:
    seen = f"warming up: {age:.1f} of {policy.young_hours:g} h seen"
    if age < policy.silent_hours:
        return f"{seen}, nothing fires before {policy.silent_hours:g} h"
    return f"{seen}, so the level is {1 + policy.young_factor * (1 - age / policy.young_hours):.1f} x as high"


def _reasons(observed: float, expected: float, level: float, scale: int, most: float) -> tuple[str, ...]:
    times = f", {observed / expected:.1f} x" if expected > 0.0 else ""
    span = f"{scale // HOUR} h" if scale >= HOUR else f"{scale // 60} min"
    capped = " (short bursts capped)" if scale >= HOUR else ""
    return (
        f"{observed:.0f} in {span}{capped}: usual {expected:.1f}{times}",
        f"level {level:.0f}; most of late {most:.0f}",
    )

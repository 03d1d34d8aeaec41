"""The detector of one series: a bank of one row, with verdicts that a person can read."""

from typing import Final, NamedTuple

import numpy as np

from processors.spikes.detection.bank import Bank, Verdicts
from processors.spikes.policy import DAY_MINUTES, DEFAULT_POLICY, HOUR_SECONDS, SpikePolicy
from schemas.alert_words import in_digits, minutes_in_words, with_article

COUNT_MARK: Final = ", usually "
"""Stands in the one reason that says the count and what is usual."""


class Verdict(NamedTuple):
    """The verdict on a count, on the scale where the count stands out most."""

    score: float
    """observed / level: a score of the policy's threshold (1) or more fires; 0 while nothing can fire and for a count
    of 0."""
    expected: float
    """The usual count of that scale at this hour of the day."""
    reasons: tuple[str, ...]
    """The reasons in words. Begins with `warming up` in a series' first day."""
    observed: float
    level: float
    scale_seconds: int
    fires: bool
    warming_up: bool

    @property
    def background(self) -> tuple[str, ...]:
        """The reasons without the count and its usual value: an alert has these from the store."""
        return tuple(reason for reason in self.reasons if COUNT_MARK not in reason)


class Detector:
    """Judges the counts of one series as they come. Causal, in constant time and memory; equal counts give equal
    state."""

    def __init__(self, width_seconds: int = 60, policy: SpikePolicy = DEFAULT_POLICY) -> None:
        """Sets the seconds of a bucket. Raises SettingsError for a width without a grid (see `policy.grid_of`)."""
        self._bank = Bank(width_seconds, policy, capacity=1)
        self._rows = self._bank.add()

    def update(self, time: float, count: float) -> Verdict:
        """Adds the count of the bucket of `time` (seconds since 1970) and judges it; buckets that were left out count
        0.

        Raises ValueError for a count that is below 0 or not whole, and for a time before the last bucket.

        >>> detector = Detector()
        >>> detector.update(1_700_000_000, 3).reasons
        ('warming up: 0.0 of 24 hours seen, nothing fires before 1 h',)
        """
        if not np.isfinite(time):
            raise ValueError(f"time: {time} is not a time")
        return verdicts_of(self._bank.update_many(self._rows, int(time // 1), np.array([count])), self._bank.policy)[0]

    def firing_level(self, time: float) -> int:
        """Returns the least count of the bucket of `time` that is sure to fire; see `Bank.firing_levels`."""
        return self._bank.firing_level(0, int(time // 1))

    def state(self) -> bytes:
        """Returns the whole state: equal after equal counts."""
        return self._bank.state(0)


def verdicts_of(verdicts: Verdicts, policy: SpikePolicy = DEFAULT_POLICY) -> list[Verdict]:
    """Returns the rows of a bank's verdicts, each with its reasons. Takes some microseconds a row: meant for those that
    fire."""
    columns = zip(*(column.tolist() for column in verdicts), strict=True)
    readable = []
    for score, observed, expected, level, scale, age, most, fires in columns:
        young = age < policy.young_hours
        reasons = _reasons(observed, expected, level, scale, most) if score > 0.0 else ()
        if young:
            reasons = (*_warming(age, policy), *reasons)
        readable.append(Verdict(score, expected, reasons, observed, level, scale, fires, young))
    return readable


def _warming(age: float, policy: SpikePolicy) -> tuple[str, ...]:
    """Says how much more a young series must show; nothing where this rounds to no more."""
    seen = f"warming up: {age:.1f} of {policy.young_hours:g} hours seen"
    if age < policy.silent_hours:
        return (f"{seen}, nothing fires before {policy.silent_hours:g} h",)
    factor = f"{1 + policy.young_factor * (1 - age / policy.young_hours):.1f}"
    return () if factor == "1.0" else (f"{seen}, so {factor} times as much is needed to stand out",)


def _reasons(observed: float, expected: float, level: float, scale: int, most: float) -> tuple[str, ...]:
    span = minutes_in_words(scale // 60)
    capped = " (short bursts capped)" if scale >= HOUR_SECONDS else ""
    is_usual = expected * DAY_MINUTES * 60 >= scale
    usual = f"{in_digits(expected)}, {in_digits(observed / expected)} times as many" if is_usual else "none"
    record = f"; the most of late was {most:,.0f}" if most >= 1 else ""
    return (
        f"{observed:,.0f} in the {span}{capped}{COUNT_MARK}{usual}",
        f"{level:,.0f} or more in {with_article(span)} stand out here{record}",
    )

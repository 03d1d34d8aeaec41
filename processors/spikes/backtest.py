"""The live detector on the past: what would have fired, when, and with labels how good that is."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.spikes import numenta
from processors.spikes.bank import Bank, Verdicts
from processors.spikes.policy import HOUR, SpikePolicy
from processors.spikes.series import Labels, Series

THRESHOLDS: Final = (0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)
WEEK: Final = 7 * 24 * HOUR
EVENT: Final = 12 * HOUR
"""Alerts no further apart belong to one spike, and its peak is looked for so long after its last one."""


class Spike(NamedTuple):
    """Rows of one series."""

    opened: int
    alerts: int
    peak: int
    """Row of the highest count."""


class Tried(NamedTuple):
    """What one threshold makes of all series."""

    threshold: float
    alerts: int
    per_week: float
    """Alerts a series and week."""
    spikes: int
    lead_minutes: float | None
    """Median time from a spike's first alert to its peak; None without spikes."""


class Judged(NamedTuple):
    """How good that is, by labels."""

    scores: dict[str, float]
    """Numenta's profile -> score."""
    windows: int
    found: int
    false: int
    false_per_week: float
    """Rows flagged outside the windows, a series and week after probation."""
    first_minutes: float | None
    """Median distance of a window's first alert from the labelled instant; None where nothing was found."""
    nearest_minutes: float | None
    """The same of its nearest alert."""


def run(series: Series, policy: SpikePolicy) -> Verdicts:
    """The verdicts on every row, one after the other, each knowing nothing of those behind it."""
    bank = Bank(series.width, policy, capacity=1)
    row = bank.add()[0]
    return bank.update_many(np.full(len(series.times), row), series.times, series.counts)


def spikes_of(series: Series, fires: Array) -> list[Spike]:
    """Alerts gathered to spikes, each with its peak."""
    rows = np.flatnonzero(fires)
    groups = np.split(rows, np.flatnonzero(np.diff(series.times[rows]) > EVENT) + 1) if len(rows) else []
    spikes = []
    for group in groups:
        opened, until = int(group[0]), np.searchsorted(series.times, series.times[group[-1]] + EVENT, "right")
        spikes.append(Spike(opened, len(group), opened + int(np.argmax(series.counts[opened:until]))))
    return spikes


def weeks_of(series: Series, first: int = 0) -> float:
    """Weeks from a row to the end of the last one."""
    return float(series.times[-1] - series.times[min(first, len(series.times) - 1)] + series.width) / WEEK


def summarize(threshold: float, series: Sequence[Series], verdicts: Sequence[Verdicts]) -> Tried:
    """What fired, over all series."""
    spikes = [(one, spike) for one, said in zip(series, verdicts, strict=True) for spike in spikes_of(one, said.fires)]
    leads = [float(one.times[spike.peak] - one.times[spike.opened]) / 60 for one, spike in spikes]
    alerts = sum(int(said.fires.sum()) for said in verdicts)
    weeks = sum(map(weeks_of, series))
    return Tried(threshold, alerts, alerts / weeks, len(spikes), float(np.median(leads)) if leads else None)


def compare(series: Sequence[Series], verdicts: Sequence[Verdicts], labels: Sequence[Labels]) -> Judged:
    """Against labels, at the threshold that the verdicts were made with."""
    rated = rate_all(verdicts, labels)
    fires = [said.fires for said in verdicts]
    done = {name: numenta.outcome(rated, fires, profile) for name, profile in numenta.PROFILES.items()}
    standard = done["standard"]
    first, nearest = [], []
    for one, flags, rating, told in zip(series, fires, rated, labels, strict=True):
        for (start, end), instant in zip(told.windows, told.instants, strict=False):
            rows = np.flatnonzero(flags[start : end + 1]) + start
            away = np.abs(one.times[rows[rows >= rating.first]] - instant) / 60
            if len(away):
                first.append(float(away[0]))
                nearest.append(float(away.min()))
    weeks = sum(weeks_of(one, rating.first) for one, rating in zip(series, rated, strict=True))
    return Judged(
        {name: numenta.normalized(one.raw, one.windows, numenta.PROFILES[name]) for name, one in done.items()},
        standard.windows,
        standard.found,
        standard.false,
        standard.false / weeks,
        float(np.median(first)) if first else None,
        float(np.median(nearest)) if nearest else None,
    )


def rate_all(verdicts: Sequence[Verdicts], labels: Sequence[Labels]) -> list[numenta.Rated]:
    """Scores and labels as Numenta's scorer takes them."""
    return [numenta.rate(said.scores, told.windows) for said, told in zip(verdicts, labels, strict=True)]

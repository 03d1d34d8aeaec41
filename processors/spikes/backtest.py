"""Backtest of the live detector: what would have fired, when, and, with labels, how good the alerts are."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.spikes.detection import numenta
from processors.spikes.detection.bank import Bank, Verdicts
from processors.spikes.detection.series import Labels, Series
from processors.spikes.policy import HOUR_SECONDS, SpikePolicy

THRESHOLDS: Final = (0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)
WEEK: Final = 7 * 24 * HOUR_SECONDS
SPIKE_GAP_SECONDS: Final = 12 * HOUR_SECONDS
"""Alerts no further apart belong to one spike. Its peak is sought for so long after its last alert."""


class Spike(NamedTuple):
    """A spike, by rows of one series."""

    opened: int
    alerts: int
    peak: int
    """The row of the highest count."""


class ThresholdSummary(NamedTuple):
    """The alerts of one threshold over all series."""

    threshold: float
    alerts: int
    per_week: float
    """Alerts a series and week."""
    spikes: int
    lead_minutes: float | None
    """Median time from a spike's first alert to its peak; None without spikes."""


class LabelScores(NamedTuple):
    """The quality of the alerts, measured by labels."""

    scores: dict[str, float]
    """Numenta's profile -> score."""
    windows: int
    found: int
    false: int
    false_per_week: float
    """Rows flagged outside the windows, a series and week after probation."""
    first_minutes: float | None
    """Median distance of a window's first alert from the labelled instant; None where no alert fell into a window."""
    nearest_minutes: float | None
    """Median distance of a window's nearest alert from the labelled instant."""


def judge_series(series: Series, policy: SpikePolicy) -> Verdicts:
    """Returns the verdicts on every row, one after the other, each from the rows before alone."""
    bank = Bank(series.width, policy, capacity=1)
    row = bank.add()[0]
    return bank.update_many(np.full(len(series.times), row), series.times, series.counts)


def spikes_of(series: Series, fires: Array) -> list[Spike]:
    """Groups alerts to spikes, each with its peak."""
    rows = np.flatnonzero(fires)
    groups = np.split(rows, np.flatnonzero(np.diff(series.times[rows]) > SPIKE_GAP_SECONDS) + 1) if len(rows) else []
    spikes = []
    for group in groups:
        opened, until = (
            int(group[0]),
            np.searchsorted(series.times, series.times[group[-1]] + SPIKE_GAP_SECONDS, "right"),
        )
        spikes.append(Spike(opened, len(group), opened + int(np.argmax(series.counts[opened:until]))))
    return spikes


def weeks_of(series: Series, first: int = 0) -> float:
    """Returns the weeks from a row to the end of the last row."""
    return float(series.times[-1] - series.times[min(first, len(series.times) - 1)] + series.width) / WEEK


def summarize(threshold: float, series: Sequence[Series], verdicts: Sequence[Verdicts]) -> ThresholdSummary:
    """Summarizes the alerts of all series."""
    leads = [
        float(counts.times[spike.peak] - counts.times[spike.opened]) / 60
        for counts, verdict in zip(series, verdicts, strict=True)
        for spike in spikes_of(counts, verdict.fires)
    ]
    alerts = sum(int(verdict.fires.sum()) for verdict in verdicts)
    weeks = sum(map(weeks_of, series))
    return ThresholdSummary(threshold, alerts, alerts / weeks, len(leads), float(np.median(leads)) if leads else None)


def compare_with_labels(
    series: Sequence[Series], verdicts: Sequence[Verdicts], labels: Sequence[Labels]
) -> LabelScores:
    """Compares the alerts with labels, at the threshold of the verdicts."""
    rated = rate_all(verdicts, labels)
    fires = [verdict.fires for verdict in verdicts]
    totals = {name: numenta.raw_score(rated, fires, profile) for name, profile in numenta.PROFILES.items()}
    standard = totals["standard"]
    first, nearest = [], []
    for counts, flags, rating, label in zip(series, fires, rated, labels, strict=True):
        for (start, end), instant in zip(label.windows, label.instants, strict=False):
            rows = np.flatnonzero(flags[start : end + 1]) + start
            distances = np.abs(counts.times[rows[rows >= rating.first]] - instant) / 60
            if len(distances):
                first.append(float(distances[0]))
                nearest.append(float(distances.min()))
    weeks = sum(weeks_of(counts, rating.first) for counts, rating in zip(series, rated, strict=True))
    return LabelScores(
        {name: numenta.normalize(total.raw, total.windows, numenta.PROFILES[name]) for name, total in totals.items()},
        standard.windows,
        standard.found,
        standard.false,
        standard.false / weeks,
        float(np.median(first)) if first else None,
        float(np.median(nearest)) if nearest else None,
    )


def rate_all(verdicts: Sequence[Verdicts], labels: Sequence[Labels]) -> list[numenta.RatedSeries]:
    """Rates the scores of each series by its labels, for Numenta's scorer."""
    return [numenta.rate_rows(verdict.scores, label.windows) for verdict, label in zip(verdicts, labels, strict=True)]

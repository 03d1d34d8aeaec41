"""Numenta's score of a detector on labelled series (Lavin and Ahmad 2015).

An alert within a window is worth up to 1, the earlier the more; only the first one in a window counts. Each flagged row
outside costs, least just after a window. 100 is a perfect detector, 0 a detector that never fires. One threshold serves
all series.

    v(i) in a window [a, b] of W rows: S(y) / S(-1), y = -(b - i + 1) / W; after it: S((i - b) / (W - 1));
    before the first: -1. Rows before min(floor(.15 n), 750) are ignored.
    raw = sum over windows of (v at the earliest flagged row, or -missed) + false x sum of v over flagged rows outside
    score = 100 (raw - null) / (perfect - null), null = -missed x windows, perfect = windows
"""

from collections.abc import Sequence
from math import exp
from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array

Window = tuple[int, int]
"""First and last row, both inside."""


class Profile(NamedTuple):
    """The cost of errors: of a missed window, and (x the row's weight) of a flagged row outside."""

    missed: float
    false: float


PROFILES: Final = {"standard": Profile(1.0, 0.11), "low-FP": Profile(1.0, 0.22), "low-FN": Profile(2.0, 0.11)}

PROBATION_SHARE: Final = 0.15
PROBATION_ROWS: Final = 750


class RatedSeries(NamedTuple):
    """The scores of one series, and the weight of each row."""

    scores: Array
    """f8, one per row, of the whole series."""
    weights: Array
    """f8 per row: v(i)."""
    inside: Array
    """i8 per row: number of its window, -1 outside."""
    windows: int
    first: int
    """Rows before this one are on probation: they neither gain nor cost."""


class RawScore(NamedTuple):
    """The raw score of flagged rows over some series."""

    raw: float
    windows: int
    found: int
    false: int
    """Flagged rows outside of windows."""


class BestThreshold(NamedTuple):
    """The best score with one threshold."""

    score: float
    threshold: float
    """Rows with at least this score are flagged; infinite where flagging no row is best."""


def sigmoid(y: float) -> float:
    """Returns S(y) = 2 / (1 + e^(5y)) - 1, and -1 beyond y = 3."""
    return -1.0 if y > 3 else 2.0 / (1.0 + exp(5.0 * y)) - 1.0


def rate_rows(scores: Sequence[float] | Array, windows: Sequence[Window], probation: int | None = None) -> RatedSeries:
    """Weighs the rows of a series. `windows` are in order and apart; the first `probation` rows do not count, by
    default min(15 %, 750). Raises ValueError for windows that overlap or lie outside."""
    rows = len(scores)
    weights, inside = np.full(rows, -1.0), np.full(rows, -1, np.int64)
    until = 0
    for number, (first, last) in enumerate(windows):
        if not until <= first <= last < rows:
            raise ValueError(f"window {number}: rows {first} to {last} are not in order, overlap, or lie outside")
        until, width = last + 1, last - first + 1
        inside[first:until] = number
        weights[first:until] = [sigmoid(-(last - i + 1) / width) / sigmoid(-1.0) for i in range(first, until)]
        weights[until:] = [sigmoid((i - last) / (width - 1) if width > 1 else 4.0) for i in range(until, rows)]
    first_row = min(int(PROBATION_SHARE * rows), PROBATION_ROWS) if probation is None else probation
    return RatedSeries(np.asarray(scores, np.float64), weights, inside, len(windows), first_row)


def raw_score(series: Sequence[RatedSeries], flags: Sequence[Array], profile: Profile) -> RawScore:
    """Returns the raw score of flagged rows (bool per row of each series)."""
    raw, found, false = 0.0, 0, 0
    for rated, flagged in zip(series, flags, strict=True):
        rows = np.flatnonzero(flagged)
        rows = rows[rows >= rated.first]
        numbers = rated.inside[rows]
        outside = rows[numbers < 0]
        _, earliest = np.unique(numbers[numbers >= 0], return_index=True)
        hits = rows[numbers >= 0][earliest]
        raw += float(rated.weights[hits].sum() - profile.missed * (rated.windows - len(hits)))
        raw += profile.false * float(rated.weights[outside].sum())
        found, false = found + len(hits), false + len(outside)
    return RawScore(raw, sum(rated.windows for rated in series), found, false)


def normalize(raw: float, windows: int, profile: Profile) -> float:
    """Returns 100 (raw - null) / (perfect - null)."""
    null = -profile.missed * windows
    return 100.0 * (raw - null) / (windows - null) if windows else 0.0


def score(series: Sequence[RatedSeries], threshold: float, profile: Profile) -> float:
    """Returns the score where each row with at least `threshold` is flagged."""
    total = raw_score(series, [rated.scores >= threshold for rated in series], profile)
    return normalize(total.raw, total.windows, profile)


def best_threshold(series: Sequence[RatedSeries], profile: Profile) -> BestThreshold:
    """Returns the highest score with one threshold over all series, exactly; the highest threshold among equals."""
    scores, gains = [np.empty(0)], [np.empty(0)]
    for rated in series:
        rows = np.arange(rated.first, len(rated.scores))
        outside = rows[rated.inside[rows] < 0]
        scores.append(rated.scores[outside])
        gains.append(profile.false * rated.weights[outside])
        for number in range(rated.windows):
            within = rows[rated.inside[rows] == number]
            within = within[np.argsort(-rated.scores[within], kind="stable")]
            # As the threshold sinks the earliest flagged row moves forward; of equal scores the last row decides.
            worth = rated.weights[np.minimum.accumulate(within)] + profile.missed
            scores.append(rated.scores[within])
            gains.append(np.diff(worth, prepend=0.0))
    all_scores, gain = np.concatenate(scores), np.concatenate(gains)
    order = np.argsort(-all_scores, kind="stable")
    all_scores, raised = all_scores[order], np.cumsum(gain[order])
    windows = sum(rated.windows for rated in series)
    candidates = np.flatnonzero(np.diff(all_scores, append=-np.inf))
    # A score of 0 means that no verdict is possible: no threshold is so low.
    candidates = candidates[all_scores[candidates] > 0.0]
    if not len(candidates) or raised[candidates].max() <= 0.0:
        return BestThreshold(0.0, float("inf"))
    chosen = candidates[np.argmax(raised[candidates])]
    return BestThreshold(
        normalize(float(raised[chosen]) - profile.missed * windows, windows, profile), float(all_scores[chosen])
    )


def leave_one_out(series: Sequence[RatedSeries], profile: Profile) -> float:
    """Returns the score where each series is judged by the best threshold of all the others."""
    flags = []
    for number, rated in enumerate(series):
        others = [*series[:number], *series[number + 1 :]]
        flags.append(rated.scores >= best_threshold(others, profile).threshold)
    total = raw_score(series, flags, profile)
    return normalize(total.raw, total.windows, profile)

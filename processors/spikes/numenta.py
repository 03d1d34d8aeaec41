"""Numenta's score of a detector on labelled series (Lavin and Ahmad 2015).

An early find in a window is worth up to 1, the first one only; each flagged row outside costs, least just after a
window. 100 is a perfect detector, 0 one that never says anything. One threshold serves all series.

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
    """What errors cost: a window that is missed, and (x the row's weight) a flagged row outside."""

    missed: float
    false: float


PROFILES: Final = {"standard": Profile(1.0, 0.11), "low-FP": Profile(1.0, 0.22), "low-FN": Profile(2.0, 0.11)}

PROBATION_SHARE: Final = 0.15
PROBATION_ROWS: Final = 750


class Rated(NamedTuple):
    """The rows of one series that count, and what each is worth."""

    scores: Array
    """f8, one per row, of the whole series."""
    weights: Array
    """f8 per row: v(i)."""
    inside: Array
    """i8 per row: number of its window, -1 outside."""
    windows: int
    first: int
    """Rows before this one are on probation: they neither gain nor cost."""


class Outcome(NamedTuple):
    """What a threshold does to some series."""

    raw: float
    windows: int
    found: int
    false: int
    """Flagged rows outside."""


class Best(NamedTuple):
    score: float
    threshold: float
    """Rows with at least this score are flagged; infinite where flagging nothing is best."""


def sigmoid(y: float) -> float:
    """S(y) = 2 / (1 + e^(5y)) - 1, and -1 beyond y = 3."""
    return -1.0 if y > 3 else 2.0 / (1.0 + exp(5.0 * y)) - 1.0


def rate(scores: Sequence[float] | Array, windows: Sequence[Window], probation: int | None = None) -> Rated:
    """A series' scores beside the worth of its rows. `windows` in order, apart; `probation` rows, by default
    min(15 %, 750). Raises ValueError for windows that overlap or lie outside."""
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
    return Rated(np.asarray(scores, np.float64), weights, inside, len(windows), first_row)


def outcome(series: Sequence[Rated], flags: Sequence[Array], profile: Profile) -> Outcome:
    """The raw score of flagged rows (bool per row of each series)."""
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
    return Outcome(raw, sum(rated.windows for rated in series), found, false)


def normalized(raw: float, windows: int, profile: Profile) -> float:
    """100 (raw - null) / (perfect - null)."""
    null = -profile.missed * windows
    return 100.0 * (raw - null) / (windows - null) if windows else 0.0


def score(series: Sequence[Rated], threshold: float, profile: Profile) -> float:
    """The score where each row with at least `threshold` is flagged."""
    done = outcome(series, [rated.scores >= threshold for rated in series], profile)
    return normalized(done.raw, done.windows, profile)


def best(series: Sequence[Rated], profile: Profile) -> Best:
    """The highest score that one threshold over all series reaches, exactly; of equals the highest threshold."""
    scores, gains = [np.empty(0)], [np.empty(0)]
    for rated in series:
        rows = np.arange(rated.first, len(rated.scores))
        outside = rows[rated.inside[rows] < 0]
        scores.append(rated.scores[outside])
        gains.append(profile.false * rated.weights[outside])
        for number in range(rated.windows):
            within = rows[rated.inside[rows] == number]
            within = within[np.argsort(-rated.scores[within], kind="stable")]
            # As the threshold sinks the earliest flagged row moves forward; equal scores are settled at their last one.
            worth = rated.weights[np.minimum.accumulate(within)] + profile.missed
            scores.append(rated.scores[within])
            gains.append(np.diff(worth, prepend=0.0))
    every, gain = np.concatenate(scores), np.concatenate(gains)
    order = np.argsort(-every, kind="stable")
    every, raised = every[order], np.cumsum(gain[order])
    windows = sum(rated.windows for rated in series)
    settled = np.flatnonzero(np.diff(every, append=-np.inf))
    # A score of 0 says that nothing can be said: no threshold is that low.
    settled = settled[every[settled] > 0.0]
    if not len(settled) or raised[settled].max() <= 0.0:
        return Best(0.0, float("inf"))
    chosen = settled[np.argmax(raised[settled])]
    return Best(normalized(float(raised[chosen]) - profile.missed * windows, windows, profile), float(every[chosen]))


def leave_one_out(series: Sequence[Rated], profile: Profile) -> float:
    """The score where each series is judged by the threshold that is best for all the others."""
    flags = []
    for number, rated in enumerate(series):
        others = [*series[:number], *series[number + 1 :]]
        flags.append(rated.scores >= best(others, profile).threshold)
    done = outcome(series, flags, profile)
    return normalized(done.raw, done.windows, profile)

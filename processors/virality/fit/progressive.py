"""The backtest of forecasts as they will be used: in order of time, each made only from posts that had finished by
then, and compared with two yardsticks. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.virality.fit.backtest import AgeQuality
from processors.virality.fit.cascades import Cascades, sample_at
from processors.virality.fit.versions import (
    LEAST_SHARES,
    SETTLED_MINUTES,
    LearnedVersion,
    finishes,
    order_of,
    version_at,
    versions_of,
)
from processors.virality.fit.yardsticks import seismic
from processors.virality.forecast import forecast
from processors.virality.parameters import ForecastParameters
from processors.virality.spread import Lookups

FINISHED_STEPS: Final = (0, 30, 100, 300, 1_000)
"""The numbers of finished posts from which on each line of the summary counts, up to the next."""


class ProgressiveQuality(NamedTuple):
    """The forecasts at one age, with the number of posts that had finished when each was made, and what two yardsticks
    say of the same posts: `now`, the shares so far, and `seismic`, infinite where that foresees no end."""

    quality: AgeQuality
    finished: Array
    seismic: Array

    def steps(self) -> list[tuple[int, int | None, "ProgressiveQuality"]]:
        """Returns the forecasts by the steps of finished posts: from, to (None: open), and the forecasts in between."""
        found = []
        for start, end in pairwise((*FINISHED_STEPS, None)):
            chosen = (self.finished >= (start or 0)) & (self.finished < (end or np.inf))
            found.append((start or 0, end, self.some(chosen)))
        return found

    def some(self, chosen: Array) -> "ProgressiveQuality":
        """Returns the chosen forecasts alone."""
        return ProgressiveQuality(self.quality.some(chosen), self.finished[chosen], self.seismic[chosen])

    def error_of(self, yardstick: str) -> float:
        """Returns the median APE of `now` or `seismic`."""
        said = self.quality.known if yardstick == "now" else self.seismic
        error = np.abs(said - self.quality.truth) / np.maximum(self.quality.truth, 1.0)
        return float(np.median(error)) if len(error) else float("nan")


def backtest_progressive(
    cascades: Cascades, ages: Sequence[int], least_shares: int, prior: ForecastParameters, lookups: Lookups
) -> list[ProgressiveQuality]:
    """Forecasts posts with at least `least_shares` final shares, at each age in minutes, each by the version that held
    then. Posts are learned from only once they have finished, with at least LEAST_SHARES or `least_shares`."""
    least_learned = max(LEAST_SHARES, least_shares)
    made = list(versions_of(cascades, prior, lookups, least_learned))
    finished_at = cascades.made[order_of(cascades, finishes(cascades, least_learned))] + SETTLED_MINUTES
    chosen = cascades.final >= max(least_shares, 1)
    return [_judge(cascades, age, chosen, made, finished_at, lookups) for age in ages]


def _judge(
    cascades: Cascades, age: int, chosen: Array, made: Sequence[LearnedVersion], finished_at: Array, lookups: Lookups
) -> ProgressiveQuality:
    sample = sample_at(cascades, age, chosen, lookups)
    final, low, high = (np.zeros(len(sample.post)) for _ in range(3))
    held = version_at([version.holds_from for version in made], sample.at)
    for number, version in enumerate(made):
        mine = held == number
        habits = np.array([version.parameters.habits.get(cascades.authors[post], 0.0) for post in sample.post[mine]])
        said = forecast(sample.spread[mine], sample.own_age[mine], version.parameters, sample.at[mine], habits)
        final[mine], low[mine], high[mine] = said.final, said.low, said.high
    younger = int((chosen & (cascades.observed < age)).sum())
    unknown = np.full(len(final), np.nan)
    known = sample.spread[:, 0]
    quality = AgeQuality(
        age,
        sample.post,
        known,
        final,
        low,
        high,
        sample.final,
        unknown,
        unknown,
        int(chosen.sum()) - younger - len(sample.post),
        younger,
    )
    finished = np.searchsorted(finished_at, sample.at, side="right")
    return ProgressiveQuality(quality, finished, seismic(cascades, age, sample.post))

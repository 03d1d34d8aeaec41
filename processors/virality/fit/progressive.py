"""The backtest of forecasts as they will be used: in order of time, each made only from posts that had finished by
then, and compared with two yardsticks. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.virality.fit.backtest import AgeQuality, judge
from processors.virality.fit.cascades import Cascades
from processors.virality.fit.versions import (
    LEAST_SHARES,
    SETTLED_MINUTES,
    LearnedVersion,
    finishes,
    order_of,
    readings_of,
    version_at,
    versions_of,
)
from processors.virality.fit.yardsticks import seismic
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
    judged = []
    for age, quality in zip(ages, _by_versions(cascades, ages, least_shares, made, lookups), strict=True):
        finished = np.searchsorted(finished_at, cascades.made[quality.post] + age, side="right")
        judged.append(ProgressiveQuality(quality, finished, seismic(cascades, age, quality.post)))
    return judged


def backtest_prior(
    cascades: Cascades, ages: Sequence[int], least_shares: int, prior: ForecastParameters, lookups: Lookups
) -> list[AgeQuality]:
    """Forecasts posts like `backtest_progressive`, but as if none ever finished: by the prior, and, as soon as enough
    posts are a day old, by the prior for the kind of network that these posts show."""
    made = list(readings_of(cascades, prior, lookups))
    return _by_versions(cascades, ages, least_shares, made, lookups)


def _by_versions(
    cascades: Cascades, ages: Sequence[int], least_shares: int, made: Sequence[LearnedVersion], lookups: Lookups
) -> list[AgeQuality]:
    held_from, chosen = [version.holds_from for version in made], cascades.final >= max(least_shares, 1)
    parameters = [version.parameters for version in made]
    return [
        judge(cascades, age, chosen, parameters, lambda sample: version_at(held_from, sample.at), lookups)
        for age in ages
    ]

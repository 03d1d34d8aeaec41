"""Backtest of the forecast on posts whose final shares are known. Pure."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.virality.fit.cascades import Cascades, sample_at, thin_out
from processors.virality.fit.fitting import LEAST_POSTS, Sample, fit, folds_of, joined
from processors.virality.forecast import forecast
from processors.virality.next_hour import shares_of_next_hour
from processors.virality.parameters import ForecastParameters
from processors.virality.spread import Lookups
from schemas.spread import FITTED_AGES, NEXT_MINUTES, TAIL

JUDGED_FOLDS: Final = 5

THINNED: Final = (0.3, 0.1)
COPIED: Final = 5
"""Thinned copies keep these shares of a post's shares; every fifth post has copies."""

NEAR: Final = (0.83, 1.0, 1.2)
"""The ages of the samples for an age, as factors of that age."""


class AgeQuality(NamedTuple):
    """The forecasts at one age in minutes, an entry per post with a share by then. `without_share` posts had no share
    yet, so they have no forecast; `younger` posts have not reached the age at the end of the data. `next_hour` and
    `hour_truth`: forecast and truth of the hour after that age, NaN where the data end before its end."""

    age: int
    post: Array
    known: Array
    forecast: Array
    low: Array
    high: Array
    truth: Array
    next_hour: Array
    hour_truth: Array
    without_share: int
    younger: int

    @property
    def median_ape(self) -> float:
        """Median of |forecast - truth| / truth."""
        return _median(np.abs(self.forecast - self.truth) / np.maximum(self.truth, 1.0))

    @property
    def median_bias(self) -> float:
        """Median of forecast / truth - 1."""
        return _median(self.forecast / np.maximum(self.truth, 1.0) - 1)

    def some(self, chosen: Array) -> "AgeQuality":
        """Returns the forecasts of the chosen entries alone."""
        columns: dict[str, Any] = {
            name: values[chosen] for name, values in self._asdict().items() if isinstance(values, np.ndarray)
        }
        return self._replace(**columns)

    @property
    def hour_ratio(self) -> float:
        """The mean of the forecasts of the next hour / the mean of what came."""
        seen = ~np.isnan(self.next_hour)
        came = self.hour_truth[seen].sum()
        return float(self.next_hour[seen].sum() / came) if came > 0 else float("nan")

    @property
    def coverage(self) -> float:
        """The share of the intervals that hold the truth."""
        held = (self.low <= self.truth) & (self.truth <= self.high)
        return float(held.mean()) if len(held) else float("nan")

    @property
    def pinball(self) -> float:
        """Mean pinball loss of low, forecast and high as 5, 50 and 95 % quantiles, in shares (Koenker and Bassett
        1978)."""
        losses = [
            np.maximum(tail * (self.truth - quantile), (tail - 1) * (self.truth - quantile))
            for tail, quantile in ((TAIL, self.low), (0.5, self.forecast), (1 - TAIL, self.high))
        ]
        return float(np.mean(losses)) if len(self.truth) else float("nan")


def samples_of(cascades: Cascades, chosen: Array, lookups: Lookups, *, thin: bool) -> list[Sample]:
    """Samples the chosen posts at each of FITTED_AGES at which enough posts have a share to fit parameters.

    Each post is sampled shortly before and after an age too, so that the fit depends less on the instant. With `thin`,
    every fifth post adds copies with 30 and 10 % of its shares. A sample of posts with at least so many shares teaches
    that every post gets as many, which is right only for such posts. The copies teach what does not depend on the size
    of posts, and so carries over to others.
    """
    sources = [cascades, *(thin_out(cascades, part) for part in THINNED)] if thin else [cascades]
    has_copies = np.arange(len(chosen)) % COPIED == 0
    sampled = [np.ones(len(chosen), np.bool_), *(has_copies for _ in sources[1:])]
    samples = []
    for age in FITTED_AGES:
        parts = [
            sample_at(source, round(age * near), chosen & posts, lookups)
            for source, posts in zip(sources, sampled, strict=True)
            for near in NEAR
        ]
        samples.append(joined(age, parts))
    return enough(samples)


def enough(samples: Sequence[Sample]) -> list[Sample]:
    """Returns the samples with enough posts to fit parameters."""
    return [sample for sample in samples if len(np.unique(sample.post)) >= LEAST_POSTS]


def backtest(
    cascades: Cascades,
    ages: Sequence[int],
    least_shares: int,
    parameters: ForecastParameters | None,
    lookups: Lookups,
    *,
    thin: bool = False,
    local: bool = True,
) -> list[AgeQuality]:
    """Forecasts posts with at least `least_shares` final shares, at each age in minutes.

    Without `parameters`, each of five folds of posts is judged by parameters fitted on the others: with thinned copies
    if `thin`, with hours of the day and habits of authors if `local`. Raises ValueError where these posts are too few.
    """
    chosen = cascades.final >= max(least_shares, 1)
    posts = np.flatnonzero(chosen)
    fold_of = np.zeros(len(chosen), np.int64)
    fold_of[posts] = folds_of(posts, JUDGED_FOLDS)
    by_fold = (
        [parameters] * JUDGED_FOLDS
        if parameters is not None
        else _fitted(cascades, chosen, fold_of, lookups, thin=thin, local=local)
    )
    return [judge(cascades, age, chosen, by_fold, lambda sample: fold_of[sample.post], lookups) for age in ages]


def _fitted(
    cascades: Cascades, chosen: Array, fold_of: Array, lookups: Lookups, *, thin: bool, local: bool
) -> list[ForecastParameters]:
    """Fits, for each fold, parameters on the posts of all other folds."""
    samples = samples_of(cascades, chosen, lookups, thin=thin)
    by_fold = []
    for fold in range(JUDGED_FOLDS):
        others = [_without(sample, fold_of[sample.post] == fold) for sample in samples]
        by_fold.append(fit(enough(others), "", {}, cascades.authors if local else None))
    return by_fold


def _without(sample: Sample, left_out: Array) -> Sample:
    return sample._replace(**{name: getattr(sample, name)[~left_out] for name in Sample._fields if name != "age"})


def judge(
    cascades: Cascades,
    age: int,
    chosen: Array,
    all_parameters: Sequence[ForecastParameters],
    place_of: Callable[[Sample], Array],
    lookups: Lookups,
) -> AgeQuality:
    """Forecasts the chosen posts (a flag each) at an age in minutes. `place_of` returns, for each entry of a sample,
    the place of its parameters."""
    sample = sample_at(cascades, age, chosen, lookups)
    final, low, high = (np.zeros(len(sample.post)) for _ in range(3))
    place = place_of(sample)
    for number, parameters in enumerate(all_parameters):
        mine = place == number
        habits = np.array([parameters.habits.get(cascades.authors[post], 0.0) for post in sample.post[mine]])
        predicted = forecast(sample.spread[mine], sample.own_age[mine], parameters, sample.at[mine], habits)
        final[mine], low[mine], high[mine] = predicted.final, predicted.low, predicted.high
    younger = int((chosen & (cascades.observed < age)).sum())
    seen = cascades.observed[sample.post] >= age + NEXT_MINUTES
    came = cascades.known(age + int(NEXT_MINUTES))[sample.post] - sample.spread[:, 0]
    return AgeQuality(
        age,
        sample.post,
        sample.spread[:, 0],
        final,
        low,
        high,
        sample.final,
        np.where(seen, shares_of_next_hour(sample.spread), np.nan),
        np.where(seen, came, np.nan),
        int(chosen.sum()) - younger - len(sample.post),
        younger,
    )


def _median(values: Array) -> float:
    return float(np.median(values)) if len(values) else float("nan")

"""Judges the forecast on posts whose end is known. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.virality.cascades import Cascades, sample_at, thinned
from processors.virality.fitting import AGES, LEAST_POSTS, Sample, fit, folds_of
from processors.virality.forecast import forecast
from processors.virality.parameters import ForecastParameters
from processors.virality.reproduction import TAIL
from processors.virality.spread import Lookups

JUDGED_FOLDS: Final = 5

THINNED: Final = (0.3, 0.1)
COPIED: Final = 5
"""Copies have these parts of a post's shares; every fifth post has some."""

NEAR: Final = (0.83, 1.0, 1.2)
"""Ages to learn from, in parts of the age to learn for."""


class Judged(NamedTuple):
    """The forecasts at one age in minutes: one entry per post that had a share by then. `without_share` posts had none,
    so no forecast; `younger` ones are not as old as that at the end of the data."""

    age: int
    post: Array
    known: Array
    forecast: Array
    low: Array
    high: Array
    truth: Array
    without_share: int
    younger: int

    @property
    def median_ape(self) -> float:
        """Median of |forecast - truth| / truth."""
        return _middle(np.abs(self.forecast - self.truth) / np.maximum(self.truth, 1.0))

    @property
    def coverage(self) -> float:
        """Which part of the intervals holds the truth."""
        held = (self.low <= self.truth) & (self.truth <= self.high)
        return float(held.mean()) if len(held) else float("nan")

    @property
    def pinball(self) -> float:
        """Mean pinball loss of low, forecast and high as 5, 50 and 95 % quantiles, shares (Koenker and Bassett
        1978)."""
        losses = [
            np.maximum(tail * (self.truth - said), (tail - 1) * (self.truth - said))
            for tail, said in ((TAIL, self.low), (0.5, self.forecast), (1 - TAIL, self.high))
        ]
        return float(np.mean(losses)) if len(self.truth) else float("nan")


def samples_of(cascades: Cascades, chosen: Array, lookups: Lookups, *, thin: bool) -> list[Sample]:
    """The chosen posts at each of AGES at which enough of them have a share to fit something.

    Each is looked at shortly before and after that age too: what is learned of it hangs less on the instant.
    With `thin`, copies of every fifth post go with them that have 30 and 10 % of its shares. A sample of posts with at
    least so many shares teaches that every post gets as many, which is right only for such posts; the copies teach what
    does not depend on how large posts are, and so what carries over to others.
    """
    looks = [cascades, *(thinned(cascades, part) for part in THINNED)] if thin else [cascades]
    some = np.arange(len(chosen)) % COPIED == 0
    taken = [np.ones(len(chosen), np.bool_), *(some for _ in looks[1:])]
    found = []
    for age in AGES:
        parts = [
            sample_at(look, round(age * near), chosen & these, lookups)
            for look, these in zip(looks, taken, strict=True)
            for near in NEAR
        ]
        joined = (np.concatenate(columns) for columns in zip(*(part[1:] for part in parts), strict=True))
        found.append(Sample(age, *joined))
    return enough(found)


def enough(samples: Sequence[Sample]) -> list[Sample]:
    """Those that have posts enough to fit something."""
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
) -> list[Judged]:
    """Forecasts at each age, in minutes, of posts with at least so many shares in the end. Without `parameters` each of
    five folds of posts is judged by what is fitted on the others, thinned copies among them with `thin`, hours of the
    day and habits of authors with `local`; raises ValueError where these are too few."""
    chosen = cascades.final >= max(least_shares, 1)
    posts = np.flatnonzero(chosen)
    fold_of = np.zeros(len(chosen), np.int64)
    fold_of[posts] = folds_of(posts, JUDGED_FOLDS)
    by_fold = (
        [parameters] * JUDGED_FOLDS
        if parameters is not None
        else _fitted(cascades, chosen, fold_of, lookups, thin=thin, local=local)
    )
    return [_judge(cascades, age, chosen, fold_of, by_fold, lookups) for age in ages]


def _fitted(
    cascades: Cascades, chosen: Array, fold_of: Array, lookups: Lookups, *, thin: bool, local: bool
) -> list[ForecastParameters]:
    """Per fold what all other posts teach."""
    samples = samples_of(cascades, chosen, lookups, thin=thin)
    found = []
    for fold in range(JUDGED_FOLDS):
        others = [_without(sample, fold_of[sample.post] == fold) for sample in samples]
        found.append(fit(enough(others), "", {}, cascades.authors if local else None))
    return found


def _without(sample: Sample, left_out: Array) -> Sample:
    return sample._replace(**{name: getattr(sample, name)[~left_out] for name in Sample._fields if name != "age"})


def _judge(
    cascades: Cascades,
    age: int,
    chosen: Array,
    fold_of: Array,
    by_fold: Sequence[ForecastParameters],
    lookups: Lookups,
) -> Judged:
    sample = sample_at(cascades, age, chosen, lookups)
    final, low, high = (np.zeros(len(sample.post)) for _ in range(3))
    for fold, parameters in enumerate(by_fold):
        mine = fold_of[sample.post] == fold
        habits = np.array([parameters.habits.get(cascades.authors[post], 0.0) for post in sample.post[mine]])
        said = forecast(sample.spread[mine], sample.own_age[mine], parameters, sample.at[mine], habits)
        final[mine], low[mine], high[mine] = said.final, said.low, said.high
    younger = int((chosen & (cascades.observed < age)).sum())
    return Judged(
        age,
        sample.post,
        sample.spread[:, 0],
        final,
        low,
        high,
        sample.final,
        int(chosen.sum()) - younger - len(sample.post),
        younger,
    )


def _middle(values: Array) -> float:
    return float(np.median(values)) if len(values) else float("nan")

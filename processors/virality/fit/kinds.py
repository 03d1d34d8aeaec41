"""The kind of a network, read from posts a day old: long before a post has finished. Pure.

A prior of many networks is wide, as at an age of ten minutes a post of a slow network looks like one of a fast network
that has got its half. All posts of a network together tell: the prior brings parameters for several kinds of networks,
and kinds whose forecasts are consistent on these posts count. A forecast that is right is a martingale (Doob 1953): on
average, what is forecast of the same post at an age of a day is no more and no less than what was forecast at ten
minutes, and what has come at double an age is what was forecast. The median inconsistency of each kind at each age is
its loss, and the weights of the kinds are those of a Gibbs posterior (Bissiri, Holmes, Walker 2016, JRSS B 78:1103).
The parameters of the network are the weighted mean of the kinds', because ln a and the ends are linear in them.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from processors.columnar.arrays import Array
from processors.virality.fit.fitting import Sample
from processors.virality.forecast import Forecast, forecast
from processors.virality.parameters import ForecastParameters, resampled
from schemas.spread import FITTED_AGES

READ_AGE_MINUTES: Final = 1440
"""The age at which a post tells of its network."""

LEAST_READ: Final = 20
"""Fewer posts tell nothing."""

FEWEST_AT_AGE: Final = 5
"""Fewer posts with a share tell nothing of an age."""

TOLERATED: Final = 0.15
"""The median inconsistency, in logarithms of shares to come, that a kind may have by the coarseness of the kinds."""

STRENGTH: Final = 10.0
"""The mean loss of all ages counts so many times: ages of the same posts are no evidence of their own."""

MAD_TO_DEVIATION: Final = 1.4826
MEDIAN_VARIANCE: Final = np.pi / 2
"""Factors of the normal distribution: from the median absolute to the standard deviation, and from the variance of a
mean to that of a median."""


def read_kind(prior: ForecastParameters, samples: Sequence[Sample], posts: int) -> ForecastParameters:
    """Returns the parameters for the network of so many posts, all READ_AGE_MINUTES old: the prior itself where it
    tells no kinds apart or the posts are fewer than LEAST_READ. Rows are at FITTED_AGES. `samples` of these posts are
    at rising ages; those beyond READ_AGE_MINUTES tell nothing here."""
    prior = resampled(prior, FITTED_AGES)
    if not prior.kinds or posts < LEAST_READ:
        return prior
    samples = [sample for sample in samples if sample.age <= READ_AGE_MINUTES]
    tables = np.array([prior.table, *prior.kinds.values()])
    losses = np.array([_loss(samples, prior.with_table(table)) for table in tables])
    weights = np.exp(-STRENGTH * (losses - losses.min()))
    return prior.with_table(np.tensordot(weights / weights.sum(), tables, 1))


def _loss(samples: Sequence[Sample], parameters: ForecastParameters) -> float:
    """Returns the mean loss of parameters: half of the squared inconsistency against what is tolerated, at each age."""
    *_, oldest = samples
    final = np.full(int(max(sample.post.max(initial=0) for sample in samples)) + 1, np.nan)
    final[oldest.post] = forecast(oldest.spread, oldest.own_age, parameters, oldest.at).final
    losses = []
    for sample in samples:
        made: Forecast = forecast(sample.spread, sample.own_age, parameters, sample.at)
        losses.append(_inconsistency(sample, made.double, sample.double))
        if sample is not oldest:
            losses.append(_inconsistency(sample, made.final, final[sample.post]))
    known = [loss for loss in losses if loss is not None]
    return float(np.mean(known)) if known else 0.0


def _inconsistency(sample: Sample, ahead: Array, later: Array) -> float | None:
    """Returns the loss of forecasts `ahead` of what was known `later`, NaN where it is not known; None of few posts."""
    shares = sample.spread[:, 0]
    log = np.log((np.maximum(later, shares) - shares + 1) / (ahead - shares + 1))
    log = log[~np.isnan(log)]
    if len(log) < FEWEST_AT_AGE:
        return None
    middle = float(np.median(log))
    deviation = MAD_TO_DEVIATION * float(np.median(np.abs(log - middle)))
    variance = MEDIAN_VARIANCE * deviation**2 / len(log)
    return 0.5 * middle**2 / (TOLERATED**2 + variance)

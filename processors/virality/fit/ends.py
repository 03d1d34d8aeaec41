"""The ends of the forecast's intervals, from posts that the forecast was not fitted on. Pure.

An end is a line in the first feature of ln(shares that came + 1) against those that were forecast: a quantile
regression (Koenker and Bassett 1978). With a prior, the line is drawn to that of the prior, and then scaled so that the
wanted part of the posts lies beyond: split conformal prediction (Romano, Patterson, Candes 2019, NeurIPS) with weights
by which older posts count less, so that the intervals hold while a network drifts (Barber, Candes, Ramdas, Tibshirani
2023, Annals of Statistics 51:816).
"""

from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.virality.fit.correction import Problem
from schemas.spread import TAIL

LINE_POSTS: Final = 200.0
"""The number of posts as which the prior's line counts."""

DRIFT_TAIL: Final = 0.04
"""The part of the posts that lie beyond an end that was scaled: less than the part that may, because the posts to come
differ more from the past than the past from itself."""

FEWEST: Final = 10
"""Fewer posts than this leave the ends to the prior."""

LEAST_FACTOR: Final = 0.2
MOST_FACTOR: Final = 5.0
"""The scale of a line against the prior's is held within these."""


class Ends(NamedTuple):
    """The ends at one age, and the part of the shares to come that has come at double the age; as in
    ForecastParameters."""

    low: Array
    high: Array
    double: Array
    double_low: Array
    double_high: Array


def ends_of(problem: Problem, coming: Array, prior: Ends | None) -> Ends:
    """Returns the ends for forecasts of `coming` shares of posts that they were not fitted on."""
    if prior is not None and len(np.unique(problem.post)) < FEWEST:
        return prior
    part = float(np.clip(np.median((problem.double - problem.shares) / np.maximum(coming, 1.0)), 0.0, 1.0))
    if prior is not None:
        posts = len(np.unique(problem.post))
        part = (posts * part + LINE_POSTS / 4 * float(prior.double[0])) / (posts + LINE_POSTS / 4)
    lines = []
    for ahead, came, names in (
        (coming, problem.final, ("low", "high")),
        (coming * part, problem.double, ("double_low", "double_high")),
    ):
        log = np.log((came - problem.shares + 1) / (ahead + 1))
        for name, tail in zip(names, (TAIL, 1 - TAIL), strict=True):
            drawn = None if prior is None else getattr(prior, name)
            lines.append(_line(problem, log, tail) if drawn is None else _drawn(problem, log, tail, drawn))
    return Ends(lines[0], lines[1], np.array([part]), lines[2], lines[3])


def _drawn(problem: Problem, log: Array, tail: float, prior: Array) -> Array:
    posts = len(np.unique(problem.post))
    # The line of few posts would be noise.
    share = posts / (posts + LINE_POSTS) if posts >= LINE_POSTS / 2 else 0.0
    line = (1 - share) * prior + (share * _line(problem, log, tail) if share else 0.0)
    ends = line[0] + line[1] * problem.scaled[:, 0]
    sign = 1.0 if tail > 0.5 else -1.0
    # The score of a post: how many of the line's own lengths the truth lies out.
    score = sign * log / np.maximum(sign * ends, 0.05)
    factor = weighted_quantile(score, problem.weight, 1 - DRIFT_TAIL, posts)
    scaled: Array = line * float(np.clip(factor, LEAST_FACTOR, MOST_FACTOR))
    return scaled


def weighted_quantile(values: Array, weights: Array, level: float, posts: float) -> float:
    """Returns the quantile of conformal prediction for `posts` posts: the next post counts as one more, infinitely
    far out."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    place = np.searchsorted(reached, min(level * (1 + 1 / posts), 1.0) - 1e-12)
    return float(values[order[min(int(place), len(order) - 1)]])


def _line(problem: Problem, log: Array, tail: float) -> Array:
    """Returns constant and slope of a quantile regression, by a smoothed pinball loss."""
    # Imported here, because it takes a second, and memory, that workers would not use.
    from scipy.optimize import minimize

    feature, weight = problem.scaled[:, 0], problem.weight

    def loss(line: Array) -> tuple[float, Array]:
        miss = log - line[0] - line[1] * feature
        soft = np.logaddexp(0, -miss / 0.02) * 0.02
        by_miss = weight * (tail - 1 / (1 + np.exp(np.clip(miss / 0.02, -50, 50))))
        return float((weight * (tail * miss + soft)).mean()), -np.array([by_miss.mean(), (by_miss * feature).mean()])

    result = minimize(loss, np.array([np.quantile(log, tail), 0.0]), jac=True, method="L-BFGS-B")
    line: Array = result.x
    # The smoothed loss is a little off the quantile, so the line is moved until exactly that part lies beyond.
    line[0] += np.quantile(log - line[0] - line[1] * feature, tail)
    return line

"""Fits the parameters of the forecast to posts whose final shares are known. Pure.

The fit takes three steps. (1) The correction ln a minimises a bounded loss of the relative error (Geman and McClure
1985): squares for small errors, but an end that nobody could foresee, a cascade that wakes up after a year, pulls no
more than any other. All ages are fitted together, and their coefficients are drawn to those of their neighbours. (2)
Where authors are given, the mean error that remains on an author's posts is the author's habit, and the correction is
fitted again beside the habits: for each post by its author's other posts. (3) The ends of the intervals are the 5 and
95 % quantile regressions (Koenker and Bassett 1978) of the shares that came against their forecast, each for posts that
the correction was not fitted on, so that the intervals hold for new posts.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from scipy.optimize import minimize

from processors.columnar.arrays import Array
from processors.virality.forecast import circumstances, features, long_reproduction, scale, terms
from processors.virality.habits import Habits, habits_of
from processors.virality.parameters import FEATURES, PRODUCTS, ForecastParameters
from processors.virality.squares import add_squares, solve
from schemas.spread import TAIL

FITTED_AGES: Final = (5.0, 10.0, 20.0, 60.0, 180.0, 360.0, 1440.0, 4320.0, 20160.0)
"""Minutes of age at which parameters are fitted."""

BOUNDED: Final = 0.03
"""ln a is held within these quantiles, from both ends, of its values on the posts of the sample."""

TOLERANCE: Final = 1.5
"""The error, in median errors, at which the loss turns from squares to a constant."""

RIDGE: Final = 1e-2
SMOOTH: Final = 1e-2
"""Weights of the squared coefficients and of their squared steps from age to age, against a loss of 0 to 1."""

PLAIN: Final = 60.0
"""Minutes of age until which products of features are drawn to 0 like features, and from there on in proportion to the
age: the older a post, the fewer shares are left to learn from."""

OUTSIDE: Final = 1e-3
MOST_STEPS: Final = 60

CROSS_FIT_FOLDS: Final = 4
FOLD_SEED: Final = 15
LEAST_POSTS: Final = 100
"""Fewer finished posts at an age than this are not fitted."""


class Sample(NamedTuple):
    """Posts at about one age.

    Each row: a number that identifies the post across samples, a row of spread.FIELDS with at least one share, the
    post's age at that time, that time in minutes since 1970, and the net shares at double that age and in the end.
    """

    age: float
    post: Array
    spread: Array
    own_age: Array
    at: Array
    double: Array
    final: Array


class _Problem(NamedTuple):
    """A sample, prepared for the optimiser."""

    age: float
    post: Array
    shares: Array
    base: Array  # R_t rest
    scaled: Array
    terms: Array
    bounds: Array  # of ln a: least, most
    double: Array
    final: Array


def fit(
    samples: Sequence[Sample], date: str, sample_facts: dict[str, Any], authors: Sequence[str] | None = None
) -> ForecastParameters:
    """Fits parameters to samples at rising ages; `date` and `sample_facts` are stored with them.

    `authors` are those of all posts by their numbers, empty where not known. With `authors`, hours of the day and
    habits are learned as well; without, only what may hold for other networks. Repeatable: the folds are seeded. Raises
    ValueError where an age has fewer than LEAST_POSTS posts.
    """
    if not samples:
        raise ValueError(f"at no age {LEAST_POSTS} finished posts with a share")
    problems, centres, scales = [], [], []
    for sample in samples:
        posts = len(np.unique(sample.post))
        if posts < LEAST_POSTS:
            raise ValueError(
                f"{posts} finished posts with a share at the age of {sample.age:g} minutes; it takes {LEAST_POSTS}"
            )
        r = long_reproduction(sample.spread)
        inputs = features(sample.spread, sample.own_age, r)
        centre, width = inputs.mean(axis=0).round(2), np.maximum(inputs.std(axis=0), 0.05).round(2)
        around = circumstances(len(r), None if authors is None else sample.at, None)
        problems.append(_problem(sample, r, scale(inputs, centre, width), around))
        centres.append(centre)
        scales.append(width)
    weights, habits = _corrections(problems, None), {}
    if authors is not None:
        numbers = {author: number for number, author in enumerate(sorted(set(authors) - {""}))}
        learned = _habits(problems, weights, np.array([numbers.get(author, -1) for author in authors]))
        habits = {author: habit for author, habit in zip(numbers, learned.of_author.tolist(), strict=True) if habit}
        for problem in problems:
            problem.terms[:, -1] = learned.of_post[problem.post]
        weights = _corrections(problems, weights)
    ends: dict[str, list[Any]] = {name: [] for name in ("low", "high", "double", "double_low", "double_high")}
    for problem, coming in zip(problems, _elsewhere(problems, weights), strict=True):
        part = _part(problem, coming)
        ends["double"].append([part])
        for name, forecast, came in (("", coming, problem.final), ("double_", coming * part, problem.double)):
            log = np.log((came - problem.shares + 1) / (forecast + 1))
            low, high = (_quantile(problem.scaled[:, 0], log, tail) for tail in (TAIL, 1 - TAIL))
            ends[name + "low"].append(low)
            ends[name + "high"].append(high)
    return ForecastParameters(
        date=date,
        sample=sample_facts,
        ages=np.array([sample.age for sample in samples]),
        centre=np.array(centres),
        scale=np.array(scales),
        correction=weights,
        bounds=np.array([problem.bounds for problem in problems]),
        habits=habits,
        **{name: np.array(rows) for name, rows in ends.items()},
    )


def folds_of(posts: Array, folds: int) -> Array:
    """Returns the fold of each post, 0 to folds - 1: of nearly equal size, at random, the same for the same number of
    posts."""
    order = np.random.default_rng(FOLD_SEED).permutation(len(posts))
    fold: Array = order % folds
    return fold


def _problem(sample: Sample, r: Array, scaled: Array, around: Array) -> _Problem:
    shares, base = sample.spread[:, 0], r * sample.spread[:, 1]
    log = np.log((sample.final - shares + 1) / (base + 1))
    return _Problem(
        sample.age,
        sample.post,
        shares,
        base,
        scaled,
        terms(scaled, around),
        np.quantile(log, [BOUNDED, 1 - BOUNDED]).round(2),
        sample.double,
        sample.final,
    )


def _some(problem: _Problem, chosen: Array) -> _Problem:
    """Returns the problem with the chosen posts only, in unchanged bounds."""
    columns = {name: getattr(problem, name)[chosen] for name in _Problem._fields if name not in ("age", "bounds")}
    return problem._replace(**columns)


def _habits(problems: Sequence[_Problem], weights: Array, author: Array) -> Habits:
    """Returns habits from the errors of each post at all ages, in median errors of each age, none counted as more than
    one."""
    total, rows = np.zeros(len(author)), np.zeros(len(author))
    for problem, row in zip(problems, weights, strict=True):
        log = np.log((problem.final - problem.shares + 1) / (_coming(problem, row) + 1))
        total += np.bincount(problem.post, np.clip(log / max(np.median(np.abs(log)), 1e-3), -1, 1), len(author))
        rows += np.bincount(problem.post, minlength=len(author))
    return habits_of(author, np.where(rows > 0, total / np.maximum(rows, 1), np.nan))


def _elsewhere(problems: Sequence[_Problem], start: Array) -> list[Array]:
    """Returns the shares to come of each post, by corrections fitted on the other folds."""
    posts = np.unique(np.concatenate([problem.post for problem in problems]))
    fold_of = np.zeros(int(posts[-1]) + 1, np.int64)
    fold_of[posts] = folds_of(posts, CROSS_FIT_FOLDS)
    coming = [np.zeros(len(problem.post)) for problem in problems]
    for fold in range(CROSS_FIT_FOLDS):
        inside = [fold_of[problem.post] != fold for problem in problems]
        weights = _corrections([_some(p, i) for p, i in zip(problems, inside, strict=True)], start)
        for problem, fitted, shares, row in zip(problems, inside, coming, weights, strict=True):
            shares[~fitted] = _coming(problem, row)[~fitted]
    return coming


def _coming(problem: _Problem, weights: Array) -> Array:
    coming: Array = problem.base * np.exp(np.clip(_times(problem.terms, weights), *problem.bounds))
    return coming


def _corrections(problems: Sequence[_Problem], start: Array | None) -> Array:
    """Fits the coefficients of ln a, a row per age: first by absolute errors, which have one minimum, then by the
    bounded loss."""
    if start is None:
        start = np.zeros((len(problems), problems[0].terms.shape[1]))
        start[:, 0] = [
            np.median(np.log((problem.final - problem.shares + 1) / (problem.base + 1))) for problem in problems
        ]
        start = _minimise(problems, start, None)
    limits = [
        TOLERANCE * float(np.median(np.abs(p.shares + _coming(p, w) - p.final) / p.final)) + 1e-3
        for p, w in zip(problems, start, strict=True)
    ]
    return _minimise(problems, start, limits)


def _minimise(problems: Sequence[_Problem], start: Array, limits: Sequence[float] | None) -> Array:
    """Minimises by damped Gauss-Newton steps on reweighted squares (Levenberg 1944, Holland and Welsch 1977), all ages
    in one system."""
    weights, damping = start, 1e-3
    best, normal, slope = _system(problems, weights, limits)
    for _ in range(MOST_STEPS):
        step = solve(normal, damping, slope, start.shape[1]).reshape(start.shape)
        tried = _system(problems, weights - step, limits)
        if tried[0] < best:
            gained = best - tried[0]
            weights, damping = weights - step, max(damping / 4, 1e-6)
            best, normal, slope = tried
            if gained < 1e-7:
                break
        else:
            damping *= 8
            if damping > 1e6:
                break
    return weights


def _system(problems: Sequence[_Problem], weights: Array, limits: Sequence[float] | None) -> tuple[float, Array, Array]:
    """Returns the loss at these weights, the matrix of its normal equations, and half of its slope."""
    ages, width = weights.shape
    drawn = np.diag(np.full(ages, 2.0)) - np.eye(ages, k=1) - np.eye(ages, k=-1)
    drawn[0, 0] = drawn[-1, -1] = 1.0 if ages > 1 else 0.0
    normal = SMOOTH * np.kron(drawn, np.eye(width)) + RIDGE * np.diag(np.concatenate([_ridge(p) for p in problems]))
    slope = _times(normal, weights.ravel())
    total = float((weights.ravel() * slope).sum())
    for number, problem in enumerate(problems):
        log = _times(problem.terms, weights[number])
        held = np.clip(log, *problem.bounds)
        by_log = problem.base * np.exp(held) / problem.final
        error = by_log + problem.shares / problem.final - 1
        if limits is None:
            root = np.sqrt(error**2 + 1e-4)
            value, weight = root, 0.5 / root
        else:
            square = limits[number] ** 2
            value, weight = error**2 / (error**2 + square), square / (error**2 + square) ** 2
        # Beyond a bound the loss is constant; a small pull back keeps the fit from staying there.
        inside, over = log == held, log - held
        total += float((value + OUTSIDE * over**2).mean())
        pull = weight * by_log**2 * inside + OUTSIDE * ~inside
        push = weight * error * by_log * inside + OUTSIDE * over
        add_squares(problem.terms, pull / len(log), push / len(log), number * width, normal, slope)
    return total, normal, slope


def _ridge(problem: _Problem) -> Array:
    """Returns how strongly each coefficient is drawn to 0: the constant not at all, a product the more the older the
    post."""
    ridge = np.ones(problem.terms.shape[1])
    ridge[0] = 0.0
    products = 1 + len(FEATURES)
    ridge[products : products + PRODUCTS] = max(problem.age / PLAIN, 1.0)
    return ridge


def _times(rows: Array, weights: Array) -> Array:
    """Returns rows @ weights without BLAS, for the reason in squares.py."""
    product: Array = np.einsum("ni,i->n", rows, weights)
    return product


def _part(problem: _Problem, coming: Array) -> float:
    """Returns which part of the shares to come has come at double the age: the median, held within 0 and 1."""
    return float(np.clip(np.median((problem.double - problem.shares) / np.maximum(coming, 1.0)), 0.0, 1.0))


def _quantile(feature: Array, log: Array, tail: float) -> Array:
    """Returns constant and slope of a quantile regression, by a smoothed pinball loss."""

    def loss(line: Array) -> tuple[float, Array]:
        miss = log - line[0] - line[1] * feature
        soft = np.logaddexp(0, -miss / 0.02) * 0.02
        by_miss = tail - 1 / (1 + np.exp(np.clip(miss / 0.02, -50, 50)))
        return float((tail * miss + soft).mean()), -np.array([by_miss.mean(), (by_miss * feature).mean()])

    result = minimize(loss, np.array([np.quantile(log, tail), 0.0]), jac=True, method="L-BFGS-B")
    line: Array = result.x
    # The smoothed loss is a little off the quantile, so the line is moved until exactly that part lies beyond.
    line[0] += np.quantile(log - line[0] - line[1] * feature, tail)
    return line

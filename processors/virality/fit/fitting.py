"""Fits the parameters of the forecast to posts whose final shares are known. Pure.

The fit takes three steps. (1) The correction ln a minimises a bounded loss of the error (correction.py): an end that
nobody could foresee, a cascade that wakes up after a year, pulls no more than any other. All ages are fitted together,
and their coefficients are drawn to those of their neighbours. (2) Where authors are given, the mean error that remains
on an author's posts is the author's habit, and the correction is fitted again beside the habits: for each post by its
author's other posts. (3) The ends of the intervals are quantiles (ends.py) of the shares that came against their
forecast, each for posts that the correction was not fitted on, so that the intervals hold for new posts.

With a prior, the parameters of many networks, the coefficients are drawn to the prior as if PULL_POSTS posts had said
so: of few posts the fit is nearly the prior, of many nearly their own (empirical Bayes: Efron and Morris 1975, JASA
70:311; the normal prior of a regression: Lindley and Smith 1972, JRSS B 34:1).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.virality.fit.correction import Loss, Problem, Pull, coming_of, corrections, few_of, some_of
from processors.virality.fit.ends import FEWEST, Ends, ends_of, weighted_quantile
from processors.virality.forecast import circumstances, features, long_reproduction, scale, terms
from processors.virality.habits import Habits, habits_of
from processors.virality.parameters import FEATURES, PRODUCTS, ForecastParameters

BOUNDED: Final = 0.03
"""ln a is held within these quantiles, from both ends, of its values on the posts of the sample."""

RIDGE: Final = 1e-2
SMOOTH: Final = 1e-2
"""Weights of the squared coefficients and of their squared steps from age to age, against a loss of 0 to 1."""

PULL_POSTS: Final = 20.0
PULL_SMOOTH: Final = 1.0
PULL_CONSTANT: Final = 0.3
"""With a prior: a squared distance of 1 from the prior counts as the loss of twenty posts, a squared step from age to
age as that of one; the distance of the constant three tenths, because networks differ in nothing as much."""

LEVEL_POWER: Final = 3.0
"""The level of the forecasts follows the newest posts: their half-life is this times shorter than that of the fit."""

LEVEL_POSTS: Final = 10.0
LEVEL_AGE: Final = 10.0
"""The number of posts without an error that are added to those of the level, at an age of so many minutes or less; from
there on it grows with the square root of the age, because the older posts are, the less the newest of them differ."""

PLAIN: Final = 60.0
"""Minutes of age until which products of features are drawn to 0 like features, and from there on in proportion to the
age: the older a post, the fewer shares are left to learn from."""

CROSS_FIT_FOLDS: Final = 4
FOLD_SEED: Final = 15
LEAST_POSTS: Final = 100
"""Fewer finished posts at an age than this are not fitted without a prior."""


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


def joined(age: float, samples: Iterable[Sample]) -> Sample:
    """Returns several samples as one, for an age."""
    columns = (np.concatenate(column) for column in zip(*(sample[1:] for sample in samples), strict=True))
    return Sample(age, *columns)


def fit(
    samples: Sequence[Sample],
    date: str,
    sample_facts: dict[str, Any],
    authors: Sequence[str] | None = None,
    *,
    prior: ForecastParameters | None = None,
    weights: Array | None = None,
    fold_of: Array | None = None,
    loss: Loss | None = None,
) -> ForecastParameters:
    """Fits parameters to samples at rising ages; `date` and `sample_facts` are stored with them.

    `authors` are those of all posts by their numbers, empty where not known. With `authors`, hours of the day and
    habits are learned as well; without, only what may hold for other networks. `weights` of all posts by their numbers,
    1 where None; `fold_of` them, 0 to CROSS_FIT_FOLDS - 1, at random where None: intervals of a fold rest on a fit on
    the others. With a `prior` the samples are at the prior's ages, with however few posts. Repeatable: the folds are
    seeded. Raises ValueError where, without a prior, an age has fewer than LEAST_POSTS posts.
    """
    loss = loss or Loss()
    if prior is None:
        _refuse_few(samples)
    problems, centres, widths = _problems(samples, prior, weights, hours=authors is not None)
    pull = _no_prior(problems) if prior is None else _to_prior(problems, prior)
    fitted, habits = corrections(problems, _start(problems, pull, prior), pull, loss, is_near=False), {}
    if authors is not None:
        numbers = {author: number for number, author in enumerate(sorted(set(authors) - {""}))}
        learned = _habits(problems, fitted, np.array([numbers.get(author, -1) for author in authors]))
        habits = {author: habit for author, habit in zip(numbers, learned.of_author.tolist(), strict=True) if habit}
        for problem in problems:
            problem.terms[:, -1] = learned.of_post[problem.post]
        fitted = corrections(problems, fitted, pull, loss)
    elsewhere = _elsewhere(problems, fitted, pull, loss, fold_of)
    if prior is not None:
        steps = [_level(problem, coming) for problem, coming in zip(problems, elsewhere, strict=True)]
        elsewhere = [coming * np.exp(step) for coming, step in zip(elsewhere, steps, strict=True)]
        fitted = fitted + np.outer(steps, np.arange(fitted.shape[1]) == 0)
    ends = [
        ends_of(problem, coming, None if prior is None else prior_ends(prior, number))
        for number, (problem, coming) in enumerate(zip(problems, elsewhere, strict=True))
    ]
    intervals: dict[str, Any] = {name: np.array([getattr(end, name) for end in ends]) for name in Ends._fields}
    return ForecastParameters(
        date=date,
        sample=sample_facts,
        ages=np.array([sample.age for sample in samples]),
        centre=np.array(centres),
        scale=np.array(widths),
        correction=fitted,
        bounds=np.array([problem.bounds for problem in problems]),
        habits=habits,
        **intervals,
    )


def prior_ends(prior: ForecastParameters, number: int) -> Ends:
    """Returns the ends of the intervals of a prior at one of its ages."""
    return Ends(*(getattr(prior, name)[number] for name in Ends._fields))


def folds_of(posts: Array, folds: int) -> Array:
    """Returns the fold of each post, 0 to folds - 1: of nearly equal size, at random, the same for the same number of
    posts."""
    order = np.random.default_rng(FOLD_SEED).permutation(len(posts))
    fold: Array = order % folds
    return fold


def _refuse_few(samples: Sequence[Sample]) -> None:
    if not samples:
        raise ValueError(f"at no age {LEAST_POSTS} finished posts with a share")
    for sample in samples:
        posts = len(np.unique(sample.post))
        if posts < LEAST_POSTS:
            raise ValueError(
                f"{posts} finished posts with a share at the age of {sample.age:g} minutes; it takes {LEAST_POSTS}"
            )


def _problems(
    samples: Sequence[Sample], prior: ForecastParameters | None, weights: Array | None, *, hours: bool
) -> tuple[list[Problem], list[Array], list[Array]]:
    """Prepares the samples, and returns centre and width of the features at each age: those of a prior if there is
    one."""
    problems, centres, widths = [], [], []
    for number, sample in enumerate(samples):
        r = long_reproduction(sample.spread)
        inputs = features(sample.spread, sample.own_age, r)
        weight = np.ones(len(r)) if weights is None else weights[sample.post]
        weight = weight / max(float(weight.mean()), 1e-12) if len(r) else weight
        if prior is None:
            centre, width = inputs.mean(axis=0).round(2), np.maximum(inputs.std(axis=0), 0.05).round(2)
        else:
            centre, width = prior.centre[number], prior.scale[number]
        shares, base = sample.spread[:, 0], r * sample.spread[:, 1]
        log = np.log((sample.final - shares + 1) / (base + 1))
        scaled = scale(inputs, centre, width)
        known = terms(scaled, circumstances(len(r), sample.at if hours else None, None))
        bounds = _bounds(log, None if prior is None else prior.bounds[number])
        problems.append(
            Problem(sample.age, sample.post, shares, base, scaled, known, bounds, sample.double, sample.final, weight)
        )
        centres.append(centre)
        widths.append(width)
    return problems, centres, widths


def _bounds(log: Array, prior: Array | None) -> Array:
    """Returns the least and the most of ln a: those of the prior, widened to what the posts show."""
    if prior is not None and len(log) < FEWEST:
        return prior
    shown: Array = np.quantile(log, [BOUNDED, 1 - BOUNDED]).round(2)
    return shown if prior is None else np.array([min(prior[0], shown[0]), max(prior[1], shown[1])])


def _no_prior(problems: Sequence[Problem]) -> Pull:
    """Returns the pull to 0: of the constant not at all, of a product the more the older the post."""
    ridge = np.ones((len(problems), problems[0].terms.shape[1]))
    ridge[:, 0] = 0.0
    products = 1 + len(FEATURES)
    for row, problem in zip(ridge, problems, strict=True):
        row[products : products + PRODUCTS] = max(problem.age / PLAIN, 1.0)
    return Pull(np.zeros(ridge.shape), RIDGE * ridge, SMOOTH)


def _to_prior(problems: Sequence[Problem], prior: ForecastParameters) -> Pull:
    """Returns the pull to the prior, the weaker the more posts."""
    ridge, smooth = np.ones(prior.correction.shape), 0.0
    ridge[:, 0] = PULL_CONSTANT
    for row, problem in zip(ridge, problems, strict=True):
        posts = _effective(problem)
        row *= PULL_POSTS / posts
        smooth = max(smooth, posts)
    return Pull(prior.correction, ridge, PULL_SMOOTH / max(smooth, 1.0))


def _effective(problem: Problem) -> float:
    """Returns the effective number of posts (Kish 1965), at least 1."""
    if not len(problem.post):
        return 1.0
    by_post = np.bincount(problem.post, problem.weight)
    return max(float(by_post.sum() ** 2 / (by_post**2).sum()), 1.0)


def _start(problems: Sequence[Problem], pull: Pull, prior: ForecastParameters | None) -> Array:
    if prior is not None:
        return pull.to
    start = pull.to.copy()
    start[:, 0] = [np.median(np.log((p.final - p.shares + 1) / (p.base + 1))) for p in problems]
    return start


def _level(problem: Problem, coming: Array) -> float:
    """Returns the median of ln(shares that came / forecast) over the newest posts, drawn to 0: what levels the forecast
    with the habits that the network has now."""
    if not len(problem.post):
        return 0.0
    log = np.log((problem.final - problem.shares + 1) / (coming + 1))
    newest = problem.weight**LEVEL_POWER
    posts = newest.sum() ** 2 / (newest**2).sum()
    drawn = posts / (posts + LEVEL_POSTS * max(problem.age / LEVEL_AGE, 1.0) ** 0.5)
    return float(weighted_quantile(log, newest, 0.5, float("inf")) * drawn)


def _habits(problems: Sequence[Problem], weights: Array, author: Array) -> Habits:
    """Returns habits from the errors of each post at all ages, in median errors of each age, none counted as more than
    one."""
    total, rows = np.zeros(len(author)), np.zeros(len(author))
    for problem, row in zip(problems, weights, strict=True):
        if not len(problem.post):
            continue
        log = np.log((problem.final - problem.shares + 1) / (coming_of(problem, row) + 1))
        total += np.bincount(problem.post, np.clip(log / max(np.median(np.abs(log)), 1e-3), -1, 1), len(author))
        rows += np.bincount(problem.post, minlength=len(author))
    return habits_of(author, np.where(rows > 0, total / np.maximum(rows, 1), np.nan))


def _elsewhere(problems: Sequence[Problem], start: Array, pull: Pull, loss: Loss, fold_of: Array | None) -> list[Array]:
    """Returns the shares to come of each post, by corrections fitted on the other folds."""
    posts = np.unique(np.concatenate([problem.post for problem in problems]))
    coming = [np.zeros(len(problem.post)) for problem in problems]
    if not len(posts):
        return coming
    if fold_of is None:
        fold_of = np.zeros(int(posts[-1]) + 1, np.int64)
        fold_of[posts] = folds_of(posts, CROSS_FIT_FOLDS)
    few = [few_of(problem) for problem in problems]
    for fold in range(CROSS_FIT_FOLDS):
        others = [some_of(problem, fold_of[problem.post] != fold) for problem in few]
        weights = corrections(others, start, pull, loss)
        for problem, shares, row in zip(problems, coming, weights, strict=True):
            held_out = fold_of[problem.post] == fold
            shares[held_out] = coming_of(some_of(problem, held_out), row)
    return coming

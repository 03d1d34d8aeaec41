"""The correction ln a of the forecast, fitted to posts whose final shares are known: the optimiser. Pure.

All ages are fitted together. The coefficients of an age are drawn to those of a prior (0 where there is none), and
their steps from there to the steps of the neighbouring ages.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.virality.squares import add_squares, solve

TOLERANCE: Final = 1.5
"""The error, in median errors, at which the loss turns from squares to a constant."""

OUTSIDE: Final = 1e-3
MOST_STEPS: Final = 60
LEAST_GAIN: Final = 1e-6
"""The optimiser ends once a step lowers the loss by less."""

FITTED_ROWS: Final = 25_000
"""The coefficients of an age rest on so many rows of its sample at most, which bounds the time of a fit: two dozen
coefficients learn nothing from more."""


class Problem(NamedTuple):
    """A sample at one age, prepared for the optimiser. `weight` of each post has a mean of 1."""

    age: float
    post: Array
    shares: Array
    base: Array  # R_t rest
    scaled: Array
    terms: Array
    bounds: Array  # of ln a: least, most
    double: Array
    final: Array
    weight: Array


class Pull(NamedTuple):
    """The point that coefficients are drawn to, a row per age, and how strongly: `ridge` is the weight of each squared
    distance and `smooth` that of its squared steps from age to age, against a loss of 0 to 1."""

    to: Array
    ridge: Array
    smooth: float


class Loss(NamedTuple):
    """The loss of a forecast. `is_log`: of ln(forecast / truth), which has no bias in the median, instead of forecast /
    truth - 1. `is_bounded`: squares for small errors and a constant for large ones (Geman and McClure 1985), instead of
    absolute errors."""

    is_log: bool = False
    is_bounded: bool = True


def corrections(problems: Sequence[Problem], start: Array, pull: Pull, loss: Loss, *, is_near: bool = True) -> Array:
    """Fits the coefficients of ln a, a row per age, from a `start` near to them; from any other start first by absolute
    errors, which have one minimum."""
    problems = [few_of(problem) for problem in problems]
    weights = start if loss.is_bounded and is_near else _minimise(problems, start, None, pull, loss)
    if not loss.is_bounded:
        return weights
    limits = [
        TOLERANCE * _middle(np.abs(_error(problem, problem.base * np.exp(log_a(problem, row)), loss))) + 1e-3
        for problem, row in zip(problems, weights, strict=True)
    ]
    return _minimise(problems, weights, limits, pull, loss)


def log_a(problem: Problem, weights: Array) -> Array:
    """Returns ln a of each post, held within the bounds."""
    log: Array = np.clip(times(problem.terms, weights), *problem.bounds)
    return log


def coming_of(problem: Problem, weights: Array) -> Array:
    """Returns the shares to come of each post."""
    coming: Array = problem.base * np.exp(log_a(problem, weights))
    return coming


def some_of(problem: Problem, chosen: Array) -> Problem:
    """Returns the problem with the chosen posts only, in unchanged bounds."""
    columns = {name: getattr(problem, name)[chosen] for name in Problem._fields if name not in ("age", "bounds")}
    return problem._replace(**columns)


def few_of(problem: Problem) -> Problem:
    """Returns the problem with every second, third ... row, at most FITTED_ROWS of them."""
    step = -(-len(problem.post) // FITTED_ROWS)
    return problem if step <= 1 else some_of(problem, np.arange(len(problem.post)) % step == 0)


def times(rows: Array, weights: Array) -> Array:
    """Returns rows @ weights without BLAS, for the reason in squares.py."""
    product: Array = np.einsum("ni,i->n", rows, weights)
    return product


def _error(problem: Problem, coming: Array, loss: Loss) -> Array:
    by_final: Array = (problem.shares + coming) / problem.final
    return np.log(by_final) if loss.is_log else by_final - 1


def _middle(values: Array) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _minimise(
    problems: Sequence[Problem], start: Array, limits: Sequence[float] | None, pull: Pull, loss: Loss
) -> Array:
    """Minimises by damped Gauss-Newton steps on reweighted squares (Levenberg 1944, Holland and Welsch 1977), all ages
    in one system."""
    weights, damping = start, 1e-3
    best, normal, slope = _system(problems, weights, limits, pull, loss)
    for _ in range(MOST_STEPS):
        step = solve(normal, damping, slope, start.shape[1]).reshape(start.shape)
        tried = _system(problems, weights - step, limits, pull, loss)
        if tried[0] < best:
            gained = best - tried[0]
            weights, damping = weights - step, max(damping / 4, 1e-6)
            best, normal, slope = tried
            if gained < LEAST_GAIN:
                break
        else:
            damping *= 8
            if damping > 1e6:
                break
    return weights


def _system(
    problems: Sequence[Problem], weights: Array, limits: Sequence[float] | None, pull: Pull, loss: Loss
) -> tuple[float, Array, Array]:
    """Returns the loss at these weights, the matrix of its normal equations, and half of its slope."""
    ages, width = weights.shape
    drawn = np.diag(np.full(ages, 2.0)) - np.eye(ages, k=1) - np.eye(ages, k=-1)
    drawn[0, 0] = drawn[-1, -1] = 1.0 if ages > 1 else 0.0
    normal = pull.smooth * np.kron(drawn, np.eye(width)) + np.diag(pull.ridge.ravel())
    away = (weights - pull.to).ravel()
    slope = times(normal, away)
    total = float((away * slope).sum())
    for number, problem in enumerate(problems):
        if not len(problem.post):
            continue
        log = times(problem.terms, weights[number])
        held = np.clip(log, *problem.bounds)
        coming = problem.base * np.exp(held)
        error = _error(problem, coming, loss)
        by_log = coming / (problem.shares + coming if loss.is_log else problem.final)
        if limits is None:
            root = np.sqrt(error**2 + 1e-4)
            value, weight = root, 0.5 / root
        else:
            square = limits[number] ** 2
            value, weight = error**2 / (error**2 + square), square / (error**2 + square) ** 2
        # Beyond a bound the loss is constant; a small pull back keeps the fit from staying there.
        inside, over = log == held, log - held
        total += float((problem.weight * (value + OUTSIDE * over**2)).mean())
        part = problem.weight / len(log)
        push = weight * error * by_log * inside + OUTSIDE * over
        squares = weight * by_log**2 * inside + OUTSIDE * ~inside
        add_squares(problem.terms, squares * part, push * part, number * width, normal, slope)
    return total, normal, slope

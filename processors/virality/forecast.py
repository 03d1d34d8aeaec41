"""The forecast of a post's shares in the end, and at double its age. Pure, vectorised over posts.

    forecast = N + a R_t rest

R_t rest are the shares that the nodes so far will bring themselves at the present R_t (Zhao et al. 2015). R_t is here
that of half of the post's age, however long: two hours say too little of a tail of days. The factor `a` stands for the
rest: R_t falls as an audience is used up, offspring have offspring, and the kernel is not this network's. ln a is a
quadratic of five numbers that are known at that age, fitted on finished posts and bounded, so that no forecast runs
away on posts or networks outside of the sample. Two more inputs are linear in ln a, where they were learned for this
very network: the hour of the day, as people sleep (Kobayashi and Lambiotte 2016 have the hour in the rate), and the
habit of the author on other posts.
"""

from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.virality.parameters import CIRCUMSTANCES, ForecastParameters
from processors.virality.reproduction import Reproduction, exposure, mean_reproduction, reproduction
from processors.virality.spread import FIELDS
from schemas.spread import FURTHEST_FEATURE

_DAY_MINUTES: Final = 1440

_PAIRS: Final = [(i, j) for i in range(5) for j in range(i, 5)]


class Forecast(NamedTuple):
    """Net shares in the end and at double the age, each with the ends of its 90 % interval. Never below the present
    shares."""

    final: Array
    low: Array
    high: Array
    double: Array
    double_low: Array
    double_high: Array


def reproduce(spread: Array) -> Reproduction:
    """Returns R_t of rows of spread.FIELDS."""
    s = dict(zip(FIELDS, spread.T, strict=True))
    return reproduction(
        s["shares"] - s["shares_before"], exposure(s["shares"], s["rest"], s["nodes_before"], s["rest_before"])
    )


def long_reproduction(spread: Array) -> Array:
    """Returns R_t over half of the post's age, however long, of rows of spread.FIELDS."""
    s = dict(zip(FIELDS, spread.T, strict=True))
    return mean_reproduction(
        s["shares"] - s["shares_half"], exposure(s["shares"], s["rest"], s["nodes_half"], s["rest_half"])
    )


def forecast(
    spread: Array, age: Array, parameters: ForecastParameters, as_of: Array | None = None, habits: Array | None = None
) -> Forecast:
    """Forecasts posts from rows of spread.FIELDS with at least one share.

    `age`: minutes; `as_of`: the same time in minutes since 1970; `habits`: those of the authors. Inputs that are not
    known do not change the forecast.
    """
    shares, r, at = spread[:, 0], long_reproduction(spread), parameters.at(age)
    scaled = scale(features(spread, age, r), at["centre"], at["scale"])
    known = terms(scaled, circumstances(len(spread), as_of, habits))
    coming = r * spread[:, 1] * np.exp(correction(known, at["correction"], at["bounds"]))
    by_double = coming * at["double"][:, 0]
    # The ends are logarithms of the shares to come. The forecast lies within them, whatever was fitted.
    low, high, double_low, double_high = (
        at[name][:, 0] + at[name][:, 1] * scaled[:, 0] for name in ("low", "high", "double_low", "double_high")
    )
    final, double = shares + coming, shares + by_double
    return Forecast(
        final,
        np.minimum(_end(shares, coming, low), final),
        np.maximum(_end(shares, coming, high), final),
        double,
        np.minimum(_end(shares, by_double, double_low), double),
        np.maximum(_end(shares, by_double, double_high), double),
    )


def features(spread: Array, age: Array, r: Array) -> Array:
    """Returns parameters.FEATURES, a row per post: ln(1 + N), ln rest, ln R_t of half of the age, and the mean and mean
    logarithm of the shares' lags behind the post against its age, which tell whether the shares came early or late."""
    s = dict(zip(FIELDS, spread.T, strict=True))
    return np.column_stack(
        [np.log1p(s["shares"]), np.log(np.maximum(s["rest"], 1e-12)), np.log(r), lag_features(spread, age)]
    )


def lag_features(spread: Array, age: Array) -> Array:
    """Returns the mean and the mean logarithm of the shares' lags behind the post against its age, a row per post."""
    s = dict(zip(FIELDS, spread.T, strict=True))
    shares = np.maximum(s["shares"], 1.0)
    return np.column_stack([(s["lag_sum"] / shares + 0.5) / age, s["log_lag_sum"] / shares - np.log(age)])


def scale(inputs: Array, centre: Array, width: Array) -> Array:
    """Returns features in standard deviations, held within FURTHEST_FEATURE."""
    scaled: Array = np.clip((inputs - centre) / width, -FURTHEST_FEATURE, FURTHEST_FEATURE)
    return scaled


def circumstances(count: int, as_of: Array | None, habits: Array | None) -> Array:
    """Returns parameters.CIRCUMSTANCES, a row per post: sine and cosine of the hour of the day, UTC, and the habit of
    the author; 0 where not known."""
    around = np.zeros((count, len(CIRCUMSTANCES)))
    if as_of is not None:
        turn = 2 * np.pi / _DAY_MINUTES * (as_of % _DAY_MINUTES)
        around[:, 0], around[:, 1] = np.sin(turn), np.cos(turn)
    if habits is not None:
        around[:, 2] = habits
    return around


def correction(known: Array, weights: Array, bounds: Array) -> Array:
    """Returns ln a, bounded, from a row of terms, of weights and of bounds per post."""
    log_a: Array = np.clip(np.einsum("ij,ij->i", known, weights), bounds[:, 0], bounds[:, 1])
    return log_a


def terms(scaled: Array, around: Array) -> Array:
    """Returns a constant, each feature, each product of two, and each of the `circumstances`: schemas.spread.TERM_COUNT
    columns."""
    columns = [np.ones(len(scaled)), *scaled.T, *(scaled[:, i] * scaled[:, j] for i, j in _PAIRS), *around.T]
    # A fit goes through the rows: column_stack would put columns, not rows, together in memory.
    known: Array = np.ascontiguousarray(np.column_stack(columns))
    return known


def _end(shares: Array, coming: Array, log: Array) -> Array:
    """Returns an end of an interval: shares to come + 1 are e^log times their forecast."""
    end: Array = shares + np.maximum((coming + 1) * np.exp(log) - 1, 0.0)
    return end

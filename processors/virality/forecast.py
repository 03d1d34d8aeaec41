"""How many shares a post will have in the end, and at double its age. Pure, vectorised over posts.

    forecast = N + a R_t rest

R_t rest is what the nodes so far are still to bring themselves at the present R_t (Zhao et al. 2015), here the R_t of
half of the post's age however long that is: two hours say too little of a tail of days. `a` stands for what that leaves
out: that R_t falls as an audience is used up, that offspring have offspring, that the kernel is not
this network's. ln a is a quadratic of five numbers that are known at that age, fitted on finished posts and bounded, so
that nothing runs away on posts or networks it was not fitted on. Linear in it stand two more things, where they were
learned for this very network: the hour of the day, as people sleep (Kobayashi and Lambiotte 2016 have it in the rate),
and what the author's other posts have done.
"""

from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.virality.parameters import CIRCUMSTANCES, ForecastParameters
from processors.virality.reproduction import Reproduction, exposure, ratio, reproduction
from processors.virality.spread import FIELDS

FURTHEST: Final = 2.5
"""Features are held within so many standard deviations of what was fitted."""

DAY: Final = 1440
"""Minutes."""

_PAIRS: Final = [(i, j) for i in range(5) for j in range(i, 5)]


class Forecast(NamedTuple):
    """Net shares, each with the ends of its 90 % interval: in the end, and at double the age. Never below those there
    are."""

    final: Array
    low: Array
    high: Array
    double: Array
    double_low: Array
    double_high: Array


def reproduce(spread: Array) -> Reproduction:
    """R_t of rows of spread.FIELDS."""
    s = dict(zip(FIELDS, spread.T, strict=True))
    return reproduction(
        s["shares"] - s["shares_before"], exposure(s["shares"], s["rest"], s["nodes_before"], s["rest_before"])
    )


def long_reproduction(spread: Array) -> Array:
    """R_t over half of the post's age, however long that is, of rows of spread.FIELDS."""
    s = dict(zip(FIELDS, spread.T, strict=True))
    return ratio(s["shares"] - s["shares_half"], exposure(s["shares"], s["rest"], s["nodes_half"], s["rest_half"]))


def forecast(
    spread: Array, age: Array, parameters: ForecastParameters, as_of: Array | None = None, habits: Array | None = None
) -> Forecast:
    """Of rows of spread.FIELDS with at least one share, at these ages in minutes, which are these minutes since 1970;
    `habits` of their authors. What is not known changes nothing."""
    shares, r, at = spread[:, 0], long_reproduction(spread), parameters.at(age)
    scaled = scale(features(spread, age, r), at["centre"], at["scale"])
    known = terms(scaled, circumstances(len(spread), as_of, habits))
    coming = r * spread[:, 1] * np.exp(correction(known, at["correction"], at["bounds"]))
    by_double = coming * at["double"][:, 0]
    # In logarithms of what comes; whatever was fitted, the forecast lies within.
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
    """parameters.FEATURES, a row per post: ln(1 + N), ln rest, ln R_t of half of the age, and the mean and mean
    logarithm of the shares' lags behind the post against its age: whether they came early or late in its life."""
    s = dict(zip(FIELDS, spread.T, strict=True))
    shares = np.maximum(s["shares"], 1.0)
    return np.column_stack(
        [
            np.log1p(s["shares"]),
            np.log(np.maximum(s["rest"], 1e-12)),
            np.log(r),
            (s["lag_sum"] / shares + 0.5) / age,
            s["log_lag_sum"] / shares - np.log(age),
        ]
    )


def scale(found: Array, centre: Array, width: Array) -> Array:
    """Features in standard deviations, held within FURTHEST."""
    scaled: Array = np.clip((found - centre) / width, -FURTHEST, FURTHEST)
    return scaled


def circumstances(count: int, as_of: Array | None, habits: Array | None) -> Array:
    """parameters.CIRCUMSTANCES, a row for each of so many posts: sine and cosine of the hour of the day, UTC, and the
    habit of the author; 0 where not known."""
    found = np.zeros((count, len(CIRCUMSTANCES)))
    if as_of is not None:
        turn = 2 * np.pi / DAY * (as_of % DAY)
        found[:, 0], found[:, 1] = np.sin(turn), np.cos(turn)
    if habits is not None:
        found[:, 2] = habits
    return found


def correction(known: Array, weights: Array, bounds: Array) -> Array:
    """ln a: bounded; a row of terms, of weights and of bounds per post."""
    found: Array = np.clip(np.einsum("ij,ij->i", known, weights), bounds[:, 0], bounds[:, 1])
    return found


def terms(scaled: Array, around: Array) -> Array:
    """A constant, each feature, each product of two, each of the `circumstances`: parameters.TERMS columns."""
    columns = [np.ones(len(scaled)), *scaled.T, *(scaled[:, i] * scaled[:, j] for i, j in _PAIRS), *around.T]
    return np.column_stack(columns)


def _end(shares: Array, coming: Array, log: Array) -> Array:
    """An end of an interval: what comes + 1 is e^log times what was forecast."""
    end: Array = shares + np.maximum((coming + 1) * np.exp(log) - 1, 0.0)
    return end

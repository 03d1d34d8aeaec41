"""R_t, how many shares a share brings now, and the half-life of a rate. Pure, vectorised over posts.

Cori et al. 2013 (Am J Epidemiol 178:1505) with the generation interval of generation.py. In a window of width w the
nodes would have had H(t) - H(t - w) offspring at one each, and N(t) - N(t - w) came. R_t is the ratio of both under a
Gamma prior. No tree is needed.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaincinv

from processors.columnar.arrays import Array
from schemas.spread import PRIOR_SCALE, PRIOR_SHAPE, TAIL


class Reproduction(NamedTuple):
    """R_t and the ends of its 90 % interval."""

    value: Array
    low: Array
    high: Array


def reproduction(new: Array, exposure: Array) -> Reproduction:
    """Returns R_t of a window: the mean and the 5 and 95 % quantiles of Gamma(1 + new, rate 1/5 + exposure).

    `new`: net shares in the window; `exposure`: the shares that nodes with one share each would have brought in the
    window. R_t is finite and positive for any input.
    """
    shape, rate = _posterior(new, exposure)
    return Reproduction(shape / rate, gammaincinv(shape, TAIL) / rate, gammaincinv(shape, 1.0 - TAIL) / rate)


def mean_reproduction(new: Array, exposure: Array) -> Array:
    """Returns the mean of `reproduction` alone."""
    shape, rate = _posterior(new, exposure)
    return shape / rate


def exposure(shares: Array, rest: Array, nodes_before: Array, rest_before: Array) -> Array:
    """Returns H(t) - H(t - w), H = nodes - rest: the shares that a window would have brought at one offspring a node.
    Never below 0."""
    grown: Array = np.maximum((shares + 1.0 - rest) - (nodes_before - rest_before), 0.0)
    return grown


def rate_half_life(window: Array | float, old: Array, new: Array) -> Array:
    """Returns the minutes in which a rate halves, by two neighbouring windows of `window` minutes: w ln 2 / ln(old /
    new). NaN unless old > new > 0, as a rate that does not fall has no half-life."""
    falls = (old > new) & (new > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        half_life: Array = np.where(falls, window * np.log(2.0) / np.log(old / np.where(falls, new, 1.0)), np.nan)
    return half_life


def _posterior(new: Array, exposure: Array) -> tuple[Array, Array]:
    """Returns shape and rate of the Gamma distribution of R_t."""
    return PRIOR_SHAPE + np.maximum(new, 0.0), 1.0 / PRIOR_SCALE + np.maximum(exposure, 0.0)

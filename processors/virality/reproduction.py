"""R_t: how many shares a share brings, now; and the half-life of a rate. Pure, vectorised over posts.

Cori et al. 2013 (Am J Epidemiol 178:1505) with the generation interval of generation.py: of the H(t) - H(t - w)
offspring that the nodes would have had in the window at one each, N(t) - N(t - w) came, and R_t is their ratio under a
Gamma prior. It needs no tree.
"""

from typing import Final, NamedTuple

import numpy as np
from scipy.special import gammaincinv

from processors.columnar.arrays import Array

PRIOR_SHAPE: Final = 1.0
PRIOR_SCALE: Final = 5.0
"""Cori's own prior: mean 5, standard deviation 5."""

TAIL: Final = 0.05
"""Probability on each side of an interval: they are of 90 %."""


class Reproduction(NamedTuple):
    """R_t and the ends of its 90 % interval."""

    value: Array
    low: Array
    high: Array


def reproduction(new: Array, exposure: Array) -> Reproduction:
    """R_t of a window in which `new` net shares came where each node bringing one in all would have brought `exposure`:
    the mean and the 5 and 95 % quantiles of Gamma(1 + new, rate 1/5 + exposure). Finite and positive, whatever comes.
    """
    shape, rate = _posterior(new, exposure)
    return Reproduction(shape / rate, gammaincinv(shape, TAIL) / rate, gammaincinv(shape, 1.0 - TAIL) / rate)


def ratio(new: Array, exposure: Array) -> Array:
    """The mean alone."""
    shape, rate = _posterior(new, exposure)
    return shape / rate


def exposure(shares: Array, rest: Array, nodes_before: Array, rest_before: Array) -> Array:
    """H(t) - H(t - w), H = nodes - rest: what a window would have brought at one offspring a node. Never below 0."""
    grown: Array = np.maximum((shares + 1.0 - rest) - (nodes_before - rest_before), 0.0)
    return grown


def rate_half_life(window: Array | float, old: Array, new: Array) -> Array:
    """Minutes in which the rate halves, by two neighbouring windows of `window` minutes: w ln 2 / ln(old / new). NaN
    unless old > new > 0: a rate that does not fall has none."""
    falls = (old > new) & (new > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Array = np.where(falls, window * np.log(2.0) / np.log(old / np.where(falls, new, 1.0)), np.nan)
    return found


def _posterior(new: Array, exposure: Array) -> tuple[Array, Array]:
    """Shape and rate of the Gamma distribution of R_t."""
    return PRIOR_SHAPE + np.maximum(new, 0.0), 1.0 / PRIOR_SCALE + np.maximum(exposure, 0.0)

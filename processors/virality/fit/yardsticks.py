"""A plain SEISMIC, against which forecasts are compared (Zhao, Erdogdu, He, Rajaraman, Leskovec 2015, KDD). Pure.

Without followers each share reaches one node. The infectiousness p is the weighted number of the shares in the younger
half of the age, the newest counted most (a triangle), against those that were due; then

    final = N + p rest / (1 - p),

and no end is foreseen where p is 1 or more. The factors that the paper fits to its own network are left out.
"""

import numpy as np

from processors.columnar.arrays import Array
from processors.virality.fit.cascades import Cascades
from processors.virality.generation import MINUTES, WEIGHTS, survival


def seismic(cascades: Cascades, age: int, posts: Array) -> Array:
    """Forecasts the final shares of these posts at an age in minutes; infinite where p is 1 or more."""
    stands = (cascades.lag < age) & (cascades.gone >= age)
    count = len(cascades.post_ids)
    node = np.concatenate([cascades.post[stands], np.arange(count)])
    born = np.concatenate([np.maximum(cascades.lag[stands], 0) + 0.5, np.zeros(count)])
    number = np.concatenate([cascades.shares[stands], np.ones(count)])
    since = age - born
    weight = np.maximum(1 - 2 * since / age, 0.0)
    weight[-count:] = 0.0  # the post itself came from nobody
    came = np.bincount(node, number * weight, count)
    due = np.bincount(node, number * _due(since, age), count)
    rest = np.bincount(node, number * survival(since), count)
    shares = np.bincount(cascades.post[stands], cascades.shares[stands], count)
    p = came / np.maximum(due, 1e-12)
    coming = np.where(p < 1, p * rest / np.maximum(1 - p, 1e-12), np.inf)
    final: Array = (shares + coming)[posts]
    return final


def _due(since: Array, age: float) -> Array:
    """Returns the offspring that a node of this age has in the younger half of the post's age at p = 1, weighted by the
    triangle: by parts, Phi(since) - 2 / age times the integral of Phi over that half."""
    before = np.maximum(since - age / 2, 0.0)
    due: Array = 1 - survival(since) - 2 / age * (_grown(since) - _grown(before))
    return due


def _grown(minutes: Array) -> Array:
    """Returns the integral of Phi from 0 on."""
    grown: Array = minutes - np.einsum("...k,k", 1 - np.exp(-minutes[..., None] / MINUTES), WEIGHTS * MINUTES)
    return grown

"""The shipped parameters: a prior fitted to many networks, so that its forecasts are of use on one that nobody saw.

Learned are half of the networks of a plan, judged the other half: whole transformations are held out, not posts. The
correction minimises absolute errors of ln(forecast / truth), which has no bias in the median where networks disagree;
the intervals rest on networks that the correction was not fitted on, so that they are as wide as networks differ. From
there on parameters for several kinds of networks are fitted; kinds.py reads which of them a network is like.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Final

import numpy as np

from processors.columnar.arrays import Array
from processors.virality.fit.backtest import NEAR
from processors.virality.fit.cascades import Cascades, sample_at
from processors.virality.fit.correction import Loss
from processors.virality.fit.fitting import CROSS_FIT_FOLDS, Sample, fit, joined
from processors.virality.parameters import ForecastParameters
from processors.virality.prior.networks import NetworkPlan, network
from processors.virality.spread import Lookups
from schemas.spread import FITTED_AGES

_MEMORIES: Final = (1.0, 1.2, 0.9, 1.1, 1.3)
_SIMULATED: Final = ((1.0, 0.3), (0.5, 0.6), (1.0, 0.8), (0.3, 0.9), (0.3, 0.98))
_SIZES: Final = (("small posts", (0.1, 0.25)), ("posts as recorded", (0.6, 1.0)), ("large posts", (2.5, 5.0)))

LEARNED: Final = (
    *(
        NetworkPlan(pace, _MEMORIES[number % len(_MEMORIES)], part)
        for number, (pace, part) in enumerate(product((1.0, 3.0, 5.0, 7.0, 9.0, 12.0), (0.1, 0.5, 2.0, 5.0)))
    ),
    *(NetworkPlan(pace, reproduction=r) for pace, r in _SIMULATED),
)
"""Networks to learn from. Nearly all are slower than the recorded one, on which half of a post's shares come within an
hour: few networks can be much faster, many are slower by far."""

RARE_PART: Final = 0.2
RARE_WEIGHT: Final = 0.3
"""Networks with less than this part of the shares, and simulated ones, count less: they are kinds of their own."""

NETWORK_KINDS: Final = {
    **{
        f"pace x {pace:g}, {size}": tuple(
            NetworkPlan(pace * factor, memory, part, variety=0.3)
            for part in parts
            for factor, memory in ((0.8, 1.2), (1.2, 0.9), (1.0, 1.05))
        )
        for pace in (0.4, 1.0, 2.2, 4.5, 9.0)
        for size, parts in _SIZES
    },
    **{
        f"simulated, R {r:g}": tuple(NetworkPlan(pace, reproduction=r) for pace in (0.4, 1.0, 2.0))
        for r in (0.4, 0.7, 0.88, 0.97)
    },
}
"""Kinds of networks by name, and the networks that teach each kind."""

HELD_OUT: Final = (
    *(NetworkPlan(pace, memory) for pace, memory in ((0.3, 1.1), (1.3, 0.95), (3.5, 0.9), (6.0, 1.0), (8.0, 1.1))),
    *(NetworkPlan(pace, 1.0, variety=0.5) for pace in (0.55, 2.7, 4.2)),
    *(NetworkPlan(pace, memory, part) for pace, memory, part in ((4.0, 1.25, 0.3), (1.5, 1.0, 0.5), (6.5, 1.0, 0.15))),
    *(NetworkPlan(pace, memory, part) for pace, memory, part in ((0.7, 1.0, 0.1), (5.5, 1.2, 2.0), (8.0, 1.0, 4.0))),
    *(NetworkPlan(pace, 1.1, part, variety=0.5) for pace, part in ((2.0, 3.0), (5.0, 3.0))),
    *(NetworkPlan(pace, reproduction=r) for pace, r in ((0.7, 0.5), (0.5, 0.75), (0.8, 0.85))),
)

LEARNED_POSTS: Final = 250
KIND_POSTS: Final = 150
"""Posts of each network that is learned, and of each that teaches a kind."""

ORDER_SEED: Final = 1
FIRST_KIND_SEED: Final = 9_000

LEAST_RECORDED: Final = 50
LEAST_SIMULATED: Final = 20
FEWEST_SHARES: Final = 5
"""Final shares of a post that is learned from: 50, of networks with a part of the shares that part, but 5 at least."""


def least_shares(plan: NetworkPlan) -> int:
    """Returns the final shares from which on a post of the network counts."""
    return LEAST_SIMULATED if plan.reproduction else max(FEWEST_SHARES, round(LEAST_RECORDED * min(plan.part, 1.0)))


def fit_prior(recorded: Cascades, date: str, facts: dict[str, Any]) -> ForecastParameters:
    """Fits parameters to the networks of LEARNED, and from these on those of each of NETWORK_KINDS."""
    lookups = Lookups()
    order = np.random.default_rng(ORDER_SEED).permutation(len(LEARNED))  # folds shall not be sizes
    samples, network_of = _of_networks(recorded, [LEARNED[number] for number in order], LEARNED_POSTS, 0, lookups)
    importance = [RARE_WEIGHT if is_rare(LEARNED[number]) else 1.0 for number in order]
    weights = _weights(samples, network_of) * np.array(importance)[network_of]
    fold_of = network_of % CROSS_FIT_FOLDS
    loss = Loss(is_log=True, is_bounded=False)
    prior = fit(samples, date, facts, weights=weights, fold_of=fold_of, loss=loss)
    kinds = {}
    for name, plans in NETWORK_KINDS.items():
        samples, network_of = _of_networks(recorded, plans, KIND_POSTS, FIRST_KIND_SEED, lookups)
        weights, fold_of = _weights(samples, network_of), np.arange(len(network_of)) % CROSS_FIT_FOLDS
        kind = fit(samples, date, {}, prior=prior, weights=weights, fold_of=fold_of, loss=loss)
        kinds[name] = kind.table
    return replace(prior, kinds=kinds)


def is_rare(plan: NetworkPlan) -> bool:
    """Tells whether a network counts less."""
    return plan.reproduction > 0 or plan.part < RARE_PART


def _of_networks(
    recorded: Cascades, plans: Sequence[NetworkPlan], posts: int, seed: int, lookups: Lookups
) -> tuple[list[Sample], Array]:
    """Makes the networks of the plans, and returns their samples as those of one, and the place of the network of each
    post."""
    parts = []
    for number, plan in enumerate(plans):
        made = network(plan, recorded, posts, seed + number)
        parts.append(_samples(made, made.final >= least_shares(plan), lookups))
    sizes = [max((int(sample.post.max(initial=0)) + 1 for sample in part), default=1) for part in parts]
    first = np.concatenate([[0], np.cumsum(sizes)])
    samples = []
    for number, age in enumerate(FITTED_AGES):
        at_age = [
            part[number]._replace(post=part[number].post + start) for part, start in zip(parts, first, strict=False)
        ]
        samples.append(joined(age, at_age))
    return samples, np.repeat(np.arange(len(plans)), sizes)


def _weights(samples: Sequence[Sample], network_of: Array) -> Array:
    """Returns the weight of each post by which networks count alike: one over the posts of its network at an hour."""
    posts = np.bincount(network_of[np.unique(samples[3].post)], minlength=int(network_of.max()) + 1)
    weights: Array = 1 / np.maximum(posts, 1)[network_of]
    return weights


def _samples(cascades: Cascades, chosen: Array, lookups: Lookups) -> list[Sample]:
    return [
        joined(age, (sample_at(cascades, round(age * factor), chosen, lookups) for factor in NEAR))
        for age in FITTED_AGES
    ]

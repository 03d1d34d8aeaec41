"""The shipped parameters: a prior fitted to many networks, so that its forecasts are of use on one that nobody saw.

Learned are half of the networks of a plan, judged the other half: whole transformations are held out, not posts. The
correction minimises absolute errors of ln(forecast / truth), which has no bias in the median where networks disagree;
the intervals rest on networks that the correction was not fitted on, so that they are as wide as networks differ.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from processors.virality.fit.backtest import NEAR
from processors.virality.fit.cascades import Cascades, sample_at
from processors.virality.fit.correction import Loss
from processors.virality.fit.fitting import CROSS_FIT_FOLDS, Sample, fit
from processors.virality.fit.networks import NetworkPlan, network
from processors.virality.parameters import ForecastParameters
from processors.virality.spread import Lookups
from schemas.spread import FITTED_AGES

LEARNED: Final = (
    *(NetworkPlan(pace, memory) for pace, memory in ((0.2, 1.0), (0.4, 1.2), (0.7, 0.85), (1.0, 1.0), (1.5, 1.2))),
    *(NetworkPlan(pace, memory) for pace, memory in ((2.0, 0.9), (3.0, 1.0), (3.0, 1.25), (5.0, 1.0), (5.0, 0.85))),
    *(NetworkPlan(pace, memory) for pace, memory in ((4.0, 1.1), (5.0, 1.2))),
    *(NetworkPlan(pace, 1.0, part) for pace, part in ((1.0, 0.3), (3.0, 0.1), (2.0, 0.03))),
    *(NetworkPlan(pace, reproduction=r) for pace, r in ((1.0, 0.3), (0.5, 0.6), (1.0, 0.8), (0.3, 0.9), (0.3, 0.98))),
)
"""Networks to learn from. Most are slower than the recorded one, on which half of a post's shares come within an hour:
few networks can be much faster, many are slower by far."""

HELD_OUT: Final = (
    *(NetworkPlan(pace, memory) for pace, memory in ((0.3, 1.1), (0.5, 0.9), (1.2, 0.9), (2.5, 1.1), (3.5, 0.9))),
    *(NetworkPlan(pace, memory) for pace, memory in ((4.5, 1.0), (4.0, 1.25))),
    *(NetworkPlan(pace, 1.0, part) for pace, part in ((1.5, 0.5), (4.0, 0.2), (0.7, 0.1))),
    *(NetworkPlan(pace, reproduction=r) for pace, r in ((0.7, 0.5), (0.5, 0.7), (0.4, 0.85))),
)

LEARNED_POSTS: Final = 200
"""Posts of each network that is learned."""

LEAST_RECORDED: Final = 50
LEAST_SIMULATED: Final = 20
FEWEST_SHARES: Final = 5
"""Final shares of a post that is learned from: 50, of networks with a part of the shares that part, but 5 at least."""


def least_shares(plan: NetworkPlan) -> int:
    """Returns the final shares from which on a post of the network counts."""
    return LEAST_SIMULATED if plan.reproduction else max(FEWEST_SHARES, round(LEAST_RECORDED * plan.part))


def fit_prior(recorded: Cascades, plans: Sequence[NetworkPlan], date: str, facts: dict[str, Any]) -> ForecastParameters:
    """Fits parameters to the networks of the plans, each network counted alike."""
    lookups, parts = Lookups(), []
    for number, plan in enumerate(plans):
        made = network(plan, recorded, LEARNED_POSTS, number)
        parts.append(_samples(made, made.final >= least_shares(plan), lookups))
    sizes = [max((int(sample.post.max(initial=0)) + 1 for sample in part), default=1) for part in parts]
    first = np.concatenate([[0], np.cumsum(sizes)])
    weights, fold_of = np.zeros(first[-1]), np.zeros(first[-1], np.int64)
    for number, (part, (start, end)) in enumerate(zip(parts, pairwise(first), strict=True)):
        weights[start:end] = 1 / max(len(np.unique(part[3].post)), 1)
        fold_of[start:end] = number % CROSS_FIT_FOLDS
    samples = []
    for number, age in enumerate(FITTED_AGES):
        at_age = [
            part[number]._replace(post=part[number].post + start) for part, start in zip(parts, first, strict=False)
        ]
        columns = (np.concatenate(column) for column in zip(*(sample[1:] for sample in at_age), strict=True))
        samples.append(Sample(age, *columns))
    return fit(samples, date, facts, weights=weights, fold_of=fold_of, loss=Loss(is_log=True, is_bounded=False))


def _samples(cascades: Cascades, chosen: Any, lookups: Lookups) -> list[Sample]:
    samples = []
    for age in FITTED_AGES:
        near = [sample_at(cascades, round(age * factor), chosen, lookups)[1:] for factor in NEAR]
        samples.append(Sample(age, *(np.concatenate(column) for column in zip(*near, strict=True))))
    return samples

"""The numbers behind R_t and the forecast of the next hour, which rows (processors/virality/) and views
(deploy/clickhouse/) share. Definitions and sources: docs/metrics.md.

The generation interval is the time that a share takes to bring the next one:

    1 - Phi(u) = sum_k w_k e^(-u / tau_k)

is the part of a node's offspring that is still to come at age u. The mixture was fitted to the human reaction times of
Zhao et al. 2015 (SEISMIC, KDD, Twitter): a flat top of about five minutes, then a power law.
"""

from functools import cache
from math import exp
from typing import Final

KERNEL: Final = (
    (287.2, 0.223975),
    (1374.9, 0.274147),
    (6581.6, 0.138422),
    (31506.0, 0.115348),
    (150817.9, 0.077360),
    (721960.4, 0.016906),
    (3456000.0, 0.153842),
)
"""tau_k in seconds, rising, and w_k; the weights sum to 1."""

LEAST_WINDOW: Final = 5.0
MOST_WINDOW: Final = 120.0
"""Minutes. R_t looks back over half of the post's age, within these bounds; forecasts do so without an upper bound."""

PRIOR_SHAPE: Final = 1.0
PRIOR_SCALE: Final = 5.0
"""The Gamma prior of R_t, Cori's own: mean 5, standard deviation 5."""

TAIL: Final = 0.05
"""Probability on each side of an interval of 90 %."""

LEAST_EXPOSURE: Final = PRIOR_SHAPE - 1 / PRIOR_SCALE
"""The shares due in the window, at one a node, from which on R_t is known. There a window without a share gives an R_t
of 1; below it the prior would say that posts spread on which nothing happens."""

NEXT_PRIOR: Final = (1.0, 1.5)
"""Shape and rate of the Gamma prior of R in the next hour: mean 2/3. Chosen for predictions that are right on average
on simulated processes of R = 0.5 to 1.5."""

MOST_NEXT: Final = 2.0
"""R in the next hour at most. A post with a large audience of its own looks like one of a large R at first, and on
recorded posts no larger R has lasted for an hour."""

NEXT_MINUTES: Final = 60.0
GENERATIONS: Final = 16
"""Generations within the hour that count; further ones add less than 1 in 10,000 at R = 2."""

FITTED_AGES: Final = (5.0, 10.0, 20.0, 60.0, 180.0, 360.0, 1440.0, 4320.0, 20160.0)
"""Minutes of age at which parameters of the forecast are fitted; in between they are interpolated in ln age."""

FURTHEST_FEATURE: Final = 2.5
"""Features of the forecast are held within so many standard deviations of the sample's mean."""

FEATURE_COUNT: Final = 5
CIRCUMSTANCE_COUNT: Final = 3
TERM_COUNT: Final = 1 + FEATURE_COUNT + FEATURE_COUNT * (FEATURE_COUNT + 1) // 2 + CIRCUMSTANCE_COUNT
"""The terms of the forecast's correction: a constant, each feature, each product of two, and the circumstances."""

PARAMETER_WIDTHS: Final = {
    "centre": FEATURE_COUNT,
    "scale": FEATURE_COUNT,
    "correction": TERM_COUNT,
    "bounds": 2,
    "low": 2,
    "high": 2,
    "double": 1,
    "double_low": 2,
    "double_high": 2,
}
"""The parameters of the forecast at one age, in the order in which forecast_versions stores them, and how many numbers
each has; processors/virality/parameters.py says what they are."""

SPREAD_REASONS: Final = ("the post itself has not come", "no shares", "faded", "too few shares to tell")
"""Why R_t is not known, by the codes 1, 2, ... of `spread_reason`."""

FADED: Final = SPREAD_REASONS.index("faded") + 1


@cache
def arrivals() -> tuple[tuple[float, ...], ...]:
    """Computes the probability of a chain of g offspring within NEXT_MINUTES, per component k of the kernel and g.

    The first wait of a chain is that of component k, the others are mixtures of all components.

    A wait is a jump from its component to one of the next generation. The probabilities are found by uniformization: a
    sum over Poisson numbers of steps, of positive terms alone, exact to 1e-14.
    """
    fastest = 1 / KERNEL[0][0]
    steps = 60 * NEXT_MINUTES * fastest
    jumps = [1 / seconds / fastest for seconds, _ in KERNEL]
    come = [[0.0] * (GENERATIONS + 1) for _ in KERNEL]  # after so many steps
    found = [[0.0] * GENERATIONS for _ in KERNEL]
    chance, step = exp(-steps), 0
    while step < steps or chance > 1e-18:
        follow = [1.0, *(sum(w * come[k][g] for k, (_, w) in enumerate(KERNEL)) for g in range(1, GENERATIONS + 1))]
        for k, jump in enumerate(jumps):
            for g in range(GENERATIONS):
                found[k][g] += chance * come[k][g + 1]
            come[k] = [1.0, *(jump * follow[g - 1] + (1 - jump) * come[k][g] for g in range(1, GENERATIONS + 1))]
        step += 1
        chance *= steps / step
    return tuple(map(tuple, found))

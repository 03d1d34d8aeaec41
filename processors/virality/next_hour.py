"""The forecast of the shares of the next hour: the expectation of a self-exciting process. Pure, vectorised over posts.

A share brings R further ones, each after a wait that is distributed as the generation interval (a Hawkes process, as
in SEISMIC, Zhao et al. 2015). The waits are a mixture of exponentials, which have no memory, so all that the past says
about the future is, per component k, the number `rest_k` of shares that the nodes so far have still to bring at one a
node. With F_kg (schemas.spread.arrivals) the probability that a chain of g offspring comes within the hour,

    E[shares of the next hour] = sum_g R^g sum_k rest_k F_kg.

R is that of the younger half of the post's age, longer than the window of R_t, under a prior with a mean below 1.
Without new shares each rest_k falls as e^(-t / tau_k), and so does the forecast: to 0.
"""

from typing import Final

import numpy as np

from processors.columnar.arrays import Array
from processors.virality.reproduction import exposure
from processors.virality.spread import FIELDS, FIRST_PART
from schemas.spread import GENERATIONS, MOST_NEXT, NEXT_PRIOR, arrivals

_ARRIVALS: Final = np.array(arrivals())


def posterior(spread: Array) -> tuple[Array, Array]:
    """Returns shape and rate of the Gamma distribution of R, from rows of spread.FIELDS: those of the prior, and the
    net shares of the younger half of each post's age and the shares due in it at one a node."""
    s = dict(zip(FIELDS, spread.T, strict=True))
    due = exposure(s["shares"], s["rest"], s["nodes_half"], s["rest_half"])
    return NEXT_PRIOR[0] + np.maximum(s["shares"] - s["shares_half"], 0.0), NEXT_PRIOR[1] + due


def shares_of_next_hour(spread: Array) -> Array:
    """Returns the net shares expected within schemas.spread.NEXT_MINUTES of posts, from rows of spread.FIELDS."""
    shape, rate = posterior(spread)
    r = np.minimum(shape / rate, MOST_NEXT)
    by_generation = spread[:, FIRST_PART:] @ _ARRIVALS
    expected: Array = np.einsum("ij,ij->i", by_generation, r[:, None] ** np.arange(1, GENERATIONS + 1))
    return expected

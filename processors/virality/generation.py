"""The generation interval: how long a share takes to bring the next one, as a survival function.

    1 - Phi(u) = sum_k w_k e^(-u / tau_k)

is the part of a node's offspring that is still to come at age u. The mixture was fitted to the human reaction times of
Zhao et al. 2015 (SEISMIC, KDD, Twitter): a flat top of about five minutes, then a power law. Pure.
"""

from functools import cache
from typing import Final

import numpy as np

from processors.columnar.arrays import Array

SECONDS: Final = np.array([287.2, 1374.9, 6581.6, 31506.0, 150817.9, 721960.4, 3456000.0])
WEIGHTS: Final = np.array([0.223975, 0.274147, 0.138422, 0.115348, 0.077360, 0.016906, 0.153842])
"""Time constants and weights of the mixture; the weights sum to 1."""

MINUTES: Final = SECONDS / 60

TABLE_DAYS: Final = 60
HALF_MINUTES: Final = TABLE_DAYS * 1440 * 2
"""Panes are minutes and windows are half of an age, so every lag is a multiple of half a minute, and the table is
exact."""


def survival(minutes: Array | float) -> Array:
    """Returns 1 - Phi at these ages in minutes, exactly; 1 before an age of 0."""
    age = np.maximum(np.asarray(minutes, np.float64), 0.0)
    surviving: Array = np.einsum("...k,k", np.exp(-age[..., None] / MINUTES), WEIGHTS)
    return surviving


@cache
def survival_table() -> Array:
    """Computes 1 - Phi by half-minutes, up to TABLE_DAYS, once a process. The table is read-only: 1.4 MB, 10 ms."""
    table = np.empty(HALF_MINUTES + 1)
    for start in range(0, len(table), 4096):  # seven columns at once would be 10 MB
        part = np.arange(start, min(start + 4096, len(table)))
        table[part] = survival(part / 2)
    table.flags.writeable = False
    return table

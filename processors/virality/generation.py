"""The generation interval (schemas/spread.py) as arrays, and its survival function 1 - Phi. Pure."""

from functools import cache
from typing import Final

import numpy as np

from processors.columnar.arrays import Array
from schemas.spread import KERNEL

MINUTES: Final = np.array([seconds for seconds, _ in KERNEL]) / 60
WEIGHTS: Final = np.array([weight for _, weight in KERNEL])
"""Time constants and weights of the mixture; the weights sum to 1."""

TABLE_DAYS: Final = 60
HALF_MINUTES: Final = TABLE_DAYS * 1440 * 2
"""Panes are minutes and windows are half of an age, so every lag is a multiple of half a minute, and the table is
exact."""

DECAY_HALF_MINUTES: Final = 2 * 1440 * 2
"""Two days, within which `decay_table` has the components: 320 KB."""


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


@cache
def decay_table() -> Array:
    """Computes w_k e^(-u / tau_k), whose sum is 1 - Phi, a row per half-minute u up to DECAY_HALF_MINUTES and a column
    per component. Read-only."""
    ages = np.arange(DECAY_HALF_MINUTES + 1)[:, None] / 2
    table: Array = np.exp(-ages / MINUTES) * WEIGHTS
    table.flags.writeable = False
    return table

"""Normal equations, compiled. Not by BLAS: its threads cost 20 times what they gain on products this small, where other
processes want the cores too."""

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray[Any, Any]


@njit(cache=True, nogil=True)
def add_squares(terms: Array, pull: Array, push: Array, start: int, normal: Array, slope: Array) -> None:
    """Adds terms' diag(pull) terms to the block of `normal` that begins at `start`, and terms' push to that of
    `slope`."""
    width = terms.shape[1]
    for row in range(terms.shape[0]):
        for i in range(width):
            slope[start + i] += terms[row, i] * push[row]
            pulled = terms[row, i] * pull[row]
            for j in range(width):
                normal[start + i, start + j] += pulled * terms[row, j]

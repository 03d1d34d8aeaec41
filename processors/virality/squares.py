"""Normal equations, compiled. BLAS is not used: its threads cost 20 times what they gain on systems this small, where
other processes want the cores too."""

from math import sqrt

import numpy as np
from numba import njit

from processors.columnar.arrays import Array


@njit(cache=True, nogil=True)
def add_squares(terms: Array, pull: Array, push: Array, start: int, normal: Array, slope: Array) -> None:
    """Adds terms' diag(pull) terms to the lower half of the block of `normal` from `start` on, and terms' push to that
    of `slope`."""
    width = terms.shape[1]
    block = np.zeros((width, width))
    for row in range(terms.shape[0]):
        for i in range(width):
            slope[start + i] += terms[row, i] * push[row]
            pulled = terms[row, i] * pull[row]
            for j in range(i + 1):
                block[i, j] += pulled * terms[row, j]
    for i in range(width):
        for j in range(i + 1):
            normal[start + i, start + j] += block[i, j]


@njit(cache=True, nogil=True)
def solve(normal: Array, damping: float, slope: Array, band: int) -> Array:
    """Returns x of (normal + damping diag(normal)) x = slope by Cholesky's method. Reads the lower half of a positive
    matrix that is zero further than `band` from its diagonal."""
    size = len(slope)
    lower = np.zeros((size, size))
    solution = slope.copy()
    for i in range(size):
        first = max(0, i - band)
        for j in range(first, i + 1):
            total = normal[i, j] * (1.0 + damping) if i == j else normal[i, j]
            for k in range(first, j):
                total -= lower[i, k] * lower[j, k]
            lower[i, j] = sqrt(total) if i == j else total / lower[j, j]
        for k in range(first, i):
            solution[i] -= lower[i, k] * solution[k]
        solution[i] /= lower[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, min(size, i + band + 1)):
            solution[i] -= lower[k, i] * solution[k]
        solution[i] /= lower[i, i]
    return solution

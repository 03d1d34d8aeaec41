"""Dictionary encoding: the distinct values of a column, and for each value its index among them."""

import numpy as np
from numba import njit

from processors.columnar.arrays import Array


def number(places: Array, size: int) -> tuple[Array, Array]:
    """Returns the distinct values of `places`, which are below `size`, in the order of first occurrence, and for each
    value its index among them.

    >>> number(np.array([7, 3, 7]), 10)
    (array([7, 3]), array([0, 1, 0], dtype=uint32))
    """
    used, called = np.empty(min(size, len(places)), np.int64), np.empty(len(places), np.uint32)
    return used[: _number(places, np.full(size, -1, np.int32), used, called)], called


@njit(cache=True, nogil=True)
def _number(places, names, used, called):
    count = 0
    for i in range(len(places)):
        place = places[i]
        if names[place] < 0:
            names[place] = count
            used[count] = place
            count += 1
        called[i] = names[place]
    return count

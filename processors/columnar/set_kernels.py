"""The compiled loops behind sets.py, over single values."""

import numpy as np
from numba import njit

_EMPTY = np.int64(-1)
_MIX = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def add_distinct(owners, values, found):
    """Adds the number of distinct values of each owner to `found`; 20 to 40 ns a value. Values are hashes."""
    size = 16
    while size < 2 * len(owners):
        size *= 2
    mask = np.uint64(size - 1)
    table = np.full(size, _EMPTY)
    for i in range(len(owners)):
        place = ((values[i] ^ (np.uint64(owners[i]) * _MIX)) * _MIX) >> np.uint64(20) & mask
        while True:
            j = table[place]
            if j == _EMPTY:
                table[place] = i
                found[owners[i]] += 1
                break
            if owners[j] == owners[i] and values[j] == values[i]:
                break
            place = (place + np.uint64(1)) & mask


@njit(cache=True, nogil=True)
def gather(rows, starts, lengths, values, out):
    """Writes the sets of `rows` to `out`, one after the other."""
    top = 0
    for row in rows:
        for i in range(starts[row], starts[row] + lengths[row]):
            out[top] = values[i]
            top += 1

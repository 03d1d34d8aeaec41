"""Hash indexes over rows that have a post and a key: linear probing, for the compiled loops of this package.

An index is an array of u4. An entry is a row number (26 bits) and one more than 6 bits of the key's hash, so that a
probe reads the row of another key once in 63; 0 is a free place.
"""

from typing import Final

import numpy as np
from numba import njit

ROW_BITS: Final = 26
ROW_MASK: Final = (1 << ROW_BITS) - 1
MOST_ROWS: Final = 1 << ROW_BITS


@njit(cache=True, nogil=True, inline="always")
def mix_key(post, key):
    """Hashes (post, key) to 64 bits with the finalizer of SplitMix64 (Steele et al. 2014)."""
    h = np.uint64(key) + np.uint64(post) * np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(cache=True, nogil=True, inline="always")
def tag_of(h):
    return np.uint32(np.uint64(h >> np.uint64(58)) % np.uint64(63) + np.uint64(1))


@njit(cache=True, nogil=True, inline="always")
def first_place(h, places):
    """Returns the place at which the search for a hash begins, by Lemire 2019: no division, any number of places."""
    return ((h & np.uint64(0xFFFFFFFF)) * np.uint64(places)) >> np.uint64(32)


@njit(cache=True, nogil=True, inline="always")
def next_place(place, places):
    place += np.uint64(1)
    return place if place < np.uint64(places) else np.uint64(0)


@njit(cache=True, nogil=True)
def find(rows, index, post, key):
    """Returns the row of (post, key), or -1 - (the free place of the index for it)."""
    h = mix_key(post, key)
    tag = tag_of(h)
    place = first_place(h, len(index))
    while True:
        entry = index[place]
        if entry == 0:
            return -1 - np.int64(place)
        if entry >> np.uint32(ROW_BITS) == tag:
            row = np.int64(entry & np.uint32(ROW_MASK))
            if rows[row].key == key and rows[row].post == post:
                return row
        place = next_place(place, len(index))


@njit(cache=True, nogil=True)
def append(rows, index, sizes, table, missing, post, key):
    """Makes a row for (post, key); `missing` is the answer of `find`, and `table` the place of the table in `sizes`.
    Returns the row."""
    row = sizes[table]
    sizes[table] = row + 1
    rows[row].post = post
    rows[row].key = key
    index[-1 - missing] = (tag_of(mix_key(post, key)) << np.uint32(ROW_BITS)) | np.uint32(row)
    return row


@njit(cache=True, nogil=True)
def build_index(rows, size, index):
    """Fills an empty index from the first `size` rows."""
    for row in range(size):
        h = mix_key(rows[row].post, rows[row].key)
        place = first_place(h, len(index))
        while index[place] != 0:
            place = next_place(place, len(index))
        index[place] = (tag_of(h) << np.uint32(ROW_BITS)) | np.uint32(row)

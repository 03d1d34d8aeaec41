"""Compiled kernels of the conversation fold: loops over cells and voices."""

import numpy as np
from numba import njit

_EMPTY = np.int64(-1)
_MIX = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def mix_keys(some, others):
    """Returns one key for each pair of numbers, by the finalizer of SplitMix64."""
    out = np.empty(len(some), np.uint64)
    for i in range(len(some)):
        x = some[i] + np.uint64(others[i]) * _MIX
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        out[i] = x ^ (x >> np.uint64(31))
    return out


@njit(cache=True, nogil=True)
def enter(slots, known, keys, numbers, count):
    """Finds the number of each key, numbers new keys from `count` on, and returns the new count. `slots`, whose length
    is a power of two and at least twice the count, holds numbers; `known` holds the key of each number."""
    mask = np.uint64(len(slots) - 1)
    for i in range(len(keys)):
        slot = keys[i] & mask
        while True:
            number = slots[slot]
            if number == _EMPTY:
                slots[slot] = number = count
                known[count] = keys[i]
                count += 1
                break
            if known[number] == keys[i]:
                break
            slot = (slot + np.uint64(1)) & mask
        numbers[i] = number
    return count


@njit(cache=True, nogil=True)
def choose(rows, versions, known, best):
    """Chooses for each row the cell with the highest version, if it is above the row's version in `known`. Puts the
    version into `known`, and the number of the cell into `best`, which is -1 for each row before."""
    for i in range(len(rows)):
        if versions[i] > known[rows[i]]:
            known[rows[i]] = versions[i]
            best[rows[i]] = i


@njit(cache=True, nogil=True)
def spread(slots, known, count):
    """Fills empty `slots` with the first `count` numbers."""
    mask = np.uint64(len(slots) - 1)
    for number in range(count):
        slot = known[number] & mask
        while slots[slot] != _EMPTY:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = number


@njit(cache=True, nogil=True)
def find_rows(owner_of, groups, top, rows, owners):
    """Finds the rows whose group has an owner (`owner_of` >= 0), and the owner of each. Returns the number of rows."""
    count = 0
    for row in range(top):
        if owner_of[groups[row]] >= 0:
            rows[count], owners[count] = row, owner_of[groups[row]]
            count += 1
    return count


@njit(cache=True, nogil=True)
def add_counts(rows, owners, counts, versions, sums, seen, fold):
    """Adds the counts of `rows` to the sums of their owners. Finds the highest fold version of each owner's cells, and
    the number of events that the cells of that fold version have seen. A cell's version: fold version (8 bits) | events
    seen (30) | 0 (26 bits). Fold versions count events differently, so numbers of two of them do not add up."""
    for i in range(len(rows)):
        row, owner = rows[i], owners[i]
        for column in range(counts.shape[1]):
            sums[owner, column] += np.int64(counts[row, column])
        made_by = versions[row] >> np.uint64(56)
        if made_by > fold[owner]:
            fold[owner] = made_by
            seen[owner] = 0
        if made_by == fold[owner]:
            seen[owner] += (versions[row] >> np.uint64(26)) & np.uint64((1 << 30) - 1)

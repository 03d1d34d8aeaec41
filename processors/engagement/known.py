"""The known posts, which the log has, in bounded memory: a set of hashes, which becomes a filter once it is full.

A false positive costs a look-up. A false negative must never occur, because a post's new events would be folded without
its events in the log. So the set may become a Bloom filter, which has false positives alone: with b bits for each of n
posts it takes (1 - e^(-4/b))^4 of the unknown posts for known (Bloom 1970, with 4 probes), which is 1 % at 10 bits and
nearly all at 1. All posts are looked up then, as if none was known.
"""

from typing import Final

import numpy as np
from numba import njit

from processors.columnar.arrays import Array
from processors.columnar.mmap_arrays import zeros

SLOTS: Final = 1024
"""The slots of an empty set. The number of slots is always a power of two."""

_LOAD: Final = 0.75
_PROBES: Final = 4


class KnownPosts:
    """Hashes of posts (`Hasher.hashes`) in `most_bytes` of memory, and in up to twice as much while the set grows or
    becomes a filter."""

    def __init__(self, most_bytes: int) -> None:
        self._places = SLOTS
        while 2 * self._places * 8 <= most_bytes:
            self._places *= 2
        self._slots: Array = np.zeros(SLOTS, np.uint64)
        self._count = 0
        self._is_exact = True

    @property
    def bytes(self) -> int:
        """The memory in bytes."""
        return int(self._slots.nbytes)

    @property
    def is_exact(self) -> bool:
        """Whether there are no false positives, because the set is no filter yet."""
        return self._is_exact

    def add(self, hashes: Array) -> None:
        """Adds posts, in about 0.1 us each."""
        if self._is_exact and self._count + len(hashes) > _LOAD * len(self._slots):
            self._make_room(len(hashes))
        if self._is_exact:
            self._count += _enter(self._slots, hashes)
        else:
            _mark(self._slots, hashes)

    def has(self, hashes: Array) -> Array:
        """Returns for each post whether it is known. Where not `is_exact`, some unknown posts count as known."""
        is_known = np.empty(len(hashes), np.bool_)
        (_find if self._is_exact else _probe)(self._slots, hashes, is_known)
        return is_known

    @classmethod
    def load_kernels(cls) -> None:
        """Loads the kernels of set and filter from the cache, or compiles the kernels."""
        known, hashes = cls(0), np.arange(SLOTS, dtype=np.uint64)
        for some in (hashes[:1], hashes):
            known.add(some)
            known.has(some)

    def _make_room(self, more: int) -> None:
        size = len(self._slots)
        while self._count + more > _LOAD * size and size <= self._places:
            size *= 2
        held = self._slots
        self._is_exact = size <= self._places
        self._slots = zeros(min(size, self._places), np.uint64)
        (_enter if self._is_exact else _mark)(self._slots, held[held != 0])


@njit(cache=True, nogil=True)
def _enter(slots, hashes):
    """Adds hashes to a set by linear probing, and returns the number of new ones. The hash 0 is stored as 1, because 0
    marks an empty slot."""
    mask = np.uint64(len(slots) - 1)
    count = 0
    for i in range(len(hashes)):
        hash_ = max(hashes[i], np.uint64(1))
        slot = hash_ & mask
        while slots[slot] != 0 and slots[slot] != hash_:
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] == 0:
            slots[slot] = hash_
            count += 1
    return count


@njit(cache=True, nogil=True)
def _find(slots, hashes, is_known):
    """Sets `is_known[i]` to whether the set has hash i."""
    mask = np.uint64(len(slots) - 1)
    for i in range(len(hashes)):
        hash_ = max(hashes[i], np.uint64(1))
        slot = hash_ & mask
        while slots[slot] != 0 and slots[slot] != hash_:
            slot = (slot + np.uint64(1)) & mask
        is_known[i] = slots[slot] == hash_


@njit(cache=True, nogil=True)
def _mark(words, hashes):
    """Adds hashes to a filter: sets their bits."""
    mask = np.uint64(len(words) * 64 - 1)
    for i in range(len(hashes)):
        bit = max(hashes[i], np.uint64(1))
        step = (bit >> np.uint64(32)) | np.uint64(1)
        for _ in range(_PROBES):
            words[(bit & mask) >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))
            bit += step


@njit(cache=True, nogil=True)
def _probe(words, hashes, is_known):
    """Sets `is_known[i]` to whether the filter has all bits of hash i."""
    mask = np.uint64(len(words) * 64 - 1)
    for i in range(len(hashes)):
        bit = max(hashes[i], np.uint64(1))
        step = (bit >> np.uint64(32)) | np.uint64(1)
        is_known[i] = True
        for _ in range(_PROBES):
            if not words[(bit & mask) >> np.uint64(6)] >> (bit & np.uint64(63)) & np.uint64(1):
                is_known[i] = False
                break
            bit += step

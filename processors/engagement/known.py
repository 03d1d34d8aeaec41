"""Which posts the log has, in bounded memory: a set of hashes, and a filter once the set is full.

A post that is said to be known and is not costs a look-up; one that is known must never be said not to be, because its
events would be folded without those that the log has. So the set may become a Bloom filter, which errs in one direction
alone: with b bits for each of n posts it takes (1 - e^(-4/b))^4 of the unknown ones for known (Bloom 1970, with 4
probes): 1 % at 10 bits, nearly all at 1. All posts are looked up then, as if nothing was known.
"""

from typing import Final

import numpy as np
from numba import njit

from processors.columnar.arrays import Array
from processors.columnar.mmap_arrays import zeros

SLOTS: Final = 1024
"""Of a set without posts; always a power of two."""

_LOAD: Final = 0.75
_PROBES: Final = 4


class KnownPosts:
    """Hashes of posts (`Hasher.hashes`), in `most_bytes` of memory; in up to twice as many while a set grows or becomes
    a filter."""

    def __init__(self, most_bytes: int) -> None:
        self._places = SLOTS
        while 2 * self._places * 8 <= most_bytes:
            self._places *= 2
        self._slots: Array = np.zeros(SLOTS, np.uint64)
        self._count = 0
        self._is_exact = True

    @property
    def bytes(self) -> int:
        """Memory."""
        return int(self._slots.nbytes)

    @property
    def is_exact(self) -> bool:
        """Whether posts that were never added are never said to be known."""
        return self._is_exact

    def add(self, hashes: Array) -> None:
        """These posts are known from now on. About 0.1 us each."""
        if self._is_exact and self._count + len(hashes) > _LOAD * len(self._slots):
            self._make_room(len(hashes))
        if self._is_exact:
            self._count += _enter(self._slots, hashes)
        else:
            _mark(self._slots, hashes)

    def has(self, hashes: Array) -> Array:
        """Of each whether it is known; where not `is_exact`, of some that are not as well."""
        found = np.empty(len(hashes), np.bool_)
        (_find if self._is_exact else _probe)(self._slots, hashes, found)
        return found

    @classmethod
    def load_kernels(cls) -> None:
        """Loads the compiled kernels of set and filter, or compiles them where no cache has them."""
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
    """Puts hashes into a set (linear probing; 0 is an empty slot, so the hash 0 goes as 1); how many were new."""
    mask = np.uint64(len(slots) - 1)
    count = 0
    for i in range(len(hashes)):
        hash_ = max(hashes[i], np.uint64(1))
        place = hash_ & mask
        while slots[place] != 0 and slots[place] != hash_:
            place = (place + np.uint64(1)) & mask
        if slots[place] == 0:
            slots[place] = hash_
            count += 1
    return count


@njit(cache=True, nogil=True)
def _find(slots, hashes, found):
    """Which hashes are in a set."""
    mask = np.uint64(len(slots) - 1)
    for i in range(len(hashes)):
        hash_ = max(hashes[i], np.uint64(1))
        place = hash_ & mask
        while slots[place] != 0 and slots[place] != hash_:
            place = (place + np.uint64(1)) & mask
        found[i] = slots[place] == hash_


@njit(cache=True, nogil=True)
def _mark(words, hashes):
    """Sets the bits of hashes in a filter."""
    mask = np.uint64(len(words) * 64 - 1)
    for i in range(len(hashes)):
        bit = max(hashes[i], np.uint64(1))
        step = (bit >> np.uint64(32)) | np.uint64(1)
        for _ in range(_PROBES):
            words[(bit & mask) >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))
            bit += step


@njit(cache=True, nogil=True)
def _probe(words, hashes, found):
    """Which hashes have all their bits set in a filter."""
    mask = np.uint64(len(words) * 64 - 1)
    for i in range(len(hashes)):
        bit = max(hashes[i], np.uint64(1))
        step = (bit >> np.uint64(32)) | np.uint64(1)
        found[i] = True
        for _ in range(_PROBES):
            if not words[(bit & mask) >> np.uint64(6)] >> (bit & np.uint64(63)) & np.uint64(1):
                found[i] = False
                break
            bit += step

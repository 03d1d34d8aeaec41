"""An index that numbers keys of 64 bits in the order of their first coming.

Keys are mixed hashes under the secret of this process (Python's own SipHash). Two of a million open cells have the same
key in one of forty million states.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.sets import grown
from processors.conversation import kernels

INDEX_ROOM: Final = 1024


class Index:
    """A hash table from keys to numbers. A look-up takes 25 to 100 ns a key."""

    def __init__(self) -> None:
        self.count = 0
        self._keys = np.zeros(INDEX_ROOM, np.uint64)
        self._slots = np.full(2 * INDEX_ROOM, -1, np.int64)

    @property
    def bytes(self) -> int:
        """The memory in bytes, spare room included."""
        return int(self._keys.nbytes + self._slots.nbytes)

    def numbers(self, keys: Array) -> Array:
        """Returns the numbers of these keys. New keys are numbered from `count` on, in the order of their first
        coming."""
        needed = self.count + len(keys)
        if needed > len(self._keys):
            self._keys = grown(self._keys, needed)
        if 2 * needed > len(self._slots):
            self._spread(needed)
        numbers = np.empty(len(keys), np.int64)
        self.count = kernels.enter(self._slots, self._keys, keys, numbers, self.count)
        return numbers

    def keep(self, mask: Array) -> None:
        """Keeps the keys selected by the mask, and renumbers them in their order."""
        kept = self._keys[: self.count][mask]
        self._keys, self.count = kept, len(kept)
        self._spread(self.count)

    def _spread(self, needed: int) -> None:
        size = 2 * INDEX_ROOM
        while size < 2 * needed:
            size *= 2
        self._slots = np.full(size, -1, np.int64)
        kernels.spread(self._slots, self._keys, self.count)


def hashes_of(texts: Sequence[str]) -> Array:
    """Returns the hash of each text, which is the same throughout this process."""
    hashes: Array = np.fromiter(map(hash, texts), np.int64, len(texts))
    return hashes.view(np.uint64)

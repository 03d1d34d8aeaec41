"""Keys of 64 bits, numbered as they come.

Keys are hashes under the secret of this process (Python's own SipHash), mixed: that two of a million open cells have
the same one happens once in forty million states.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.sets import grown
from processors.conversation import kernels

INDEX_ROOM: Final = 1024


class Index:
    """Number of each key; 25 to 100 ns a key."""

    def __init__(self) -> None:
        self.count = 0
        self._keys = np.zeros(INDEX_ROOM, np.uint64)
        self._slots = np.full(2 * INDEX_ROOM, -1, np.int64)

    @property
    def bytes(self) -> int:
        """Memory, room included."""
        return int(self._keys.nbytes + self._slots.nbytes)

    def numbers(self, keys: Array) -> Array:
        """The numbers of these keys; new ones go on from `count`, in the order of their first coming."""
        needed = self.count + len(keys)
        if needed > len(self._keys):
            self._keys = grown(self._keys, needed)
        if 2 * needed > len(self._slots):
            self._spread(needed)
        found = np.empty(len(keys), np.int64)
        self.count = kernels.enter(self._slots, self._keys, keys, found, self.count)
        return found

    def keep(self, mask: Array) -> None:
        """Only those that `mask` names, numbered anew in the same order."""
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
    """One number a text, the same in this process."""
    hashes: Array = np.fromiter(map(hash, texts), np.int64, len(texts))
    return hashes.view(np.uint64)

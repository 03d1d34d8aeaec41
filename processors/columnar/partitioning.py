"""The partitions of Kafka keys, for thousands of keys at once."""

from collections.abc import Sequence

import numpy as np
from numba import njit

from processors.columnar.arrays import Array


def partitions_of(post_ids: Sequence[str], partitions: int) -> Array:
    """Returns the Kafka partition of each key, as the default partitioners of Java and kafka-python do; 0.1 us a
    key."""
    keys = [post_id.encode() for post_id in post_ids]
    ends = np.cumsum([len(key) + 1 for key in keys]) - 1
    out = np.empty(len(keys), np.int64)
    text = np.frombuffer(b"\0".join(keys) or b"\0", np.uint8)
    _partitions(text, ends.astype(np.int64), partitions, out)
    return out


@njit(cache=True, nogil=True)
def _partitions(text, ends, partitions, out):
    """Runs Kafka's default partitioner (murmur2, seed 0x9747b28c) over byte strings that end at `ends`, one NUL
    apart."""
    start = 0
    for i in range(len(ends)):
        length = ends[i] - start
        h = np.uint32(0x9747B28C) ^ np.uint32(length)
        at = start
        while at + 4 <= ends[i]:
            k = (
                np.uint32(text[at])
                | (np.uint32(text[at + 1]) << np.uint32(8))
                | (np.uint32(text[at + 2]) << np.uint32(16))
                | (np.uint32(text[at + 3]) << np.uint32(24))
            )
            k = np.uint32(k * np.uint32(0x5BD1E995))
            k ^= k >> np.uint32(24)
            k = np.uint32(k * np.uint32(0x5BD1E995))
            h = np.uint32(h * np.uint32(0x5BD1E995)) ^ k
            at += 4
        rest = ends[i] - at
        if rest >= 3:
            h ^= np.uint32(text[at + 2]) << np.uint32(16)
        if rest >= 2:
            h ^= np.uint32(text[at + 1]) << np.uint32(8)
        if rest >= 1:
            h ^= np.uint32(text[at])
            h = np.uint32(h * np.uint32(0x5BD1E995))
        h ^= h >> np.uint32(13)
        h = np.uint32(h * np.uint32(0x5BD1E995))
        h ^= h >> np.uint32(15)
        out[i] = (h & np.uint32(0x7FFFFFFF)) % np.uint32(partitions)
        start = ends[i] + 1

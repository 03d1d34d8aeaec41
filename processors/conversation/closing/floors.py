"""Floors: for each partition of conversations the minute before which all minutes are closed."""

from collections.abc import Mapping

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.partitioning import partitions_of


def floors_of_partitions(floors: Mapping[int, int], partitions: Array) -> Array:
    """Returns the floor of each partition; 0 where it has none."""
    table = np.zeros(max([*floors, int(partitions.max(initial=0))], default=0) + 1, np.int64)
    for partition, floor in floors.items():
        table[partition] = floor
    return table[partitions]


def floors_of_conversations(floors: Mapping[int, int], conversations: Array, of: int) -> Array:
    """Returns the floor of the partition, out of `of`, of each conversation. Hashes names only where floors differ."""
    first = min(floors.values(), default=0)
    if all(floor == first for floor in floors.values()):
        return np.full(len(conversations), first, np.int64)
    return floors_of_partitions(floors, partitions_of(conversations.tolist(), of))

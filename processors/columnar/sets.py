"""Counts of distinct people and channels: unions of sets of 64-bit numbers, exact or sketched.

A theta sketch keeps the smallest of the hashes of a set. Below the largest one that it keeps, theta, it is the set
itself; so the union of some sketches and sets is known below the least theta, and its size is what is kept there,
divided by theta / 2^64 (Dasgupta, Lang, Rhodes & Thaler 2016). With 256 kept the standard error is 6 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np

from processors.columnar import set_kernels
from processors.columnar.arrays import Array

_EVERYTHING: Final = np.uint64(2**64 - 1)
_MOST: Final = 2.0**62
"""The largest estimate: values that are no hashes could make any."""

_ROOM: Final = 1024

_GROWTH: Final = 1.25
"""The factor by which a full column grows. A small factor wastes little memory; each value is then copied four times on
average, a nanosecond each."""


@dataclass(frozen=True)
class Sets:
    """Sets of 64-bit numbers, one after the other in `values`; `lengths` has the size of each."""

    values: Array
    lengths: Array

    def __getitem__(self, mask: Array) -> Self:
        """Returns the sets where `mask` is true."""
        return type(self)(self.values[np.repeat(mask, self.lengths)], self.lengths[mask])

    def select(self, places: Array) -> Self:
        """Returns the sets at these indexes, in their order; an index may come several times."""
        lengths = self.lengths[places]
        values = np.empty(int(lengths.sum()), np.uint64)
        set_kernels.gather(places, self.starts, self.lengths, self.values, values)
        return type(self)(values, lengths)

    @cached_property
    def starts(self) -> Array:
        """The start of each set in `values`."""
        found: Array = np.cumsum(self.lengths) - self.lengths
        return found

    def owners(self) -> Array:
        """Returns the number of the set of each value."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)


def join_sets(parts: Sequence[Sets]) -> Sets:
    """Returns all sets of these parts, in their order."""
    return Sets(
        np.concatenate([np.empty(0, np.uint64), *(part.values for part in parts)]),
        np.concatenate([np.empty(0, np.int64), *(part.lengths for part in parts)]),
    )


class Pool:
    """Sets by row, which are replaced one by one. Replaced sets keep their memory until there is no more room."""

    def __init__(self) -> None:
        self._values = np.empty(_ROOM, np.uint64)
        self._top = 0
        self._starts = np.zeros(_ROOM, np.int64)
        self._lengths = np.zeros(_ROOM, np.int64)

    @property
    def bytes(self) -> int:
        """The memory, room included."""
        return int(self._values.nbytes + self._starts.nbytes + self._lengths.nbytes)

    def put(self, rows: Array, sets: Sets) -> None:
        """Replaces the sets of these rows, each named once."""
        count, highest = len(sets.values), int(rows.max(initial=-1))
        if highest >= len(self._starts):
            self._starts, self._lengths = (grown(column, highest + 1) for column in (self._starts, self._lengths))
        if self._top + count > len(self._values):
            self._tidy(count)
        self._values[self._top : self._top + count] = sets.values
        self._starts[rows] = self._top + sets.starts
        self._lengths[rows] = sets.lengths
        self._top += count

    def keep(self, mask: Array) -> None:
        """Keeps only the rows where `mask` is true, numbered anew in the same order."""
        count = len(mask)
        if count > len(self._starts):
            self._starts, self._lengths = (grown(column, count) for column in (self._starts, self._lengths))
        self._starts, self._lengths = self._starts[:count][mask], self._lengths[:count][mask]
        self._tidy(0)

    def get(self, rows: Array) -> Sets:
        """Returns the sets of these rows."""
        lengths = self._lengths[rows]
        values = np.empty(int(lengths.sum()), np.uint64)
        set_kernels.gather(rows, self._starts, self._lengths, self._values, values)
        return Sets(values, lengths)

    def _tidy(self, more: int) -> None:
        """Makes room for `more` values: drops replaced sets, and grows where that is not enough."""
        rows = np.flatnonzero(self._lengths)
        kept = self.get(rows)
        needed = len(kept.values) + more
        values = np.empty(max(_ROOM, needed + needed // 2), np.uint64)
        values[: len(kept.values)] = kept.values
        self._values, self._top = values, len(kept.values)
        self._starts[rows] = kept.starts


def grown(column: Array, needed: int) -> Array:
    """Returns the same column with room for at least `needed` rows, the new ones 0."""
    larger = np.zeros((max(needed, int(_GROWTH * len(column))), *column.shape[1:]), column.dtype)
    larger[: len(column)] = column
    return larger


def count_distinct(owners: Array, values: Array, count: int) -> Array:
    """Counts the distinct values of each of `count` owners."""
    found = np.zeros(count, np.int64)
    set_kernels.add_distinct(owners, values, found)
    return found


def count_voices(owners: Array, voices: Sets, exact: Array, count: int) -> tuple[Array, Array]:
    """Counts the voices of each of `count` owners, and tells whether the count is exact, from sets (`exact`) and
    sketches.

    `owners` and `exact` have one value a set. Each sketch is sorted.
    """
    of = np.repeat(owners, voices.lengths)
    sketches = np.flatnonzero(~exact & (voices.lengths > 0))
    if not len(sketches):
        return count_distinct(of, voices.values, count), np.ones(count, np.bool_)
    thetas = np.full(count, _EVERYTHING)
    np.minimum.at(thetas, owners[sketches], voices.values[np.cumsum(voices.lengths)[sketches] - 1])
    is_exact = np.ones(count, np.bool_)
    is_exact[owners[sketches]] = False
    kept = is_exact[of] | (voices.values < thetas[of])
    found = count_distinct(of[kept], voices.values[kept], count)
    estimates = np.rint(np.minimum(found / (thetas.astype(np.float64) / 2.0**64), _MOST)).astype(np.int64)
    return np.where(is_exact, found, estimates), is_exact

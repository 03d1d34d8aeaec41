"""How many distinct people, or channels: unions of sets of 64-bit numbers, exact or sketched.

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
"""Hashes that are none may make any estimate."""

_ROOM: Final = 1024

_GROWTH: Final = 1.25
"""Of a column that is full: the less, the closer memory is to what is in it. Of what it holds each value is copied four
times, a nanosecond each."""


@dataclass(frozen=True)
class Sets:
    """Sets of 64-bit numbers, one after the other: `lengths` says how many of `values` belong to each."""

    values: Array
    lengths: Array

    def __getitem__(self, mask: Array) -> Self:
        """Those that `mask` names."""
        return type(self)(self.values[np.repeat(mask, self.lengths)], self.lengths[mask])

    def select(self, places: Array) -> Self:
        """Those at these places, in their order, several times perhaps."""
        lengths = self.lengths[places]
        values = np.empty(int(lengths.sum()), np.uint64)
        set_kernels.gather(places, self.starts, self.lengths, self.values, values)
        return type(self)(values, lengths)

    @cached_property
    def starts(self) -> Array:
        """Where each begins."""
        found: Array = np.cumsum(self.lengths) - self.lengths
        return found

    def owners(self) -> Array:
        """Of each value, the number of its set."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)


def join_sets(parts: Sequence[Sets]) -> Sets:
    """All sets of these parts, in their order."""
    return Sets(
        np.concatenate([np.empty(0, np.uint64), *(part.values for part in parts)]),
        np.concatenate([np.empty(0, np.int64), *(part.lengths for part in parts)]),
    )


class Pool:
    """Sets that are replaced one by one, by row. What was replaced is left behind until there is no more room."""

    def __init__(self) -> None:
        self._values = np.empty(_ROOM, np.uint64)
        self._top = 0
        self._starts = np.zeros(_ROOM, np.int64)
        self._lengths = np.zeros(_ROOM, np.int64)

    @property
    def bytes(self) -> int:
        """Memory, room included."""
        return int(self._values.nbytes + self._starts.nbytes + self._lengths.nbytes)

    def put(self, rows: Array, sets: Sets) -> None:
        """The sets of these rows, each named once, from now on."""
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
        """Only the rows that `mask` names, numbered anew in the same order."""
        count = len(mask)
        if count > len(self._starts):
            self._starts, self._lengths = (grown(column, count) for column in (self._starts, self._lengths))
        self._starts, self._lengths = self._starts[:count][mask], self._lengths[:count][mask]
        self._tidy(0)

    def get(self, rows: Array) -> Sets:
        """The sets of these rows."""
        lengths = self._lengths[rows]
        values = np.empty(int(lengths.sum()), np.uint64)
        set_kernels.gather(rows, self._starts, self._lengths, self._values, values)
        return Sets(values, lengths)

    def _tidy(self, more: int) -> None:
        """Makes room, of what was replaced, and by growing where that is not enough."""
        rows = np.flatnonzero(self._lengths)
        kept = self.get(rows)
        needed = len(kept.values) + more
        values = np.empty(max(_ROOM, needed + needed // 2), np.uint64)
        values[: len(kept.values)] = kept.values
        self._values, self._top = values, len(kept.values)
        self._starts[rows] = kept.starts


def grown(column: Array, needed: int) -> Array:
    """The same column with room for at least `needed` rows, the new ones 0."""
    larger = np.zeros((max(needed, int(_GROWTH * len(column))), *column.shape[1:]), column.dtype)
    larger[: len(column)] = column
    return larger


def count_distinct(owners: Array, values: Array, count: int) -> Array:
    """Distinct values of each of `count` owners."""
    found = np.zeros(count, np.int64)
    set_kernels.add_distinct(owners, values, found)
    return found


def count_voices(owners: Array, voices: Sets, exact: Array, count: int) -> tuple[Array, Array]:
    """Voices of each of `count` owners, and whether that is exact, from sets (`exact`) and sketches of theirs.

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

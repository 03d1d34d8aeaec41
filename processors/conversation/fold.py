"""The fold of the conversation agent, from cells to minutes of conversations. Pure: no clock, no I/O.

Of each (conversation, minute, post) the cell with the highest version counts, so duplicates, replays and the order of
cells change nothing. The fold keeps nothing but cells: the sum of a minute is computed by a scan of their numbers
whenever it is asked for.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.sets import Pool, Sets, count_distinct, count_voices, grown
from processors.conversation import kernels
from processors.conversation.cells import CellArrays, Minutes, texts
from processors.conversation.index import INDEX_ROOM, Index, hashes_of
from schemas.conversations import CELL_COUNTS
from schemas.metrics import FOLD_VERSION, MEASURES

OF_THIS_CODE: Final = np.uint64(FOLD_VERSION) << np.uint64(56)
"""The least version of a cell that this code made."""

_NAME_BYTES: Final = 100
"""The memory of the name of a conversation, some 40 characters, which each group has once."""


class AddedCells(NamedTuple):
    """The groups, each a (conversation, minute), of the added cells, each once; and the numbers of new and of duplicate
    cells."""

    groups: Array
    new: int
    duplicate: int


class ConversationFold:
    """Cells of some minutes, as rows of arrays. Each cell belongs to a group, a (conversation, minute). A cell takes
    about 150 bytes, and each group the name of its conversation."""

    def __init__(self) -> None:
        self._groups, self._rows = Index(), Index()
        self._names: Array = np.empty(INDEX_ROOM, object)  # of groups
        self._minutes = np.zeros(INDEX_ROOM, np.int64)
        self._held_minutes: set[int] = set()
        self._group: Array = np.zeros(INDEX_ROOM, np.int64)  # of rows
        self._counts: Array = np.zeros((INDEX_ROOM, len(CELL_COUNTS)), np.uint32)
        self._exact: Array = np.zeros(INDEX_ROOM, np.bool_)
        self._version: Array = np.zeros(INDEX_ROOM, np.uint64)
        self._may_be_outdated = False
        self._channels, self._voices = Pool(), Pool()

    def __len__(self) -> int:
        """The number of cells in memory."""
        return self._rows.count

    @property
    def bytes(self) -> int:
        """The memory in bytes, spare room included."""
        columns = (self._names, self._minutes, self._group, self._counts, self._exact, self._version)
        parts = (self._groups, self._rows, self._channels, self._voices)
        held = sum(column.nbytes for column in columns) + sum(part.bytes for part in parts)
        return held + _NAME_BYTES * self._groups.count

    @property
    def minutes(self) -> int:
        """The number of distinct minutes in memory."""
        return len(self._held_minutes)

    def add_cells(self, cells: CellArrays) -> AddedCells:
        """Adds cells, and keeps of each (conversation, minute, post) the one with the highest version, which is never
        0. Returns the groups of all cells, also of duplicates: a crash may have prevented the storing of a group
        before."""
        if not len(cells):
            return AddedCells(np.empty(0, np.int64), 0, 0)
        pane_keys = kernels.mix_keys(hashes_of(cells.names.tolist())[cells.conversation], cells.minute)
        groups = self._groups_of(pane_keys, cells)
        rows = self._rows_of(kernels.mix_keys(pane_keys, cells.post))
        best = np.full(len(self), -1)
        kernels.choose(rows, cells.version, self._version, best)
        mask = best[rows] == np.arange(len(rows))
        into = rows[mask]
        if not self._may_be_outdated:
            self._may_be_outdated = bool((cells.version[mask] < OF_THIS_CODE).any())
        self._group[into] = groups[mask]
        self._counts[into] = cells.counts[mask]
        self._exact[into] = cells.exact[mask]
        self._channels.put(into, cells.channels[mask])
        self._voices.put(into, cells.voices[mask])
        return AddedCells(np.flatnonzero(np.bincount(groups)), len(into), len(cells) - len(into))

    def add_blocks(self, blocks: Iterable[CellArrays]) -> None:
        """Adds the cells of several blocks."""
        for cells in blocks:
            self.add_cells(cells)

    def outdated(self, groups: Array) -> Array:
        """Returns the given groups with cells of an older fold version. `recount` may have written such cells anew in
        the table. Two fold versions count events differently, so such a group has to be read again before its sum is
        compared with that of a row."""
        if not self._may_be_outdated:
            return groups[:0]
        old = self._group[: len(self)][self._version[: len(self)] < OF_THIS_CODE]
        self._may_be_outdated = len(old) > 0
        return groups[np.isin(groups, old)]

    def pane_keys(self, groups: Array) -> list[tuple[str, int]]:
        """Returns the conversation and minute of each of these groups."""
        return list(zip(self._names[groups].tolist(), self._minutes[groups].tolist(), strict=True))

    def between(self, first: int, end: int) -> Array:
        """Returns the groups with first <= minute < end, in the order of minutes."""
        minutes = self._minutes[: self._groups.count]
        groups = np.flatnonzero((minutes >= first) & (minutes < end))
        return groups[np.argsort(minutes[groups], kind="stable")]

    def since(self, minute: int) -> Array:
        """Returns the groups of this minute and of later ones."""
        return np.flatnonzero(self._minutes[: self._groups.count] >= minute)

    def minute_beyond(self, cells: int) -> int:
        """Returns the end of the earliest minutes that together have at most `cells` cells; the very first minute
        belongs to them in any case."""
        minutes = np.sort(self._minutes[self._group[: len(self)]])
        return max(int(minutes[cells]), int(minutes[0]) + 1) if cells < len(minutes) else int(minutes[-1]) + 1

    def minute_within(self, cells: int) -> int:
        """Returns the first of the latest minutes that together have at most `cells` cells; a minute beyond all where
        the last one alone has more."""
        minutes = np.sort(self._minutes[self._group[: len(self)]])
        return int(minutes[-1 - cells]) + 1 if cells < len(minutes) else 0

    def add_up(self, groups: Array) -> Minutes:
        """Adds up the cells of these groups, each named once."""
        count = len(groups)
        owner_of = np.full(self._groups.count, -1, np.int64)
        owner_of[groups] = np.arange(count)
        top = len(self)
        rows, of = np.empty(top, np.int64), np.empty(top, np.int64)
        cells = kernels.find_rows(owner_of, self._group, top, rows, of)
        rows, of = rows[:cells], of[:cells]
        counts = np.zeros((count, len(CELL_COUNTS)), np.int64)
        seen, fold = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
        kernels.add_counts(rows, of, self._counts, self._version, counts, seen, fold)
        posts, added, retracted = np.split(counts, (1, 1 + len(MEASURES)), axis=1)
        channels = self._channels.get(rows)
        voices, exact = count_voices(of, self._voices.get(rows), self._exact[rows], count)
        return Minutes(
            conversation=self._names[groups],
            minute=self._minutes[groups],
            posts=posts[:, 0],
            net=added - retracted,
            voices=voices,
            voices_exact=exact,
            channels=count_distinct(np.repeat(of, channels.lengths), channels.values, count),
            seen=seen,
            fold=fold,
        )

    def drop(self, groups: Array) -> None:
        """Drops these groups with their cells. Renumbers the other groups."""
        stays = np.ones(self._groups.count, np.bool_)
        stays[groups] = False
        kept = stays[self._group[: len(self)]]
        self._group = (np.cumsum(stays) - 1)[self._group[: len(self)][kept]]
        self._counts, self._exact, self._version = (
            column[: len(kept)][kept] for column in (self._counts, self._exact, self._version)
        )
        self._channels.keep(kept)
        self._voices.keep(kept)
        self._rows.keep(kept)
        self._minutes = self._minutes[: len(stays)][stays]
        self._held_minutes = set(np.unique(self._minutes).tolist())
        self._names = self._names[: len(stays)][stays]
        self._groups.keep(stays)

    def _groups_of(self, pane_keys: Array, cells: CellArrays) -> Array:
        known = self._groups.count
        groups = self._groups.numbers(pane_keys)
        if (count := self._groups.count) > known:
            if count > len(self._minutes):
                self._minutes, self._names = grown(self._minutes, count), grown(self._names, count)
            first = np.flatnonzero(np.diff(np.maximum.accumulate(groups), prepend=-1) * (groups >= known))
            self._minutes[known:count] = cells.minute[first]
            self._held_minutes.update(np.unique(cells.minute[first]).tolist())
            self._names[known:count] = cells.names[cells.conversation[first]]
        return groups

    def _rows_of(self, keys: Array) -> Array:
        rows = self._rows.numbers(keys)
        if len(self) > len(self._group):
            self._group, self._counts, self._exact, self._version = (
                grown(column, len(self)) for column in (self._group, self._counts, self._exact, self._version)
            )
        return rows


def load_conversation_kernels() -> None:
    """Loads the compiled kernels of the conversation fold. Compiles them, in some seconds, where no cache has them."""
    fold = ConversationFold()
    ones, counts = np.ones(1, np.int64), np.zeros((1, len(CELL_COUNTS)), np.int64)
    voice = Sets(ones.astype(np.uint64), ones)
    numbers = ones.astype(np.uint64)
    cells = CellArrays(texts(["", ""]), ones, numbers, ones, counts, voice, voice, ones.astype(np.bool_), numbers)
    fold.add_up(fold.add_cells(cells).groups)
    index = Index()
    index.numbers(numbers)
    index.keep(ones.astype(np.bool_))
    voice.select(ones - 1)

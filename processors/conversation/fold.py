"""The fold of the conversation agent: cells in, minutes of conversations out. Pure; no clock, no I/O.

Of each (conversation, minute, post) the cell with the highest version counts, so duplicates, replays and the order of
cells change nothing. Nothing else is kept: what a minute adds up to is computed from its cells whenever it is asked
for, from a scan of numbers.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from processors.conversation import kernels
from processors.conversation.cells import (
    COMMENTS,
    COMMENTS_BACK,
    COUNTS,
    LIKES,
    LIKES_BACK,
    POSTS,
    SHARES,
    SHARES_BACK,
    Cells,
    Minutes,
)
from processors.conversation.voices import ROOM, Array, Pool, Sets, count_distinct, count_voices, grown

Key = TypeVar("Key", bound=Hashable)

Spot = tuple[str, int]
"""Conversation and minute."""

RowKey = tuple[int, str]
"""Group and post_id."""


class Taken(NamedTuple):
    """The groups, (conversation, minute), that cells belong to, each once; cells that said something new, and not."""

    groups: Array
    new: int
    duplicate: int


class ConversationFold:
    """Cells of some minutes, in rows of columns. Group 0 and row numbers of what was dropped are nobody's."""

    def __init__(self) -> None:
        self._groups: dict[Spot, int] = {}
        self._spots: list[Spot] = [("", 0)]
        self._minutes = np.full(ROOM, -1, np.int64)  # of groups
        self._free_groups: list[int] = []
        self._rows: dict[RowKey, int] = {}
        self._keys: list[RowKey] = []
        self._free_rows: list[int] = []
        self._group = np.zeros(ROOM, np.int64)
        self._counts = np.zeros((ROOM, len(COUNTS)), np.uint32)
        self._exact = np.zeros(ROOM, np.bool_)
        self._version = np.zeros(ROOM, np.uint64)
        self._channels, self._voices = Pool(), Pool()

    def __len__(self) -> int:
        """Cells in memory."""
        return len(self._rows)

    @property
    def minutes(self) -> int:
        """Distinct minutes in memory."""
        return len(np.unique(self._minutes[: len(self._spots)])) - 1

    def take(self, cells: Cells) -> Taken:
        """Keeps of each (conversation, minute, post) the cell with the highest version. Every cell's group is named,
        also where it says nothing new: a crash may have come between this and the storing of it."""
        if not len(cells):
            return Taken(np.empty(0, np.int64), 0, 0)
        groups = self._groups_of(zip(cells.conversation, cells.minute.tolist(), strict=True))
        rows = self._rows_of(zip(groups.tolist(), cells.post_id, strict=True))
        order = np.lexsort((cells.version, rows))
        last = np.ones(len(order), np.bool_)
        last[:-1] = rows[order[1:]] != rows[order[:-1]]
        best = order[last]
        best = np.sort(best[cells.version[best] > self._version[rows[best]]])
        mask = np.zeros(len(cells), np.bool_)
        mask[best] = True
        into = rows[best]
        self._group[into] = groups[best]
        self._counts[into] = cells.counts[best]
        self._exact[into] = cells.exact[best]
        self._version[into] = cells.version[best]
        self._channels.put(into, cells.channels.where(mask))
        self._voices.put(into, cells.voices.where(mask))
        return Taken(np.unique(groups), len(best), len(cells) - len(best))

    def before(self, minute: int) -> Array:
        """Groups of earlier minutes, in the order of minutes."""
        minutes = self._minutes[: len(self._spots)]
        found = np.flatnonzero((minutes >= 0) & (minutes < minute))
        return found[np.argsort(minutes[found], kind="stable")]

    def since(self, minute: int) -> Array:
        """Groups of this minute and later ones."""
        return np.flatnonzero(self._minutes[: len(self._spots)] >= minute)

    def minute_beyond(self, cells: int) -> int:
        """The first minute that does not belong to the earliest minutes that together have at most `cells` cells, but
        for the very first one, which does in any case."""
        minutes = np.sort(self._minutes[self._group[: len(self._keys)]])
        minutes = minutes[minutes >= 0]
        return max(int(minutes[cells]), int(minutes[0]) + 1) if cells < len(minutes) else int(minutes[-1]) + 1

    def add_up(self, groups: Array) -> Minutes:
        """What these groups, each named once, come to."""
        count = len(groups)
        place = np.full(len(self._spots), -1, np.int64)
        place[groups] = np.arange(count)
        top = len(self._keys)
        rows, of = np.empty(top, np.int64), np.empty(top, np.int64)
        cells = kernels.find_rows(place, self._group, top, rows, of)
        rows, of = rows[:cells], of[:cells]
        counts = np.zeros((count, len(COUNTS)), np.int64)
        seen, fold = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
        kernels.add_counts(rows, of, self._counts, self._version, counts, seen, fold)
        channels = self._channels.get(rows)
        voices, exact = count_voices(of, self._voices.get(rows), self._exact[rows], count)
        spots = [self._spots[group] for group in groups.tolist()]
        return Minutes(
            conversation=[conversation for conversation, _ in spots],
            minute=self._minutes[groups],
            posts=counts[:, POSTS],
            likes=counts[:, LIKES] - counts[:, LIKES_BACK],
            shares=counts[:, SHARES] - counts[:, SHARES_BACK],
            comments=counts[:, COMMENTS] - counts[:, COMMENTS_BACK],
            voices=voices,
            voices_exact=exact,
            channels=count_distinct(np.repeat(of, channels.lengths), channels.values, count),
            seen=seen,
            fold=fold,
        )

    def drop(self, groups: Array) -> None:
        """These groups and their cells leave memory."""
        gone = np.zeros(len(self._spots), np.bool_)
        gone[groups] = True
        rows = np.flatnonzero(gone[self._group[: len(self._keys)]])
        for row in rows.tolist():
            del self._rows[self._keys[row]]
            self._keys[row] = (0, "")
        for group in groups.tolist():
            del self._groups[self._spots[group]]
            self._spots[group] = ("", 0)
        self._group[rows], self._version[rows] = 0, 0
        self._minutes[groups] = -1
        self._channels.drop(rows)
        self._voices.drop(rows)
        self._free_rows += rows.tolist()
        self._free_groups += groups.tolist()

    def _groups_of(self, spots: Iterable[Spot]) -> Array:
        return _numbers(self._groups, spots, self._open_groups)

    def _open_groups(self, spots: list[Spot]) -> None:
        groups = _take_numbers(self._free_groups, self._spots, spots)
        if len(self._spots) > len(self._minutes):
            self._minutes = grown(self._minutes, len(self._spots))
        self._minutes[groups] = [minute for _, minute in spots]
        self._groups.update(zip(spots, groups, strict=True))

    def _rows_of(self, keys: Iterable[RowKey]) -> Array:
        return _numbers(self._rows, keys, self._open_rows)

    def _open_rows(self, keys: list[RowKey]) -> None:
        self._rows.update(zip(keys, _take_numbers(self._free_rows, self._keys, keys), strict=True))
        if (needed := len(self._keys)) > len(self._group):
            self._group, self._counts, self._exact, self._version = (
                grown(column, needed) for column in (self._group, self._counts, self._exact, self._version)
            )


def compile_loops() -> None:
    """Loads the compiled loops, or compiles them where nobody has yet: some seconds, once."""
    fold = ConversationFold()
    one, none = np.ones(1, np.int64), np.zeros((1, len(COUNTS)), np.int64)
    voice = Sets(one.astype(np.uint64), one)
    fold.add_up(
        fold.take(Cells([""], one, [""], none, voice, voice, one.astype(np.bool_), one.astype(np.uint64))).groups
    )


def _numbers(known: Mapping[Key, int], keys: Iterable[Key], add: Callable[[list[Key]], None]) -> Array:
    """The number of each key; `add` makes keys known that are not, each once."""
    asked = list(keys)
    numbers = list(map(known.get, asked))
    if None in numbers:
        add(list(dict.fromkeys(key for key, number in zip(asked, numbers, strict=True) if number is None)))
        numbers = list(map(known.get, asked))
    return np.array(numbers, np.int64)


def _take_numbers(free: list[int], names: list[Key], new: list[Key]) -> list[int]:
    """A number for each of these, free ones first, and its name in `names`."""
    again = min(len(free), len(new))
    numbers = [free.pop() for _ in range(again)]
    for number, name in zip(numbers, new, strict=False):
        names[number] = name
    numbers += range(len(names), len(names) + len(new) - again)
    names += new[again:]
    return numbers

"""Rolls closed days of conversations up: step 4 of the order in processors/conversation/job.py.

A day is rolled up once its last minute is closed, a few hundred thousand minutes with a batch, so that no batch waits
for a whole day. Then the mark of the partitions is raised, from which on views read the rolled rows. Cells that come
later have their days rolled again, before their offsets are committed.

Each step may be repeated: rows are absolute, and their version is the number of events that the minutes have seen. A
worker that takes partitions over goes on at their marks; without any, as in a database of before, at the first day.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np

from processors.columnar.arrays import Array
from processors.conversation.cells import CellArrays
from processors.conversation.closing.floors import floors_of_partitions
from processors.conversation.ports import DayPart, DayStore
from processors.runtime.retry import StoreRetry

MINUTES_OF_DAY: Final = 1440

_KEYS_AT_ONCE: Final = 20_000


class DayRolling:
    """The days of some partitions. One thread calls it; each call blocks, and raises as StoreRetry does."""

    def __init__(self, days: DayStore, retry: StoreRetry, at_once: int, after_step: Callable[[str], None]) -> None:
        """One statement rolls up `at_once` minutes of conversations, or a little more."""
        self._days, self._retry, self._at_once, self._after_step = days, retry, at_once, after_step
        self.assign((), 1)

    def assign(self, partitions: Sequence[int], of: int) -> None:
        """Makes these partitions, out of `of`, the own ones."""
        self._partitions, self._of = tuple(partitions), of
        self._begun: dict[int, int] = {}
        self._done = 0
        self._parts: list[DayPart] = []

    def load(self) -> None:
        """Reads how far the partitions are rolled up."""
        rolled = self._retry(lambda: self._days.rolled(self._partitions, self._of))
        self._begun = {number: rolled.get(number, 0) for number in self._partitions}
        self._done = min(self._begun.values())

    def roll_late(self, cells: CellArrays, partitions: Array) -> None:
        """Rolls the days of these cells again that are rolled up, or being rolled up. `partitions`: that of each cell.
        Called once the minutes of the cells are stored."""
        is_late = cells.minute < floors_of_partitions(self._begun, partitions) * MINUTES_OF_DAY
        if not is_late.any():
            return
        late = cells.where(is_late)
        keys = list(
            dict.fromkeys(
                zip(late.names[late.conversation].tolist(), (late.minute // MINUTES_OF_DAY).tolist(), strict=True)
            )
        )
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            self._retry(partial(self._days.roll_again, keys[start : start + _KEYS_AT_ONCE]))
        self._after_step("days")

    def advance(self, closed_until: int) -> None:
        """Rolls up the next part of the days before the minute `closed_until`; costs nothing where there is none."""
        end = closed_until // MINUTES_OF_DAY
        if not self._parts:
            if end <= self._done:
                return
            self._plan(end)
        part = self._parts[0]
        self._begun = {number: max(begun, part.end) for number, begun in self._begun.items()}
        if not part.is_empty:
            self._retry(partial(self._days.roll, self._partitions, self._of, part))
            self._after_step("days")
        if not part.upto:
            self._retry(partial(self._days.mark, self._partitions, self._of, part.end))
            self._done = part.end
            self._after_step("day_marks")
        self._parts.pop(0)

    def _plan(self, end: int) -> None:
        span = self._done, end
        self._parts = self._retry(
            lambda: plan_parts(self._days, self._partitions, self._of, span=span, at_once=self._at_once)
        )


def plan_parts(
    store: DayStore, partitions: Sequence[int], of: int, *, span: tuple[int, int], at_once: int
) -> list[DayPart]:
    """Splits the days of `span`, from the first on and before the second, into parts of about `at_once` minutes: small
    days together, a large one at some of its conversations. Blocks, and raises as the store does."""
    parts = []
    for first, end, size in groups_of(*store.day_sizes(partitions, of, *span), span, at_once):
        count = -(-size // at_once)
        bounds = store.day_bounds(partitions, of, first, end, count) if count > 1 else []
        parts += [DayPart(first, end, after, upto, not size) for after, upto in pairwise(["", *bounds, ""])]
    return parts


def groups_of(days: Array, sizes: Array, span: tuple[int, int], at_once: int) -> list[tuple[int, int, int]]:
    """Groups the days of `span` into days of about `at_once` minutes together, or of one large day: the first day, the
    end and the number of minutes of each group. `sizes`: minutes of each of `days`, the days that have any.

    >>> groups_of(np.array([3, 4, 9]), np.array([2, 2, 9]), (1, 12), 5)
    [(1, 9, 4), (9, 12, 9)]
    >>> groups_of(np.array([], np.int64), np.array([], np.int64), (1, 12), 5)
    [(1, 12, 0)]
    """
    numbers = (np.cumsum(sizes) - 1) // at_once
    starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist()]
    return [
        (
            span[0] if start == 0 else int(days[start]),
            int(days[stop]) if stop < len(days) else span[1],
            int(sizes[start:stop].sum()),
        )
        for start, stop in pairwise([*starts, len(days)])
    ]

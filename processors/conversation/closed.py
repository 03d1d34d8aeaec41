"""The counts at closing: of each (conversation, minute) one row of conversation_closed, written once whatever crashes.

What other owners closed earlier is read at the beginning. What has landed of an INSERT that failed, or was written by a
new owner while this worker was cut off, is looked up; and the store itself leaves alone what is closed already, because
a worker may be cut off between looking and writing.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from processors.columnar.arrays import Array
from processors.conversation.cells import Minutes
from processors.conversation.ports import Closings
from processors.conversation.rows import closing_columns
from processors.runtime.retry import Retry

_ROWS_AT_ONCE: Final = 20_000
"""Rows of a statement; and what is asked for of what stands."""

MOST_STANDING: Final = 100_000
"""Counts in memory of minutes that were closed before us, as our partitions have come further than each other. Where
there are more, they are looked up."""

STANDING_BYTES: Final = 300
"""What one takes: a tuple, a name of some 40 characters, two numbers, a place in a dict."""

LEASE_SECONDS: Final = 5.0
"""After so long without a sign of life others may have been given our partitions (a session ends after 10 s) ..."""

DOUBT_SECONDS: Final = 30.0
"""... and until the group has told us, what they have closed is looked up before we close anything."""


class ClosedOnce:
    """Of the conversations of some partitions. One thread calls it; each call blocks."""

    def __init__(self, closings: Closings, retry: Retry) -> None:
        self._closings, self._retry = closings, retry
        self._stand: dict[tuple[str, int], int] = {}
        self._alive, self._doubt_ends = float("inf"), 0.0
        self._torn = self._is_partial = False

    @property
    def bytes(self) -> int:
        """Memory."""
        return STANDING_BYTES * len(self._stand)

    def load(self, partitions: Sequence[int], of: int, since: int) -> None:
        """Reads what is closed of these partitions out of `of`, from this minute on. Raises as `retry` does."""
        found = self._retry(lambda: self._closings.since(partitions, of, since, MOST_STANDING + 1))
        self._is_partial = len(found) > MOST_STANDING
        self._stand = {} if self._is_partial else dict(found)

    def check_in(self, now: float) -> None:
        """A sign of life (Unix time in seconds), often enough that only a process that was stopped, or an outage, lies
        between two of them."""
        if now - self._alive > LEASE_SECONDS:
            self._doubt_ends = now + DOUBT_SECONDS
        self._alive = now

    def write(self, minutes: Minutes, now: Callable[[], float]) -> list[int]:
        """Stores the counts of those that have none yet, and returns what stands. Raises as `retry` does."""
        counts: list[int] = minutes.counts.tolist()
        for start in range(0, len(minutes), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            counts[part] = self._retry(
                lambda part=part, counts=counts: self._write(minutes.where(part), counts[part], now)  # type: ignore[misc]
            )
        return counts

    def forget(self, until: int) -> None:
        """Nothing is written any more of the minutes before this one."""
        self._stand = {pane_key: count for pane_key, count in self._stand.items() if pane_key[1] >= until}

    def _write(self, minutes: Minutes, counts: list[int], now: Callable[[], float]) -> list[int]:
        missing = self._missing(minutes, now)
        count = stored = int(np.count_nonzero(missing))
        if count:
            self._torn = True
            stored = self._closings.close_missing(closing_columns(minutes, missing, int(now() * 1000)))
            self._torn = False
        # An owner of before, or of after, may have closed some meanwhile.
        if stored < count or self._is_doubtful(now):
            self._stand |= self._closings.counts(minutes.spots)
        if not self._stand:
            return counts
        return [self._stand.get(pane_key, count) for pane_key, count in zip(minutes.pane_keys, counts, strict=True)]

    def _missing(self, minutes: Minutes, now: Callable[[], float]) -> Array:
        """Finds the minutes that are not closed as far as is known; looks that up where it is in doubt."""
        if self._is_doubtful(now) or self._is_partial:
            self._stand |= self._closings.counts(minutes.pane_keys)
        if not self._stand:
            return np.ones(len(minutes), np.bool_)
        return np.array([pane_key not in self._stand for pane_key in minutes.pane_keys], np.bool_)

    def _is_doubtful(self, now: Callable[[], float]) -> bool:
        self.check_in(now())
        return self._torn or self._alive < self._doubt_ends

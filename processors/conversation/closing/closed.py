"""The counts at closing: one row of conversation_closed for each pane, a (conversation, minute), written once whatever
crashes.

The closings of earlier owners are read at the beginning. The part of a failed INSERT that landed, and the closings of a
new owner while this worker was cut off, are looked up. The store itself leaves closed panes alone, because a worker may
be cut off between the look-up and the write.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np

from processors.columnar.arrays import Array
from processors.conversation.cells import Minutes
from processors.conversation.ports import Closings
from processors.conversation.rows import closing_columns
from processors.runtime.retry import StoreRetry

_ROWS_AT_ONCE: Final = 20_000
"""Rows of one INSERT, and panes of one look-up."""

MOST_STORED_COUNTS: Final = 100_000
"""The most stored counts in memory. Partitions have closed up to different minutes, so some panes beyond the lowest
floor are closed already. Where there are more of them, each is looked up."""

STORED_COUNT_BYTES: Final = 300
"""The memory of one stored count: a tuple, a name of some 40 characters, two numbers, an entry of a dict."""

LEASE_SECONDS: Final = 5.0
"""After this time without a sign of life other workers may own the partitions: a session ends after 10 s ..."""

DOUBT_SECONDS: Final = 30.0
"""... and for this time after the next sign, until the group has told this worker, closings are looked up first."""


class ClosedOnce:
    """Writes the counts at closing of some partitions. One thread calls it; each call blocks."""

    def __init__(self, closings: Closings, retry: StoreRetry) -> None:
        self._closings, self._retry = closings, retry
        self._stored: dict[tuple[str, int], int] = {}
        self._alive, self._doubt_ends = float("inf"), 0.0
        self._is_torn = self._is_partial = False

    @property
    def bytes(self) -> int:
        """The memory in bytes."""
        return STORED_COUNT_BYTES * len(self._stored)

    def load(self, partitions: Sequence[int], of: int, since: int) -> None:
        """Reads the closings of these partitions, out of `of`, from the minute `since` on. Raises as StoreRetry
        does."""
        stored = self._retry(lambda: self._closings.since(partitions, of, since, MOST_STORED_COUNTS + 1))
        self._is_partial = len(stored) > MOST_STORED_COUNTS
        self._stored = {} if self._is_partial else dict(stored)

    def check_in(self, now: float) -> None:
        """Notes a sign of life at `now`, Unix time in seconds. Called so often that only a stopped process or an outage
        lies between two calls."""
        if now - self._alive > LEASE_SECONDS:
            self._doubt_ends = now + DOUBT_SECONDS
        self._alive = now

    def write(self, minutes: Minutes, now: Callable[[], float]) -> list[int]:
        """Stores the counts of the panes that have none yet, and returns the valid counts of all. Raises as StoreRetry
        does."""
        counts: list[int] = minutes.counts.tolist()
        for start in range(0, len(minutes), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            counts[part] = self._retry(partial(self._write, minutes.where(part), counts[part], now))
        return counts

    def forget(self, until: int) -> None:
        """Drops the stored counts of the minutes before `until`, which are not written any more."""
        self._stored = {pane_key: count for pane_key, count in self._stored.items() if pane_key[1] >= until}

    def _write(self, minutes: Minutes, counts: list[int], now: Callable[[], float]) -> list[int]:
        missing = self._missing(minutes, now)
        count = stored = int(np.count_nonzero(missing))
        if count:
            self._is_torn = True
            stored = self._closings.close_missing(closing_columns(minutes, missing, int(now() * 1000)))
            self._is_torn = False
        # An earlier or a later owner may have closed some of these panes meanwhile.
        if stored < count or self._is_doubtful(now):
            self._stored |= self._closings.counts(minutes.pane_keys)
        if not self._stored:
            return counts
        return [self._stored.get(pane_key, count) for pane_key, count in zip(minutes.pane_keys, counts, strict=True)]

    def _missing(self, minutes: Minutes, now: Callable[[], float]) -> Array:
        """Returns a mask of the panes that are not closed. Looks them up where that is doubtful."""
        if self._is_doubtful(now) or self._is_partial:
            self._stored |= self._closings.counts(minutes.pane_keys)
        if not self._stored:
            return np.ones(len(minutes), np.bool_)
        return np.array([pane_key not in self._stored for pane_key in minutes.pane_keys], np.bool_)

    def _is_doubtful(self, now: Callable[[], float]) -> bool:
        self.check_in(now())
        return self._is_torn or self._alive < self._doubt_ends

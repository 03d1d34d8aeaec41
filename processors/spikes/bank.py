"""Many series in one table of fixed-width rows, updated together. The state is a pure function of the counts taken."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.spikes import kernels
from processors.spikes.policy import SHIPPED, SpikePolicy, cut, scale_seconds

BYTES: Final = kernels.SERIES.itemsize
"""Of a series."""

GROWTH: Final = 1.25
"""Of a table that is full."""


class Verdicts(NamedTuple):
    """Columns of equal length, one row per count: on the scale where observed / level is highest."""

    scores: Array
    """f8: observed / level; from the policy's threshold on it fires. 0 while nothing can fire (first
    hour, 5 minutes after an alert) and for a count of 0."""
    observed: Array
    """f8: counts of the scale up to now; on the scales of an hour and more each block is capped."""
    expected: Array
    """f8: the usual count of that scale at this hour of the day."""
    levels: Array
    """f8: what `observed` had to reach."""
    scales: Array
    """i8: seconds of the scale."""
    ages: Array
    """f8: hours since the series' first count."""
    most: Array
    """f8: the fading maximum of that scale."""
    fires: Array
    """bool."""


class Bank:
    """Series of one bucket width, by row number. Never blocks; belongs to one thread at a time."""

    def __init__(self, width_seconds: int = 60, policy: SpikePolicy = SHIPPED, capacity: int = 64) -> None:
        """Raises SettingsError for a width that the grid does not know (see `policy.cut`)."""
        self.policy = policy
        self.grid = cut(width_seconds)
        self._series = np.zeros(max(capacity, 1), kernels.SERIES)
        self._spare = np.zeros(1, kernels.SERIES)
        self._scales = np.array(scale_seconds(self.grid), np.int64)
        self._used = 0
        self._free: list[int] = []

    def __len__(self) -> int:
        """Series in use."""
        return self._used - len(self._free)

    @property
    def nbytes(self) -> int:
        """Of the whole table, room to grow included."""
        return int(self._series.nbytes)

    def add(self, number: int = 1) -> Array:
        """Rows of new series. Amortised O(1) each."""
        reused = [self._free.pop() for _ in range(min(number, len(self._free)))]
        fresh = number - len(reused)
        if (needed := self._used + fresh) > (size := len(self._series)):
            more = max(needed, int(GROWTH * size)) - size
            self._series = np.concatenate([self._series, np.zeros(more, kernels.SERIES)])
        rows = np.array([*reused, *range(self._used, self._used + fresh)], np.int64)
        self._used += fresh
        return rows

    def release(self, rows: Sequence[int] | Array) -> None:
        """Forgets series: their rows may be given to others."""
        for row in self._known(rows).tolist():
            self._series[row] = np.zeros((), kernels.SERIES)
            self._free.append(row)

    def update_many(
        self, rows: Sequence[int] | Array, times: int | Sequence[int] | Array, counts: Sequence[int] | Array
    ) -> Verdicts:
        """Takes counts, one after the other, and judges each.

        `times`: seconds since 1970 within the bucket, one for all or one each; buckets that were left out count 0. A
        second count for the same bucket is added to it. A row may be named several times: so one call replays a whole
        series. Raises ValueError, with nothing changed, for an unknown row, a count below 0 or not whole, or times of a
        row that fall.
        """
        at = self._known(rows)
        taken = _whole("count", counts, len(at))
        if len(taken) and taken.min() < 0:
            raise ValueError(f"count: {taken.min()} is below 0")
        when = _whole("time", times, len(at))
        self._refuse_the_past(at, when)
        verdicts = np.zeros((len(at), kernels.COLUMNS))
        kernels.update(self._series, self.policy, self.grid, at, when, np.minimum(taken, kernels.MOST_COUNT), verdicts)
        return self._verdicts(verdicts)

    def judge_many(self, rows: Sequence[int] | Array, time: int, counts: Sequence[int] | Array) -> Verdicts:
        """What `update_many` would say of these counts of one bucket, each row named once; takes none of them."""
        at, taken = self._known(rows), _whole("count", counts, len(rows))
        self._refuse_the_past(at, when := np.full(len(at), time, np.int64))
        verdicts = np.zeros((len(at), kernels.COLUMNS))
        copies = self._series[at]
        kernels.update(copies, self.policy, self.grid, np.arange(len(at)), when, taken, verdicts)
        return self._verdicts(verdicts)

    def firing_levels(self, rows: Sequence[int] | Array, time: int) -> Array:
        """i8 per row: the least count of the whole bucket of `time` that is sure to fire when it closes. Changes none.

        Buckets between the last one taken and this one are held to be empty, so take the closed ones first.
        `kernels.NEVER` where no count would fire: a series that nothing came for, in its first hour, just after an
        alert, or beyond `time`.
        """
        at = self._known(rows)
        counts = np.empty(len(at), np.int64)
        kernels.firing_counts(self._series, self.policy, self.grid, at, int(time), self._spare, counts)
        return counts

    def firing_level(self, row: int, time: int) -> int:
        """`firing_levels` of one."""
        return int(self.firing_levels([row], time)[0])

    def state(self, row: int) -> bytes:
        """All that is known of a series: equal after equal counts."""
        return bytes(self._series[self._known([row])[0]].tobytes())

    def _known(self, rows: Sequence[int] | Array) -> Array:
        at = np.asarray(rows, np.int64)
        if len(at) and not (at.min() >= 0 and at.max() < self._used):
            raise ValueError(f"row: there are {self._used}, from 0: take the numbers that `add` gave")
        return at

    def _verdicts(self, verdicts: Array) -> Verdicts:
        columns = np.ascontiguousarray(verdicts.T)
        return Verdicts(
            columns[kernels.SCORE],
            columns[kernels.OBSERVED],
            columns[kernels.EXPECTED],
            columns[kernels.LEVEL],
            self._scales[columns[kernels.SCALE].astype(np.int64)],
            columns[kernels.AGE],
            columns[kernels.MOST],
            columns[kernels.SCORE] >= self.policy.threshold,
        )

    def _refuse_the_past(self, at: Array, when: Array) -> None:
        buckets = when // self.grid.width
        late = (self._series["alive"][at] > 0) & (buckets < self._series["bucket"][at])
        if not (at[1:] > at[:-1]).all():
            order = np.argsort(at, kind="stable")
            same = at[order[1:]] == at[order[:-1]]
            late[order[1:][same & (buckets[order[1:]] < buckets[order[:-1]])]] = True
        if late.any():
            row = int(np.argmax(late))
            raise ValueError(
                f"time: {when[row]} lies before what row {at[row]} has seen: give counts in the order of time"
            )


def _whole(name: str, values: int | Sequence[int] | Array, number: int) -> Array:
    given = np.asarray(values)
    if given.dtype.kind == "f":
        if not (np.isfinite(given).all() and (given == np.floor(given)).all()):
            raise ValueError(f"{name}: not a whole number")
        given = np.clip(given, -kernels.NEVER, kernels.NEVER)
    whole = np.broadcast_to(given.astype(np.int64), (number,)) if given.ndim == 0 else given.astype(np.int64)
    if len(whole) != number:
        raise ValueError(f"{name}: {len(whole)} values for {number} rows")
    return np.ascontiguousarray(whole)

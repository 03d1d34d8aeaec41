"""Many series in one table of fixed-width rows, updated together. The state is a pure function of the counts."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.spikes.detection import kernels
from processors.spikes.policy import DEFAULT_POLICY, SpikePolicy, grid_of, scale_seconds

ROW_BYTES: Final = kernels.SERIES.itemsize
"""Bytes of a series."""

BANK_GROWTH: Final = 1.25
"""Factor by which a full table grows."""


class Verdicts(NamedTuple):
    """Columns of equal length, one row per count, on the scale where observed / level is highest."""

    scores: Array
    """f8: observed / level; a score of the policy's threshold or more fires. 0 while nothing can fire (first hour, 5
    minutes after an alert) and for a count of 0."""
    observed: Array
    """f8: counts of the scale up to now; on the scales of an hour and more each block is capped."""
    expected: Array
    """f8: the usual count of that scale at this hour of the day."""
    levels: Array
    """f8: the count from which `observed` fires."""
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

    def __init__(self, width_seconds: int = 60, policy: SpikePolicy = DEFAULT_POLICY, capacity: int = 64) -> None:
        """Raises SettingsError for a width without a grid (see `policy.grid_of`)."""
        self.policy = policy
        self.grid = grid_of(width_seconds)
        self._series = np.zeros(max(capacity, 1), kernels.SERIES)
        self._spare = np.zeros(1, kernels.SERIES)
        self._scales = np.array(scale_seconds(self.grid), np.int64)
        self._used = 0
        self._free: list[int] = []

    def __len__(self) -> int:
        """Returns the number of series in use."""
        return self._used - len(self._free)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole table, free rows included."""
        return int(self._series.nbytes)

    def add(self, number: int = 1) -> Array:
        """Adds series and returns their rows. Amortised O(1) each."""
        reused = [self._free.pop() for _ in range(min(number, len(self._free)))]
        fresh = number - len(reused)
        if (needed := self._used + fresh) > (size := len(self._series)):
            more = max(needed, int(BANK_GROWTH * size)) - size
            self._series = np.concatenate([self._series, np.zeros(more, kernels.SERIES)])
        rows = np.array([*reused, *range(self._used, self._used + fresh)], np.int64)
        self._used += fresh
        return rows

    def release(self, rows: Sequence[int] | Array) -> None:
        """Forgets series, and reuses their rows for new ones."""
        for row in self._known(rows).tolist():
            self._series[row] = np.zeros((), kernels.SERIES)
            self._free.append(row)

    def update_many(
        self, rows: Sequence[int] | Array, times: int | Sequence[int] | Array, counts: Sequence[int] | Array
    ) -> Verdicts:
        """Adds counts, one after the other, and judges each.

        `times`: seconds since 1970 within the bucket, one for all counts or one each; buckets that were left out count
        0. A second count for the same bucket is added to the first. A row may be named several times, so that one call
        replays a whole series. Raises ValueError, with nothing changed, for an unknown row, a count below 0 or not
        whole, or times of a row that fall.
        """
        at = self._known(rows)
        whole_counts = _whole("count", counts, len(at))
        if len(whole_counts) and whole_counts.min() < 0:
            raise ValueError(f"count: {whole_counts.min()} is below 0")
        when = _whole("time", times, len(at))
        self._refuse_falling_times(at, when)
        verdicts = np.zeros((len(at), kernels.VERDICT_COLUMNS))
        kernels.update(
            self._series, self.policy, self.grid, at, when, np.minimum(whole_counts, kernels.MOST_COUNT), verdicts
        )
        return self._verdicts(verdicts)

    def judge_many(self, rows: Sequence[int] | Array, time: int, counts: Sequence[int] | Array) -> Verdicts:
        """Returns the verdicts of `update_many` on counts of one bucket, each row named once, without adding the
        counts."""
        at, whole_counts = self._known(rows), _whole("count", counts, len(rows))
        self._refuse_falling_times(at, when := np.full(len(at), time, np.int64))
        verdicts = np.zeros((len(at), kernels.VERDICT_COLUMNS))
        copies = self._series[at]
        kernels.update(copies, self.policy, self.grid, np.arange(len(at)), when, whole_counts, verdicts)
        return self._verdicts(verdicts)

    def firing_levels(self, rows: Sequence[int] | Array, time: int) -> Array:
        """Returns, i8 per row, the least count of the whole bucket of `time` that is sure to fire when the bucket
        closes.

        Changes no series. Buckets between the last one added and this one are assumed to be empty, so add the closed
        ones first. The level is `kernels.NEVER_FIRES` where no count would fire: for a series without a count, in its
        first hour, just after an alert, or beyond `time`.
        """
        at = self._known(rows)
        counts = np.empty(len(at), np.int64)
        kernels.firing_counts(self._series, self.policy, self.grid, at, int(time), self._spare, counts)
        return counts

    def firing_level(self, row: int, time: int) -> int:
        """Returns `firing_levels` of one row."""
        return int(self.firing_levels([row], time)[0])

    def state(self, row: int) -> bytes:
        """Returns the whole state of a series: equal after equal counts."""
        return bytes(self._series[self._known([row])[0]].tobytes())

    def _known(self, rows: Sequence[int] | Array) -> Array:
        at = np.asarray(rows, np.int64)
        if len(at) and not (at.min() >= 0 and at.max() < self._used):
            raise ValueError(f"row: there are {self._used}, from 0: use the numbers that `add` returned")
        return at

    def _verdicts(self, verdicts: Array) -> Verdicts:
        columns = np.ascontiguousarray(verdicts.T)
        return Verdicts(
            columns[kernels.SCORE],
            columns[kernels.OBSERVED],
            columns[kernels.EXPECTED],
            columns[kernels.REQUIRED],
            self._scales[columns[kernels.SCALE].astype(np.int64)],
            columns[kernels.AGE],
            columns[kernels.RECORD],
            columns[kernels.SCORE] >= self.policy.threshold,
        )

    def _refuse_falling_times(self, at: Array, when: Array) -> None:
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


def load_spike_kernels() -> None:
    """Loads the compiled kernels of the detector. Compiles them, in some seconds, where no cache has them."""
    bank = Bank()
    rows = bank.add()
    bank.update_many(rows, 0, [1])
    bank.firing_levels(rows, 60)


def _whole(name: str, values: int | Sequence[int] | Array, number: int) -> Array:
    given = np.asarray(values)
    if given.dtype.kind == "f":
        if not (np.isfinite(given).all() and (given == np.floor(given)).all()):
            raise ValueError(f"{name}: not a whole number")
        given = np.clip(given, -kernels.NEVER_FIRES, kernels.NEVER_FIRES)
    whole = np.full(number, given, np.int64) if given.ndim == 0 else given.astype(np.int64)
    if len(whole) != number:
        raise ValueError(f"{name}: {len(whole)} values for {number} rows")
    return np.ascontiguousarray(whole)

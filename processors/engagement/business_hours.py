"""Business hours: whether a minute lies in them, in a time zone with its changes of the clock."""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache, cached_property
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from processors.columnar.arrays import Array

_DAY: Final = 1440
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS: Final = 49_710
"""Until 2106, where minutes of a DateTime column end."""

_THURSDAY: Final = 3
"""1970-01-01, counted from Monday 0."""


@dataclass(frozen=True)
class BusinessHours:
    """Hours like `09:00-17:00` (the end excluded) on ISO weekdays like `1-5`, `1,3-5` or `7-4`, in an IANA time zone.

    The texts are those that `pipeline.settings.Settings` has validated."""

    hours: str = "09:00-17:00"
    days: str = "1-5"
    zone: str = "UTC"

    def contains(self, minutes: Array) -> Array:
        """Returns whether each minute (since 1970, UTC) lies in business hours. About 30 ns each."""
        changes, offsets = clock_of(self.zone)
        local = minutes.astype(np.int64)
        local += offsets[np.searchsorted(changes, local, side="right")]
        day, minute = np.divmod(local, _DAY)
        first, end = self._span
        inside: Array = self._weekdays[(day + _THURSDAY) % 7] & (minute >= first) & (minute < end)
        return inside

    @cached_property
    def _span(self) -> tuple[int, int]:
        first, end = (int(text[:2]) * 60 + int(text[3:]) for text in self.hours.split("-"))
        return first, end

    @cached_property
    def _weekdays(self) -> Array:
        chosen = np.zeros(7, np.bool_)
        for part in self.days.split(","):
            first, _, last = part.partition("-")
            start, end = int(first) - 1, int(last or first) - 1
            # A range may go over the end of the week: 7-4 is Sunday to Thursday.
            chosen[[day % 7 for day in range(start, end + 1 if start <= end else end + 8)]] = True
        return chosen


@cache
def clock_of(zone: str) -> tuple[Array, Array]:
    """Returns the minutes at which a zone's offset changes, and the offsets before, between and after them, in minutes.
    Reads the offset at the start of each day and bisects days with a change: 60 ms, once for each zone."""
    clock = ZoneInfo(zone)
    changes, offsets = list[int](), [_offset(clock, 0)]
    for day in range(_DAYS):
        after = _offset(clock, (day + 1) * _DAY)
        if after != offsets[-1]:
            span = range(day * _DAY, (day + 1) * _DAY)
            changed = bisect_left(span, True, key=lambda minute, new=after: _offset(clock, minute) == new)  # type: ignore[misc]
            changes.append(day * _DAY + changed)
            offsets.append(after)
    return np.array(changes, np.int64), np.array(offsets, np.int64)


def _offset(zone: tzinfo, minute: int) -> int:
    """Returns local time less UTC in whole minutes."""
    offset = (_EPOCH + timedelta(minutes=minute)).astimezone(zone).utcoffset()
    return 0 if offset is None else offset // timedelta(minutes=1)

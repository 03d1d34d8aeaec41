"""The watermark of each source partition: how far its event time has come (law 8). Pure: time is an argument.

    mark of a topic partition        = min(newest occurred_at, received_at of its last record) - lateness
    watermark of a source partition  = the least mark of its topics that have lag; where none has, the largest of its
                                       marks; where none has had lag or a record for a while, it is idle: now - lateness

A watermark never goes back, so a repeated, late or outdated report changes nothing.

    >>> state = WatermarkState(WatermarkPolicy(lateness_seconds=60, idle_seconds=30), {0: 0}, now=1_000.0)
    >>> at = 960_000_000
    >>> state.note({("likes", 0): (at, 970_000)}, {("likes", 0): 0, ("shares", 0): 0}, now=1_001.0)
    >>> state.marks
    [{'partition': 0, 'watermark': 900000000, 'idle': False}]
    >>> state.note({}, {("likes", 0): 0, ("shares", 0): 0}, now=1_031.0)
    >>> state.marks
    [{'partition': 0, 'watermark': 971000000, 'idle': True}]
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pipeline.kafka.group_policy import Partition
from schemas.conversations import Mark
from schemas.metrics import MINUTE_US

MICROSECONDS: Final = 1_000_000

Reached = Mapping[Partition, tuple[int, int]]
"""Per topic partition, of all stored records: the newest occurred_at (microseconds) and the last received_at
(milliseconds)."""

Lags = Mapping[Partition, int | None]
"""Per topic partition, the number of records that are not stored yet; None where it is not known."""


@dataclass(frozen=True)
class WatermarkPolicy:
    """`ENGAGEMENT_LATENESS_SECONDS` and `ENGAGEMENT_IDLE_SECONDS`."""

    lateness_seconds: float = 60
    idle_seconds: float = 30


class WatermarkState:
    """The watermarks of some source partitions, which move with the reports of stored records and lags."""

    def __init__(self, policy: WatermarkPolicy, known: Mapping[int, int], now: float) -> None:
        """`known`: our source partitions, with the watermark (microseconds) that each had; 0 for none. `now` is Unix
        time in seconds."""
        self._policy = policy
        self._watermarks = dict(known)
        self._idle = dict.fromkeys(known, False)
        self._busy_at = dict.fromkeys(known, now)
        self._reached: dict[Partition, tuple[int, int]] = {}

    def note(self, reached: Reached, lags: Lags, now: float, all_read: bool = False) -> None:
        """What is stored by now, and the lag behind it of every topic partition of ours. `all_read`: nobody of the
        group has lag, and nothing more is waited for: whoever has none is idle at once."""
        for place, at in reached.items():
            if place[1] in self._watermarks and self._reached.get(place) != at:
                self._reached[place] = at
                self._busy_at[place[1]] = now
        topics: dict[int, list[Partition]] = {partition: [] for partition in self._watermarks}
        for place in lags:
            if place[1] in topics:
                topics[place[1]].append(place)
        for partition, places in topics.items():
            if places:
                self._move(partition, places, lags, now, all_read)

    @property
    def marks(self) -> list[Mark]:
        """The watermark of each partition that has one."""
        return [
            {"partition": partition, "watermark": watermark, "idle": self._idle[partition]}
            for partition, watermark in self._watermarks.items()
            if watermark > 0
        ]

    @property
    def least(self) -> int | None:
        """The least watermark, in microseconds; None while a partition has none, and without partitions."""
        least = min(self._watermarks.values(), default=0)
        return least if least > 0 else None

    def _move(self, partition: int, places: list[Partition], lags: Lags, now: float, all_read: bool) -> None:
        lateness = int(self._policy.lateness_seconds * MICROSECONDS)
        marks = {
            place: min(occurred_us, received_ms * 1000) - lateness
            for place in places
            if (at := self._reached.get(place)) is not None
            for occurred_us, received_ms in (at,)
        }
        behind = [place for place in places if lags[place] != 0]
        idle = False
        if all_read:
            self._busy_at[partition] = now - self._policy.idle_seconds
        if behind:
            self._busy_at[partition] = now
            # A topic with lag of which nothing is read yet may begin anywhere.
            came_to = min((marks.get(place, 0) for place in behind), default=0)
        elif now - self._busy_at[partition] >= self._policy.idle_seconds:
            idle, came_to = True, int(now * MICROSECONDS) - lateness
        else:
            came_to = max(marks.values(), default=0)
        self._idle[partition] = idle
        self._watermarks[partition] = max(self._watermarks[partition], came_to)


def minute_of(mark: Mark) -> tuple[int, int, bool]:
    """Returns the part of a mark that decides which minutes are closed; a mark with the same part need not be sent
    again."""
    return mark["partition"], mark["watermark"] // MINUTE_US, mark["idle"]

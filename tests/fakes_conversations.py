"""What conversations ask of ClickHouse, in memory; and cells made by hand.

Several stores, each with faults of its own, may share one `Shelf`, as several workers share a database.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deploy.clickhouse.days.rolled import ALL_HASHES, DAY_VOICES
from pipeline.errors import Unavailable
from processors.columnar.arrays import Array
from processors.columnar.partitioning import partitions_of
from processors.conversation.cells import CellArrays, join
from processors.conversation.decoding import parse_cells
from processors.conversation.ports import DayPart
from schemas.conversations import CELL_COUNTS
from schemas.conversations import CellColumns as CellColumns
from schemas.metrics import FOLD_VERSION, MEASURES
from tests.fakes_store import Faults

PaneKey = tuple[str, int]


@dataclass(frozen=True)
class Cell:
    """One cell, as a test speaks of it."""

    conversation: str
    minute: int
    post_id: str
    events: int
    counts: tuple[int, ...] = (0,) * len(CELL_COUNTS)
    voices: tuple[int, ...] = ()
    channels: tuple[str, ...] = ()
    exact: bool = True
    fold: int = FOLD_VERSION

    @property
    def version(self) -> int:
        return self.fold << 56 | self.events << 26

    @property
    def key(self) -> tuple[str, int, str]:
        return self.conversation, self.minute, self.post_id


def columns_of(cells: Sequence[Cell]) -> CellColumns:
    """As a record has them."""
    places = list(range(len(cells)))
    voices = [sorted(cell.voices) for cell in cells]
    return {
        "names": [cell.conversation for cell in cells],
        "post_ids": [cell.post_id for cell in cells],
        "channel_sets": [list(cell.channels) for cell in cells],
        "conversation": _bytes(places),
        "post": _bytes(places),
        "minute": _bytes([cell.minute for cell in cells]),
        **{name: _bytes([cell.counts[number] for cell in cells]) for number, name in enumerate(CELL_COUNTS)},  # type: ignore[typeddict-item]
        "channels": _bytes(places),
        "voices": _bytes(list(map(len, voices))),
        "voices_exact": _bytes([int(cell.exact) for cell in cells]),
        "version": _bytes([cell.version for cell in cells], "<u8"),
        "heard": _bytes([voice for each in voices for voice in each], "<u8"),
    }


def said_by(columns: CellColumns) -> Iterator[dict[str, Any]]:
    """The cells of a record, each with its texts and the bytes of its voices."""
    plain: Any = {
        name: np.frombuffer(column, "<u8" if name in ("version", "heard") else "<u4").tolist()
        for name, column in columns.items()
        if isinstance(column, bytes)
    }
    ends = np.cumsum(plain["voices"]).tolist()
    for number, (conversation, post) in enumerate(zip(plain["conversation"], plain["post"], strict=True)):
        yield {
            "conversation": columns["names"][conversation],
            "post_id": columns["post_ids"][post],
            "channels": columns["channel_sets"][plain["channels"][number]],
            "voices": plain["heard"][ends[number] - plain["voices"][number] : ends[number]],
            **{name: plain[name][number] for name in ("minute", *CELL_COUNTS, "voices_exact", "version")},
        }


def _bytes(values: Sequence[int], kind: str = "<u4") -> bytes:
    return np.array(values, kind).tobytes()


def as_cells(cells: Sequence[Cell]) -> CellArrays:
    """As the fold takes them."""
    return parse_cells(columns_of(cells)) if cells else join([])


@dataclass
class Shelf:
    """What survives every worker. `closings` are all rows that were ever inserted."""

    cells: dict[tuple[str, int, str], Cell] = field(default_factory=dict)
    minutes: dict[PaneKey, dict[str, Any]] = field(default_factory=dict)
    closings: list[tuple[PaneKey, int]] = field(default_factory=list)
    floors: dict[int, int] = field(default_factory=dict)
    watermarks: dict[int, int] = field(default_factory=dict)
    days: dict[PaneKey, dict[str, Any]] = field(default_factory=dict)
    day_marks: dict[int, dict[int, int]] = field(default_factory=dict)
    """Number of partitions -> partition -> the first day that is not rolled up."""

    whole_from: int = 0  # the first day that retention has left whole

    def put(self, cell: Cell) -> None:
        """As the engagement agent does before it sends."""
        if cell.key not in self.cells or self.cells[cell.key].version <= cell.version:
            self.cells[cell.key] = cell


def day_of(shelf: Shelf, conversation: str, day: int) -> dict[str, Any]:
    """What a day is, from the minutes and cells on the shelf; empty without any minute."""
    rows = {
        minute: row for (name, minute), row in shelf.minutes.items() if (name, minute // 1440) == (conversation, day)
    }
    said = [minute for minute, row in rows.items() if row["voices"] or any(row[name] for name in ("posts", *MEASURES))]
    cells = [cell for cell in shelf.cells.values() if (cell.conversation, cell.minute // 1440) == (conversation, day)]
    least = min((max(cell.voices) for cell in cells if not cell.exact), default=ALL_HASHES)
    voices = sorted({voice for cell in cells for voice in cell.voices if voice < least or least == ALL_HASHES})
    return rows and {
        "conversation": conversation,
        "day": day,
        "first_minute": min(said, default=0) * 60,
        "last_minute": max(said, default=0) * 60,
        "minutes": len(said),
        **{name: sum(row[name] for row in rows.values()) for name in ("posts", *MEASURES)},
        "voices": voices[:DAY_VOICES],
        "voices_below": voices[DAY_VOICES] if len(voices) > DAY_VOICES else least,
        "channels": sorted({channel for cell in cells for channel in cell.channels}),
        "version": min(row["version"] >> 56 for row in rows.values()) << 56
        | sum((row["version"] & (1 << 56) - 1) >> 1 for row in rows.values()),
    }


class FakeConversations:
    """CellLog, Closings, Rows and days of one worker."""

    def __init__(
        self, shelf: Shelf, faults: Faults | None = None, before_call: Callable[[str], None] = lambda name: None
    ) -> None:
        """`before_call` is told each call by name; it may raise, as a crash would."""
        self._shelf, self._faults, self._before_call = shelf, faults or Faults(), before_call
        self.calls: list[str] = []

    def sizes(self, partitions: Sequence[int], of: int, since: int) -> tuple[Array, Array]:
        self._ask("sizes")
        found = [cell.minute for cell in self._ours(partitions, of) if cell.minute >= since]
        minutes, counts = np.unique(np.array(found, np.int64), return_counts=True)
        return minutes, counts

    def window(self, partitions: Sequence[int], of: int, since: int, until: int) -> Iterator[CellArrays]:
        self._ask("window")
        found = [cell for cell in self._ours(partitions, of) if since <= cell.minute < until]
        for start in range(0, len(found), 5):
            yield as_cells(found[start : start + 5])

    def of_panes(self, pane_keys: Sequence[PaneKey]) -> Iterator[CellArrays]:
        self._ask("of_panes")
        wanted = set(pane_keys)
        yield as_cells([cell for cell in self._shelf.cells.values() if (cell.conversation, cell.minute) in wanted])

    def watermarks(self) -> Mapping[int, int]:
        self._ask("watermarks")
        latest = (time.time() + 24 * 3600) * 1e6
        return {partition: at for partition, at in self._shelf.watermarks.items() if at < latest}

    def floors(self, partitions: Sequence[int]) -> Mapping[int, int]:
        self._ask("floors")
        return {partition: floor for partition, floor in self._shelf.floors.items() if partition in partitions}

    def since(self, partitions: Sequence[int], of: int, minute: int, most: int) -> Mapping[PaneKey, int]:
        self._ask("since")
        found = {
            pane_key: count
            for pane_key, count in self._shelf.closings
            if pane_key[1] >= minute and int(partitions_of([pane_key[0]], of)[0]) in partitions
        }
        return dict(list(found.items())[:most])

    def counts(self, pane_keys: Sequence[PaneKey]) -> Mapping[PaneKey, int]:
        self._ask("counts")
        wanted = set(pane_keys)
        return {pane_key: count for pane_key, count in self._shelf.closings if pane_key in wanted}

    def close_missing(self, columns: Mapping[str, Any]) -> int:
        before = len(self._shelf.closings)
        self._store("conversation_closed", columns)
        return len(self._shelf.closings) - before

    def upsert(self, table: str, columns: Mapping[str, Any]) -> None:
        self._store(table, columns)

    def rolled(self, partitions: Sequence[int], of: int) -> Mapping[int, int]:
        self._ask("rolled")
        return {number: day for number, day in self._shelf.day_marks.get(of, {}).items() if number in partitions}

    def day_sizes(self, partitions: Sequence[int], of: int, first: int, end: int) -> tuple[Array, Array]:
        self._ask("day_sizes")
        days = [day for _, day in self._days_of(partitions, of) if first <= day < end]
        found, counts = np.unique(np.array(days, np.int64), return_counts=True)
        return found, counts

    def day_bounds(self, partitions: Sequence[int], of: int, first: int, end: int, parts: int) -> list[str]:
        self._ask("day_bounds")
        names = sorted(name for name, day in self._days_of(partitions, of) if first <= day < end)
        return list(dict.fromkeys(names[len(names) * number // parts] for number in range(1, parts) if names))

    def roll(self, partitions: Sequence[int], of: int, part: DayPart) -> None:
        keys = [key for key in self._days_of(partitions, of) if part.first <= key[1] < part.end]
        some = [key for key in keys if part.after < key[0] and (not part.upto or key[0] <= part.upto)]
        self._roll(some, is_first=True)

    def roll_again(self, keys: Sequence[PaneKey]) -> None:
        self._roll(keys)

    def mark(self, partitions: Sequence[int], of: int, until: int) -> None:
        fault = self._ask("conversation_day_marks")
        marks = self._shelf.day_marks.setdefault(of, {})
        marks |= {number: max(marks.get(number, 0), until) for number in partitions}
        if fault:
            raise Unavailable("cut off")

    def _days_of(self, partitions: Sequence[int], of: int) -> list[PaneKey]:
        names = [name for name, _ in self._shelf.minutes]
        owners = partitions_of(names, of).tolist() if names else []
        minutes = zip(self._shelf.minutes, owners, strict=True)
        return [(name, minute // 1440) for (name, minute), owner in minutes if owner in partitions]

    def _roll(self, keys: Sequence[PaneKey], is_first: bool = False) -> None:
        shelf = self._shelf
        may = [key for key in keys if key[1] >= shelf.whole_from or (is_first and key not in shelf.days)]
        found = {key: row for key in may if (row := day_of(shelf, *key))}
        fault = self._ask("conversation_days")  # whoever is cut off here writes what was read before
        for key, row in found.items():
            if self._shelf.days.get(key, row)["version"] <= row["version"]:
                self._shelf.days[key] = row
        if fault:
            raise Unavailable("cut off")

    def _store(self, table: str, columns: Mapping[str, Any]) -> None:
        fault = self._ask(table)
        values = [column.tolist() if isinstance(column, np.ndarray) else column for column in columns.values()]
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]
        for row in rows[: len(rows) // 2] if fault == "partly" else rows:
            self._put(table, row)
        if fault:
            raise Unavailable("cut off")

    def _put(self, table: str, row: dict[str, Any]) -> None:
        shelf = self._shelf
        if table == "conversation_minutes":
            pane_key = row["conversation"], row["minute"] // 60
            if pane_key not in shelf.minutes or shelf.minutes[pane_key]["version"] <= row["version"]:
                shelf.minutes[pane_key] = row
        elif table == "conversation_closed":
            pane_key = row["conversation"], row["minute"] // 60
            if pane_key not in dict(shelf.closings):
                shelf.closings.append((pane_key, row["count"]))
        elif table == "conversation_marks":
            number, floor = row["partition"], row["closed_until"] // 60
            shelf.floors[number] = max(shelf.floors.get(number, 0), floor)
        else:
            assert table == "source_marks"
            shelf.watermarks[row["partition"]] = max(shelf.watermarks.get(row["partition"], 0), row["watermark"])

    def _ask(self, name: str) -> Any:
        self.calls.append(name)
        self._before_call(name)
        fault = self._faults.next()
        if fault and (fault == "before" or not name.startswith(("conversation_", "source_"))):
            raise Unavailable("no answer")
        return fault

    def _ours(self, partitions: Sequence[int], of: int) -> list[Cell]:
        cells = list(self._shelf.cells.values())
        owners = partitions_of([cell.conversation for cell in cells], of).tolist() if cells else []
        return [cell for cell, owner in zip(cells, owners, strict=True) if owner in partitions]

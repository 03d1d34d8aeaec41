"""Series of counts for a backtest: from CSV files (`timestamp,value`), and their labels from JSON."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from pipeline.errors import Refused, SettingsError
from pipeline.files.documents import read_json
from pipeline.files.flaws import Flaw
from pipeline.files.tables import read_table
from pipeline.files.text_file import DEFAULT_READING, ReadPolicy
from processors.columnar.arrays import Array
from processors.spikes.detection.kernels import MOST_COUNT
from processors.spikes.policy import grid_of
from schemas.event_time import without_leap_second

CSV_COLUMNS: Final = ("timestamp", "value")

END_OF_TIME: Final = 2**32
"""Seconds since 1970 at which ClickHouse's DateTime ends, in 2106. A detector walks through all time between two rows,
so that a time in milliseconds would keep it busy for 50,000 years."""


def _leave_out(_: str) -> None:
    """Takes an unwanted message."""


class Series(NamedTuple):
    """Counts in the order of time. Rows that are missing are zeros."""

    name: str
    stamps: Sequence[str]
    """The times as written in the file."""
    times: Array
    """i8: seconds since 1970."""
    counts: Array
    """i8."""
    width: int
    """Seconds of a bucket."""


class _CountedRow(NamedTuple):
    """A row of the file: number of its line, time as written and in seconds since 1970, count."""

    line: int
    stamp: str
    time: int
    value: int


class Labels(NamedTuple):
    """Labels of a series: windows in which a detector should fire, and instants, one a window (or none)."""

    windows: Sequence[tuple[int, int]]
    """First and last row."""
    instants: Sequence[int]
    """Seconds since 1970."""


def read_series(
    path: Path,
    width: int | None = None,
    on_bad_line: Callable[[str], None] = _leave_out,
    policy: ReadPolicy = DEFAULT_READING,
) -> Series:
    """Reads a CSV file with the columns `timestamp` (ISO 8601, UTC where no zone is given, or seconds since 1970) and
    `value` (a whole count). Without `width` the buckets are as wide as the most frequent distance of rows.

    Rows that are no counts, and the fewest rows without which times rise from row to row, are left out; `on_bad_line`
    is called with each, as file:line: flaw. Raises Refused for a file that cannot be read, lacks a column, or has fewer
    than two rows left.
    """
    rows: list[_CountedRow] = []
    bad_rows = 0
    for number, row in read_table(str(path), CSV_COLUMNS, policy):
        try:
            if isinstance(row, Flaw):
                raise ValueError(row.reason)
            stamp = row["timestamp"].strip()
            rows.append(_CountedRow(number, stamp, _time_of(stamp), _count_of(row["value"].strip())))
        except ValueError as error:
            bad_rows += 1
            on_bad_line(f"{path}:{number}: {error}")
    kept = _rising(rows)
    for refused, flaw in _out_of_order(rows, kept):
        bad_rows += 1
        on_bad_line(f"{path}:{refused.line}: timestamp {refused.stamp} {flaw}")
    rows = [rows[at] for at in sorted(kept)]
    if len(rows) < 2:
        left = f" left, {bad_rows:,} refused" if bad_rows else ""
        raise Refused(f"{path}: {len(rows)} rows{left}; a series has at least two")
    seconds = np.array([row.time for row in rows], np.int64)
    counts = np.array([row.value for row in rows], np.int64)
    name = Path(path.stem).stem if path.suffix == ".gz" else path.stem
    return Series(name, [row.stamp for row in rows], seconds, counts, _width_of(seconds, width, path))


def read_labels(path: Path, series: Sequence[Series]) -> list[Labels]:
    """Reads the labels of each series: {name: {"windows": [[from, to], ...], "labels": [at, ...]}}, times as in the
    CSV.

    Raises Refused with file, series and field.
    """
    try:
        labels_by_name = read_json(path)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}; name a readable JSON file of labels") from None
    except ValueError as error:
        raise Refused(f"{path}: not JSON ({error}); name a JSON file of labels") from None
    if not isinstance(labels_by_name, dict):
        raise Refused(f"{path}: not a JSON object of series by name")
    return [
        _labels_of(path, labels_by_name.get(one.name, labels_by_name.get(f"{one.name}.csv")), one) for one in series
    ]


def _labels_of(path: Path, labels: Any, series: Series) -> Labels:
    where = f"{path}: {series.name}"
    if not isinstance(labels, dict) or not isinstance(labels.get("windows"), list):
        raise Refused(f'{where}.windows: missing; write {{"{series.name}": {{"windows": [["from", "to"], ...]}}}}')
    windows: list[tuple[int, int]] = []
    for number, pair in enumerate(labels["windows"]):
        field = f"{where}.windows[{number}]"
        if not (isinstance(pair, list) and len(pair) == 2):
            raise Refused(f"{field}: not a pair of times")
        start, end = (_labelled_time(time, field) for time in pair)
        first, last = int(np.searchsorted(series.times, start)), int(np.searchsorted(series.times, end, "right")) - 1
        if first > last or (windows and first <= windows[-1][1]):
            raise Refused(f"{field}: holds no row of the series, overlaps the one before, or comes before it")
        windows.append((first, last))
    instants = labels.get("labels", [])
    if not isinstance(instants, list) or len(instants) not in (0, len(windows)):
        raise Refused(f"{where}.labels: not a list of one time a window")
    return Labels(windows, [_labelled_time(time, f"{where}.labels[{i}]") for i, time in enumerate(instants)])


def _labelled_time(time: Any, field: str) -> int:
    try:
        return _time_of(str(time))
    except ValueError as error:
        raise Refused(f"{field}: {error}") from None


def _time_of(text: str) -> int:
    """Returns seconds since 1970. Raises ValueError with the flaw."""
    is_number = text.removeprefix("-").replace(".", "", 1).isdecimal()
    try:
        if is_number:
            seconds = math.floor(float(text))
        else:
            time = datetime.fromisoformat(without_leap_second(text) or text)
            seconds = math.floor((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise ValueError(
            f"timestamp {text[:100]!r} is not a time; write 2026-01-31 23:59:00 (UTC, or with a zone) or seconds since "
            "1970"
        ) from None
    if not 0 <= seconds < END_OF_TIME:
        hint = "; are these milliseconds, where seconds are meant?" if is_number and seconds > 0 else ""
        raise ValueError(f"timestamp {text[:100]!r} is not from 1970 to 2105{hint}")
    return seconds


def _count_of(text: str) -> int:
    """Returns a count. Raises ValueError with the flaw."""
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not (0 <= value <= MOST_COUNT and value == math.floor(value)):
        raise ValueError(f"value {text[:100]!r} is not a count; write a whole number from 0 to {MOST_COUNT}")
    return int(value)


def _rising(rows: Sequence[_CountedRow]) -> set[int]:
    """Returns the most rows, by number, whose times rise from row to row; of several choices the first in the file.

    A longest increasing subsequence by patience sorting (Schensted 1961): one wrong time costs one row, where a
    comparison with the row before would refuse all rows behind a time that is too late.
    """
    latest: list[int] = []  # by length: the latest time, negated, with which rising times of that length begin
    lengths = [0] * len(rows)
    for at in reversed(range(len(rows))):
        place = bisect_left(latest, -rows[at].time)
        latest[place : place + 1] = [-rows[at].time]
        lengths[at] = place + 1
    kept: set[int] = set()
    wanted, last = len(latest), -1
    for at, row in enumerate(rows):
        if lengths[at] == wanted and row.time > last:
            kept.add(at)
            wanted, last = wanted - 1, row.time
    return kept


def _out_of_order(rows: Sequence[_CountedRow], kept: set[int]) -> Iterator[tuple[_CountedRow, str]]:
    """Yields the rows to leave out, each with a flaw."""
    cure = "sort the lines by time and sum those of one time"
    last: _CountedRow | None = None
    for at, row in enumerate(rows):
        if at in kept:
            last = row
        elif last is not None and row.time <= last.time:
            yield row, f"is not after the line before ({last.stamp}); {cure}"
        else:
            yield row, f"is after times of lines that follow; {cure}"


def _width_of(times: Array, width: int | None, path: Path) -> int:
    if width is None:
        gaps, often = np.unique(np.diff(times), return_counts=True)
        width = int(gaps[np.argmax(often)])
        try:
            grid_of(width)
        except SettingsError as error:
            raise Refused(f"{path}: rows are mostly {width} s apart ({error}); or name the buckets' --width") from None
    return width

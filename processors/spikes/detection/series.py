"""Series of counts for a backtest: from CSV files (`timestamp,value`), and their labels from JSON."""

import csv
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from pipeline.errors import Refused, SettingsError
from processors.columnar.arrays import Array
from processors.spikes.detection.kernels import MOST_COUNT
from processors.spikes.policy import grid_of

CSV_COLUMNS: Final = ("timestamp", "value")


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


class Labels(NamedTuple):
    """Labels of a series: windows in which a detector should fire, and instants, one a window (or none)."""

    windows: Sequence[tuple[int, int]]
    """First and last row."""
    instants: Sequence[int]
    """Seconds since 1970."""


def read_series(path: Path, width: int | None = None) -> Series:
    """Reads a CSV file with the columns `timestamp` (ISO 8601, UTC where no zone is given, or seconds since 1970) and
    `value` (a whole count). Without `width` the buckets are as wide as the most frequent distance of rows.

    Raises Refused with file, line and field.
    """
    stamps: list[str] = []
    times: list[int] = []
    counts: list[int] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream)
            for name in CSV_COLUMNS:
                if name not in (rows.fieldnames or ()):
                    raise Refused(f"{path}:1: no column {name}; the first line must name {', '.join(CSV_COLUMNS)}")
            for row in rows:
                where = f"{path}:{rows.line_num}"
                stamps.append((row["timestamp"] or "").strip())
                times.append(_time_of(stamps[-1], where))
                counts.append(_count_of((row["value"] or "").strip(), where))
                if len(times) > 1 and times[-1] <= times[-2]:
                    raise Refused(
                        f"{where}: timestamp {stamps[-1]} is not after the line before ({stamps[-2]}); sort the lines "
                        "by time and sum those of one time"
                    )
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}; name a readable CSV file") from None
    except UnicodeDecodeError:
        raise Refused(f"{path}: not UTF-8 text; name a CSV file with the columns {', '.join(CSV_COLUMNS)}") from None
    except csv.Error as error:
        raise Refused(f"{path}:{rows.line_num}: not a CSV file ({error})") from None
    if len(times) < 2:
        raise Refused(f"{path}: {len(times)} rows; a series has at least two")
    seconds = np.array(times, np.int64)
    return Series(path.stem, stamps, seconds, np.array(counts, np.int64), _width_of(seconds, width, path))


def read_labels(path: Path, series: Sequence[Series]) -> list[Labels]:
    """Reads the labels of each series: {name: {"windows": [[from, to], ...], "labels": [at, ...]}}, times as in the
    CSV.

    Raises Refused with file, series and field.
    """
    try:
        labels_by_name = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}; name a readable JSON file of labels") from None
    except ValueError as error:
        raise Refused(f"{path}: not JSON ({error})") from None
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
        start, end = (_time_of(str(time), field) for time in pair)
        first, last = int(np.searchsorted(series.times, start)), int(np.searchsorted(series.times, end, "right")) - 1
        if first > last or (windows and first <= windows[-1][1]):
            raise Refused(f"{field}: holds no row of the series, overlaps the one before, or comes before it")
        windows.append((first, last))
    instants = labels.get("labels", [])
    if not isinstance(instants, list) or len(instants) not in (0, len(windows)):
        raise Refused(f"{where}.labels: not a list of one time a window")
    return Labels(windows, [_time_of(str(time), f"{where}.labels[{i}]") for i, time in enumerate(instants)])


def _time_of(text: str, where: str) -> int:
    try:
        if text.removeprefix("-").replace(".", "", 1).isdecimal():
            return math.floor(float(text))
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise Refused(
            f"{where}: timestamp {text!r} is not a time; write 2026-01-31 23:59:00 (UTC, or with a zone) or seconds "
            "since 1970"
        ) from None
    return math.floor((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def _count_of(text: str, where: str) -> int:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 <= value <= MOST_COUNT and value == math.floor(value)):
        raise Refused(f"{where}: value {text!r} is not a count; write a whole number from 0 to {MOST_COUNT}")
    return int(value)


def _width_of(times: Array, width: int | None, path: Path) -> int:
    if width is None:
        gaps, often = np.unique(np.diff(times), return_counts=True)
        width = int(gaps[np.argmax(often)])
        try:
            grid_of(width)
        except SettingsError as error:
            raise Refused(f"{path}: rows are mostly {width} s apart ({error}); or name the buckets' --width") from None
    return width

"""The comparison of stored rows with those that follow from the log: column by column, floats at 1e-9."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from processors.columnar.arrays import Columns
from schemas.tables import CONVERSATION_POSTS, MINUTE_TIME, POST_MINUTES, Table

FLOAT_TOLERANCE: Final = 1e-9
"""The relative tolerance: the last digits of a sum of floats depend on the order."""

MAY_BE_EMPTY: Final = (POST_MINUTES, CONVERSATION_POSTS)
"""Tables in which a row of zeros means the same as no row."""

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Difference:
    """A stored value that differs from the log. `stored` or `expected` is None where the whole row is missing there."""

    table: str
    key: Key
    column: str
    stored: Any
    expected: Any
    minute: int | None = None
    """The part of the key that is a minute, in seconds since 1970."""

    def __str__(self) -> str:
        parts = [
            datetime.fromtimestamp(part, UTC).strftime("%Y-%m-%dT%H:%MZ") if place == self.minute else str(part)
            for place, part in enumerate(self.key)
        ]
        return f"{self.table} {' '.join(parts)} {self.column}: stored {self.stored}, the log says {self.expected}"


def difference(table: Table, key: Key, column: str, stored: Any, expected: Any) -> Difference:
    minutes = [place for place, name in enumerate(table.key) if table[name].type == MINUTE_TIME]
    return Difference(table.name, key, column, stored, expected, minutes[0] if minutes else None)


def compare(table: Table, expected: Columns, stored: Columns, into: list[Difference]) -> list[Key]:
    """Appends the differences to `into`; returns the keys of stored rows that the log does not explain."""
    keys = table.key
    columns = [name for name in expected if name != "version" and name not in keys]
    ours, theirs = (_by_key(table, side, columns) for side in (expected, stored))
    into += [difference(table, key, "row", None, "a row") for key in ours.keys() - theirs.keys()]
    surplus = list(theirs.keys() - ours.keys())
    into += [difference(table, key, "row", "a row", None) for key in surplus]
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return surplus
    left, right = np.array([ours[key] for key in both]), np.array([theirs[key] for key in both])
    for name in columns:
        should, does = _values(expected[name], left), _values(stored[name], right)
        for number in np.flatnonzero(~_equal(should, does)).tolist():
            into.append(difference(table, both[number], name, does[number], should[number]))
    return surplus


def keys_of(table: Table, columns: Columns) -> list[Key]:
    """Returns the key of each row."""
    return list(zip(*(plain(columns[name]) for name in table.key), strict=True))


def emptied(table: Table, keys: Sequence[Key], versions: Sequence[int]) -> Columns:
    """Makes rows of zeros for these keys."""
    columns: dict[str, Any] = dict.fromkeys(table.sent)
    for name in table.sent:
        type_ = table[name].type
        if type_ == "String" or type_.startswith("Array("):
            columns[name] = np.full(len(keys), b"" if type_ == "Array(UInt64)" else "", object)
        else:
            columns[name] = np.full(len(keys), int(name == "voices_exact"), np.uint32)
    for place, name in enumerate(table.key):
        columns[name][:] = [key[place] for key in keys]
    return columns | {"version": np.array(versions, np.uint64)}


def plain(column: Any) -> list[Any]:
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def _by_key(table: Table, columns: Columns, contents: Sequence[str]) -> dict[Key, int]:
    found = keys_of(table, columns)
    if table not in MAY_BE_EMPTY or not found:
        return {key: number for number, key in enumerate(found)}
    filled = np.any([_filled(columns[name]) for name in contents if name != "voices_exact"], axis=0)
    return {key: number for number, (key, full) in enumerate(zip(found, filled.tolist(), strict=True)) if full}


def _filled(column: Any) -> Any:
    return np.array([bool(value) for value in plain(column)])


def _values(column: Any, places: Any) -> Any:
    if isinstance(column, np.ndarray) and column.dtype != object:
        return column[places]
    values = np.empty(len(places), object)
    values[:] = [_hashable(column[place]) for place in places.tolist()]
    return values


def _equal(left: Any, right: Any) -> Any:
    if left.dtype.kind == "f" or right.dtype.kind == "f":
        return np.isclose(left.astype(float), right.astype(float), rtol=FLOAT_TOLERANCE, atol=0, equal_nan=True)
    return left == right


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | np.ndarray) else value

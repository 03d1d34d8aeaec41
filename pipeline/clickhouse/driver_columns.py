"""Columns for clickhouse-driver: lists, or arrays with numpy."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class _Series(NamedTuple):
    """A column of an external table, with the only attribute read by the driver with numpy."""

    values: Any


def driver_column(column: Any, numpy: bool) -> Any:
    """Returns a column for the driver: with numpy an array, of objects for text, else a list."""
    if numpy:
        return column if isinstance(column, np.ndarray) else _objects(column)
    return column.tolist() if isinstance(column, np.ndarray) else column


def _objects(values: Sequence[Any]) -> Any:
    """Returns an array of objects: numpy's own text type drops trailing NULs and is slow to send."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def driver_table(name: str, structure: str, rows: Sequence[Sequence[Any]], numpy: bool) -> dict[str, Any]:
    """Returns an external table for the driver; `structure` reads `post_id String, minute UInt32`."""
    columns = [tuple(part.split(None, 1)) for part in structure.split(",")]
    if not numpy:
        return {"name": name, "structure": columns, "data": list(rows)}
    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    return {
        "name": name,
        "structure": columns,
        "data": {column[0]: _Series(_objects(part)) for column, part in zip(columns, values, strict=True)},
    }


def answer_column(column: Any) -> Any:
    """Returns a column of an answer: an array as it is, any other sequence as a list."""
    return column if isinstance(column, np.ndarray) else list(column)


def join_blocks(parts: list[Any]) -> Any:
    """Joins the blocks of a column."""
    filled = [part for part in parts if len(part)] or parts[:1]
    if len(filled) == 1:
        return filled[0]
    return np.concatenate(filled) if isinstance(filled[0], np.ndarray) else [value for part in filled for value in part]

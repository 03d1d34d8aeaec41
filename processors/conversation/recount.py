"""Recounts conversation_minutes from the stored cells of conversation_posts: compares rows, and writes them anew.

Runs after the recount of posts, which makes the cells right. A minute's row is read before its cells, and cells are
stored before a worker adds them up (law 1), so a row that claims more events than the cells have seen is forged, and is
removed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np

from pipeline.clickhouse.client import ClickHouse
from processors.columnar.arrays import Array, Columns
from processors.columnar.compare_rows import Difference, Key, compare, difference, keys_of
from processors.conversation.cells import CellArrays, Minutes
from processors.conversation.fold import ConversationFold
from processors.conversation.recount_closed import minute_windows
from processors.conversation.rows import minute_columns
from schemas.tables import CONVERSATION_MINUTES

_CELLS_AT_ONCE: Final = 500_000
_LAST_MINUTE: Final = 1 << 26
"""A minute beyond all of a DateTime column."""

_REMOVED_AT_ONCE: Final = 500
_COMPARED: Final = tuple(name for name in CONVERSATION_MINUTES.sent if name not in ("is_final", "version"))
"""The compared columns. `is_final` is left out, because it follows from marks, not from cells."""


class StoredCells(Protocol):
    """The part of CellLog that the recount reads."""

    def sizes(self, partitions: Sequence[int], of: int, since: int) -> tuple[Array, Array]: ...

    def window(self, partitions: Sequence[int], of: int, since: int, until: int) -> Iterator[CellArrays]: ...


class StoredMinutes:
    """The rows of conversation_minutes. Has one connection for arrays and one for lists."""

    def __init__(self, connect: Callable[[bool], ClickHouse]) -> None:
        self._arrays, self._lists = connect(True), connect(False)

    def close(self) -> None:
        self._arrays.close()
        self._lists.close()

    def rows(self, since: int, until: int) -> Columns:
        """Reads the rows with since <= minute < until, in minutes since 1970."""
        names = CONVERSATION_MINUTES.sent
        values = self._arrays.select(
            f"SELECT {', '.join('toUInt32(minute)' if name == 'minute' else name for name in names)} "
            f"FROM {CONVERSATION_MINUTES.name} FINAL "
            f"WHERE minute >= toDateTime({since * 60}, 'UTC') "
            f"AND minute < toDateTime({min(until * 60, (1 << 32) - 1)}, 'UTC')"
        )
        return dict(zip(names, values or [[] for _ in names], strict=True))

    def upsert(self, columns: Mapping[str, Any]) -> None:
        self._lists.insert(CONVERSATION_MINUTES.name, columns)

    def remove(self, keys: Sequence[Key], versions: Sequence[int]) -> None:
        rows = [(*key, version) for key, version in zip(keys, versions, strict=True)]
        for start in range(0, len(rows), _REMOVED_AT_ONCE):
            self._lists.execute(
                f"ALTER TABLE {CONVERSATION_MINUTES.name} DELETE WHERE (conversation, toUInt32(minute), version) "
                "IN %(rows)s SETTINGS mutations_sync = 2",
                {"rows": tuple(rows[start : start + _REMOVED_AT_ONCE])},
            )


def recount_minutes(
    cells: StoredCells, stored: StoredMinutes, check: bool, floor: int = 0
) -> Iterator[list[Difference]]:
    """Compares all minutes, some at a time, and writes them anew unless `check` is True. Blocks. Raises Unavailable,
    Refused.

    Before the minute `floor` retention may have deleted rows, and cells that a row rests on: there a row is compared
    only where cells of its own version are left.
    """
    for since, until in minute_windows(*cells.sizes([0], 1, 0), _CELLS_AT_ONCE, _LAST_MINUTE):
        present = _plain(stored.rows(since, until))
        fold = ConversationFold()
        fold.add_blocks(cells.window([0], 1, since, until))
        minutes = fold.add_up(fold.between(0, until))
        expected: Columns = minute_columns(minutes, np.ones(len(minutes), np.bool_), final=True)
        is_whole = _with_all_cells(expected, present, floor)
        present = _where(present, _with_all_cells(present, expected, floor))
        expected = _where(expected, is_whole)
        differences: list[Difference] = []
        surplus = set(compare(CONVERSATION_MINUTES, {name: expected[name] for name in _COMPARED}, present, differences))
        highest = dict(zip(keys_of(CONVERSATION_MINUTES, expected), expected["version"].tolist(), strict=True))
        keys, versions = keys_of(CONVERSATION_MINUTES, present), np.asarray(present["version"], np.uint64).tolist()
        forged = {
            key: version
            for key, version in zip(keys, versions, strict=True)
            if key in surplus or version > highest[key]
        }
        differences += [
            difference(CONVERSATION_MINUTES, key, "version", version, highest[key])
            for key, version in forged.items()
            if key not in surplus
        ]
        if not check:
            if forged:
                stored.remove(list(forged), list(forged.values()))
            is_final = dict(zip(keys, np.asarray(present["is_final"]).tolist(), strict=True))
            final = np.zeros(len(minutes), np.bool_)
            final[is_whole] = [bool(is_final.get(key)) for key in highest]
            _write_anew(stored, minutes, final, is_whole)
        yield differences


def _with_all_cells(rows: Columns, others: Columns, floor: int) -> Array:
    """Returns which rows are of `floor` or later, or have the same version on both sides."""
    versions = dict(zip(keys_of(CONVERSATION_MINUTES, others), _versions(others), strict=True))
    kept = [
        minute >= floor * 60 or versions.get(key) == version
        for key, minute, version in zip(
            keys_of(CONVERSATION_MINUTES, rows), np.asarray(rows["minute"]).tolist(), _versions(rows), strict=True
        )
    ]
    return np.array(kept, np.bool_)


def _where(rows: Columns, mask: Array) -> Columns:
    return {name: values[mask] for name, values in rows.items()}


def _plain(rows: Columns) -> Columns:
    """Returns the columns as arrays."""
    return {name: np.asarray(values) for name, values in rows.items()}


def _versions(rows: Columns) -> list[int]:
    """Returns the versions without their last bit, which says whether the row is final."""
    versions: list[int] = (np.asarray(rows["version"], np.uint64) >> np.uint64(1)).tolist()
    return versions


def _write_anew(stored: StoredMinutes, minutes: Minutes, is_final: Array, is_whole: Array) -> None:
    """Writes the rows of the panes that have all cells. The panes whose stored row is final stay final."""
    for mask, final in ((is_whole & is_final, True), (is_whole & ~is_final, False)):
        if mask.any():
            stored.upsert(minute_columns(minutes, mask, final))

"""The store of cells, minutes and closings in ClickHouse."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from pipeline.clickhouse.client import ClickHouse, ExternalTables
from processors.columnar.arrays import Array
from processors.columnar.sets import Sets
from processors.conversation.cells import CellArrays, name_channels, texts
from processors.conversation.index import hashes_of
from processors.engagement.watermarks.store import stored_watermarks
from schemas.conversations import CELL_COUNTS
from schemas.tables import CONVERSATION_CLOSED, CONVERSATION_MARKS, CONVERSATION_POSTS

_CELL_COLUMNS: Final = (
    "conversation, toUInt32(minute), post_id, "
    + ", ".join(CELL_COUNTS)
    + ", arrayStringConcat(channels, '\\0'), length(channels)"
    ", arrayStringConcat(arrayMap(hash -> hex(reinterpretAsFixedString(hash)), voices)), voices_exact, version"
)
"""SQL of the columns of a cell. Lists are read as text, in a tenth of the time that the driver takes for arrays."""

_BLOCK_CELLS: Final = 65_536
_PANE_KEYS: Final = "conversation String, start UInt32"


class ClickHouseConversations:
    """CellLog, Closings and MinuteRows on ClickHouse. Has one connection for lists and one for arrays. One thread calls
    it."""

    def __init__(self, connect: Callable[[bool], ClickHouse]) -> None:
        """`connect(numpy)` makes a connection for numpy arrays, or for lists."""
        self._client, self._arrays = connect(False), connect(True)

    def close(self) -> None:
        self._client.close()
        self._arrays.close()

    def cut(self) -> None:
        """Ends the call that waits for the server, which raises Unavailable. Called from another thread."""
        self._client.cut()
        self._arrays.cut()

    def sizes(self, partitions: Sequence[int], of: int, since: int) -> tuple[Array, Array]:
        answer = self._client.select(
            f"SELECT intDiv(toUInt32(minute), 60) AS number, count() FROM {CONVERSATION_POSTS.name} "
            f"WHERE {_ours(partitions, of)} AND minute >= {since * 60} GROUP BY number ORDER BY number"
        )
        minutes, counts = answer or ([], [])
        return np.array(minutes, np.int64), np.array(counts, np.int64)

    def window(self, partitions: Sequence[int], of: int, since: int, until: int) -> Iterator[CellArrays]:
        return self._cells(f"{_ours(partitions, of)} AND minute >= {since * 60} AND minute < {until * 60}")

    def of_panes(self, pane_keys: Sequence[tuple[str, int]]) -> Iterator[CellArrays]:
        return self._cells(
            "(conversation, minute) IN (SELECT conversation, toDateTime(start, 'UTC') FROM wanted)", _wanted(pane_keys)
        )

    def watermarks(self) -> dict[int, int]:
        return stored_watermarks(self._client)

    def floors(self, partitions: Sequence[int]) -> dict[int, int]:
        answer = self._client.select(
            f"SELECT partition, intDiv(toUInt32(max(closed_until)), 60) FROM {CONVERSATION_MARKS.name} "
            f"WHERE partition IN ({', '.join(map(str, partitions))}) GROUP BY partition"
        )
        return dict(zip(*answer, strict=True)) if answer else {}

    def since(self, partitions: Sequence[int], of: int, minute: int, most: int) -> dict[tuple[str, int], int]:
        answer = self._client.select(
            f"SELECT conversation, intDiv(toUInt32(minute), 60), count FROM {CONVERSATION_CLOSED.name} FINAL "
            f"WHERE {_ours(partitions, of)} AND minute >= {minute * 60} LIMIT {int(most)}"
        )
        return {(key, start): count for key, start, count in zip(*answer, strict=True)} if answer else {}

    def counts(self, pane_keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        answer = self._client.select(
            f"SELECT conversation, intDiv(toUInt32(minute), 60), count FROM {CONVERSATION_CLOSED.name} FINAL "
            "WHERE (conversation, minute) IN (SELECT conversation, toDateTime(start, 'UTC') FROM wanted)",
            tables=_wanted(pane_keys),
        )
        return {(key, minute): count for key, minute, count in zip(*answer, strict=True)} if answer else {}

    def close_missing(self, columns: Mapping[str, Sequence[Any] | Any]) -> int:
        return self._client.insert_missing(CONVERSATION_CLOSED.name, columns)

    def upsert(self, table: str, columns: Mapping[str, Sequence[Any] | Any]) -> None:
        numbers = any(isinstance(column, np.ndarray) for column in columns.values())
        (self._arrays if numbers else self._client).insert(table, columns)

    def _cells(self, where: str, tables: ExternalTables | None = None) -> Iterator[CellArrays]:
        sql = f"SELECT {_CELL_COLUMNS} FROM {CONVERSATION_POSTS.name} WHERE {where}"
        for block in self._client.stream(sql, tables=tables, block=_BLOCK_CELLS):
            conversation, start, post_id, *counts, names, named, voices, exact, version = block
            numbers = np.frombuffer(bytes.fromhex("".join(voices)), "<u8").astype(np.uint64)
            lengths = np.fromiter(map(len, voices), np.int64, len(voices)) // 16
            yield CellArrays(
                texts(conversation),
                np.arange(len(conversation)),
                hashes_of(post_id),
                np.array(start, np.int64) // 60,
                np.array(counts, np.int64).T,
                name_channels([text.split("\0") if count else () for text, count in zip(names, named, strict=True)]),
                Sets(numbers, lengths),
                np.array(exact, np.int64) != 0,
                np.array(version, np.uint64),
            )


def _ours(partitions: Sequence[int], of: int) -> str:
    wanted = ", ".join(str(int(partition)) for partition in partitions)
    return f"kafkaMurmurHash(conversation) % {int(of)} IN ({wanted})"


def _wanted(pane_keys: Sequence[tuple[str, int]]) -> ExternalTables:
    return {"wanted": (_PANE_KEYS, [(conversation, minute * 60) for conversation, minute in pane_keys])}

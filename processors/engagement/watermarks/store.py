"""Watermarks of source partitions in ClickHouse: the table source_marks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pipeline.clickhouse.client import ClickHouse
from schemas.tables import SOURCE_MARKS

CLOCKS_APART_HOURS: Final = 24
"""A watermark is never ahead of the brokers' time, nor far ahead of the server's when it is stored: one that is was
forged, or made by a clock that was wrong, and would close minutes that are still to come."""


class WatermarkStore:
    """Watermarks on a connection for lists. Blocks; raises Unavailable, Refused. One thread calls it."""

    def __init__(self, connect: Callable[[], ClickHouse]) -> None:
        self._client = connect()

    def close(self) -> None:
        """Closes the connection; the next call opens another."""
        self._client.close()

    def cut(self) -> None:
        """Ends a call that waits for the server, from another thread: that call raises Unavailable."""
        self._client.cut()

    def watermarks(self) -> dict[int, int]:
        """Finds the watermark of each source partition, in microseconds since 1970."""
        return stored_watermarks(self._client)

    def upsert(self, table: str, columns: Mapping[str, Sequence[Any] | Any]) -> None:
        """Stores rows of source_marks, column by column."""
        self._client.insert(table, columns)


def stored_watermarks(client: ClickHouse) -> dict[int, int]:
    """Finds the watermark of each source partition, in microseconds since 1970. Blocks; raises Unavailable, Refused."""
    found = client.select(
        f"SELECT partition, max(toUnixTimestamp64Micro(watermark)) FROM {SOURCE_MARKS.name} "
        f"WHERE watermark < stored_at + INTERVAL {CLOCKS_APART_HOURS} HOUR GROUP BY partition"
    )
    return dict(zip(*found, strict=True)) if found else {}

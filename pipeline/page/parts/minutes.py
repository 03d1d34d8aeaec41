"""Counts per minute over the last day, of which each tick reads the last minutes alone.

Late events change older minutes too, so all of them are read again from time to time.
"""

import time
from typing import Any, Final

from pipeline.page.feeds import PartAnswer
from pipeline.page.query import PageQuery, PageRow, ReadsRows

SHOWN_SECONDS: Final = 86_400
TAIL_SECONDS: Final = 900
"""The span that is read at each tick."""

WHOLE_SECONDS: Final = 60.0
"""How often all minutes are read."""


class MinutesPart:
    """Minutes as columns; the newest are read again and again."""

    def __init__(self, database: ReadsRows, query: PageQuery, seconds: float = 2.0, **params: Any) -> None:
        """`query` has a parameter `since`, and a column `minute` by which its rows are sorted."""
        self.seconds = seconds
        self._database, self._query, self._params = database, query, params
        self._rows: dict[int, PageRow] = {}
        self._read_at = float("-inf")

    async def read(self) -> PartAnswer:
        """Reads the tail, from time to time all minutes."""
        now = int(time.time())
        since = now - now % 60 - SHOWN_SECONDS
        if time.monotonic() - self._read_at >= WHOLE_SECONDS:
            self._rows = await self._read(since)
            self._read_at = time.monotonic()
            return PartAnswer(as_columns(self._query, list(self._rows.values()), since))
        tail_since = now - now % 60 - TAIL_SECONDS
        tail = await self._read(tail_since)
        kept = {minute: row for minute, row in self._rows.items() if since <= minute < tail_since}
        self._rows = kept | tail
        whole = as_columns(self._query, list(self._rows.values()), since)
        return PartAnswer(whole, as_columns(self._query, list(tail.values()), tail_since))

    async def _read(self, since: int) -> dict[int, PageRow]:
        rows = await self._database.read(self._query, since=since, **self._params)
        return {row["minute"]: row for row in rows}


def as_columns(query: PageQuery, rows: list[PageRow], since: int) -> dict[str, Any]:
    """Returns rows as columns: a third of the bytes. `since`: older minutes are not told of."""
    return {"since": since, **{name: [row[name] for row in rows] for name in query.columns}}

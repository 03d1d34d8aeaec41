"""A database of the page in memory: rows by query, a count of the questions, and failures on demand."""

import asyncio
from collections import Counter
from typing import Any

from pipeline.page.query import PageQuery, PageRow


class FakePageDatabase:
    """Answers each query with the rows that were set for it, an empty list otherwise."""

    def __init__(self) -> None:
        self.rows: dict[str, list[PageRow]] = {}
        self.asked: Counter[str] = Counter()
        self.failure: Exception | None = None
        self.seconds = 0.0

    def answer(self, query: PageQuery, *rows: PageRow) -> None:
        self.rows[query.sql] = list(rows)

    async def read(self, query: PageQuery, **params: Any) -> list[PageRow]:
        self.asked[query.sql] += 1
        await asyncio.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        return [dict(row) for row in self.rows.get(query.sql, [])]

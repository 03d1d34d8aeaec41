"""The page's way to ClickHouse: by a user who reads only, in a few threads, and never for long."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import Any, Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.page.query import PageQuery, PageRow
from pipeline.settings import Settings

THREADS: Final = 8
"""Queries at a time. More viewers make no more queries, so a few connections are enough."""

QUERY_SECONDS: Final = 20


class PageDatabase:
    """Reads rows in threads with a connection each; a broken connection is made anew by the next query."""

    def __init__(self, settings: Settings) -> None:
        if settings.page_clickhouse is not None:
            settings = settings.model_copy(update={"clickhouse": settings.page_clickhouse})
        self._settings = settings
        self._connections = local()
        self._pool = ThreadPoolExecutor(THREADS, "page-query")

    async def read(self, query: PageQuery, **params: Any) -> list[PageRow]:
        """Returns the rows of a query. Raises EngagementError."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, query, params)

    def close(self) -> None:
        """Waits for queries in progress, for QUERY_SECONDS at most."""
        self._pool.shutdown(cancel_futures=True)

    def _read(self, query: PageQuery, params: dict[str, Any]) -> list[PageRow]:
        connection: ClickHouse | None = getattr(self._connections, "connection", None)
        if connection is None:
            connection = ClickHouse(self._settings, reads_for_seconds=QUERY_SECONDS)
            self._connections.connection = connection
        return query.rows(connection.select(query.sql, params))

"""A lock of a database: one program at a time erases people or deletes old posts.

The lock is a query that lasts as long as the program holds it. A server runs no second query with the same id, and ends
a query within a second once the program's connection is gone, also after kill -9.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.errors import Refused, Unavailable
from pipeline.settings import Settings

_SAME_ID: Final = "code 216"
_LOOK_SECONDS: Final = 0.5

_HOLD: Final = (
    "SELECT number FROM numbers(864000) WHERE number = 0 OR sleepEachRow(1) "
    "SETTINGS max_block_size = 1, max_threads = 1, interactive_delay = 5000000, max_execution_time = 0"
)
"""Answers with one row, and goes on for ten days."""


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return True


@contextmanager
def exclusive(settings: Settings, seconds: float, wait: Callable[[float], bool] = _sleep) -> Iterator[None]:
    """Holds the lock of the settings' database during the block, after up to `seconds` in which somebody else holds it.
    `wait` sleeps for some seconds and returns False where the program has to end. Blocks. Raises Unavailable where
    somebody else still holds the lock, too; Refused.

    On a cluster the lock is that of the server which the settings name: run both kinds of deletion through one.
    """
    url = settings.clickhouse_url
    until = time.monotonic() + seconds
    with ClickHouse(settings) as clickhouse:
        while True:
            held = clickhouse.stream(_HOLD, query_id=f"engagement deletes from {url.database}")
            try:
                next(held)
            except Refused as error:
                if _SAME_ID not in str(error):
                    raise
                if time.monotonic() >= until or not wait(_LOOK_SECONDS):
                    raise Unavailable(
                        f"another program erases people or deletes old posts of the database {url.database}: wait for "
                        "its end, or look for `engagement forget` and `engagement retain`"
                    ) from None
            else:
                break
        yield

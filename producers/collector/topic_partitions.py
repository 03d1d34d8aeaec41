"""The partitions of all topics, read by the blocking admin client beside an event loop."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

from pipeline.errors import Unavailable
from pipeline.kafka.client import open_admin
from pipeline.kafka.topics import check_topics, topic_specs
from pipeline.settings import Settings

_Found = TypeVar("_Found")


def read_partitions(settings: Settings) -> dict[str, int]:
    """Returns the number of partitions of each topic. Blocks. Raises Unavailable for missing topics, SchemaDrift."""
    specs = topic_specs(settings)
    with open_admin(settings) as admin:
        check_topics(admin, specs)
        counts = admin.partition_counts()
    for spec in specs:
        if spec.name not in counts:
            raise Unavailable(f"topic {spec.name} is not there: run `engagement init`")
    return counts


async def in_daemon_thread(work: Callable[[], _Found]) -> _Found:
    """Awaits blocking work in a daemon thread; an executor's would keep the process from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_Found] = loop.create_future()

    def settle(found: _Found | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(found)  # type: ignore[arg-type]  # no error, so it was found

    def run() -> None:
        found, failure = None, None
        try:
            found = work()
        except Exception as error:
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, found, failure)

    Thread(target=run, name="topics", daemon=True).start()
    return await done

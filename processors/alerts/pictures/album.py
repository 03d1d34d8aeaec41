"""The pictures of alerts: reads the minutes of the conversation, draws in a thread, and gives up after PICTURE_SECONDS.
An alert never waits longer for its picture, and goes without where none can be made."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

from pipeline.observability.outages import OutageLog
from processors.alerts.pictures.chart import MOST_BYTES, MOST_MINUTES, Chart, draw
from processors.alerts.ports import BlockingThread
from schemas.alert_words import counted_in
from schemas.alerts import SpikeAlert

PICTURE_SECONDS: Final = 5.0
KEPT_PICTURES: Final = 32
"""Several receivers of an alert share its picture."""

BEFORE_MINUTES: Final = 60
LEAST_MINUTES: Final = 90

log = logging.getLogger(__name__)


class MinuteSource(Protocol):
    """The counts of conversations by the minute."""

    def minutes(self, conversation: str, first: int, last: int) -> Mapping[int, int]:
        """Reads comments and posts of each minute from `first` to `last`, since 1970, that has any. Blocks. Raises
        pipeline.errors.Unavailable."""
        ...


class Album:
    """A PictureSource that draws."""

    def __init__(self, source: MinuteSource, thread: BlockingThread, seconds: float = PICTURE_SECONDS) -> None:
        """`thread` runs the calls of `source`; drawing has threads of its own."""
        self._source, self._thread, self._seconds = source, thread, seconds
        self._drawn: OrderedDict[tuple[object, ...], asyncio.Task[bytes]] = OrderedDict()
        self._outages = OutageLog(log)

    async def picture_of(self, alert: SpikeAlert) -> bytes | None:
        key = (alert["spike_id"], alert["state"], alert["as_of"], alert["conversation"], alert["observed"])
        task = self._drawn.get(key)
        if task is None:
            task = self._drawn[key] = asyncio.create_task(self._draw(alert))
            task.add_done_callback(_look_at_result)
        while len(self._drawn) > KEPT_PICTURES:
            self._drawn.popitem(last=False)
        try:
            picture = await asyncio.wait_for(asyncio.shield(task), self._seconds)
        except TimeoutError:
            told = f"an alert goes without its picture: not drawn in {self._seconds:g} s"
            self._outages.note_failure("pictures", told)
            return None
        except Exception as error:
            self._drawn.pop(key, None)
            self._outages.note_failure("pictures", f"an alert goes without its picture: {error}", type(error).__name__)
            return None
        self._outages.note_success("pictures")
        return picture if len(picture) <= MOST_BYTES else None

    async def _draw(self, alert: SpikeAlert) -> bytes:
        first, last = shown_minutes(alert)
        counts = await self._thread.run(self._source.minutes, alert["conversation"], first, last)
        ends = alert["as_of"] if alert["ended_at"] is None else alert["ended_at"]
        begins = _minute_of(alert["started_at"])
        spike = (begins, max(begins, _minute_of(ends) - 1))
        chart = Chart(counts, first, last, *spike, alert["expected"], counted_in(alert["conversation"]))
        return await asyncio.to_thread(draw, chart)


def shown_minutes(alert: SpikeAlert) -> tuple[int, int]:
    """Returns the first and the last minute that a picture shows: an hour before the spike up to the judged minute."""
    last = _minute_of(alert["as_of"]) - 1
    first = min(_minute_of(alert["started_at"]) - BEFORE_MINUTES, last + 1 - LEAST_MINUTES)
    return max(first, last + 1 - MOST_MINUTES), last


def _minute_of(at: datetime) -> int:
    return int(at.timestamp()) // 60


def _look_at_result(task: asyncio.Task[bytes]) -> None:
    """Takes the error of a drawing that nobody waited for."""
    if not task.cancelled():
        task.exception()

"""Stores minutes of conversations, and closes them: steps 1 to 3 of the order in processors/conversation/job.py."""

from collections.abc import Callable
from typing import Final

import numpy as np

from processors.columnar.arrays import Array
from processors.conversation.cells import Minutes
from processors.conversation.closing.closed import ClosedOnce
from processors.conversation.ports import ConversationPorts
from processors.conversation.rows import minute_columns
from processors.runtime.retry import StoreRetry
from schemas.tables import CONVERSATION_MARKS, CONVERSATION_MINUTES

CONVERSATION_STEPS: Final = ("minutes", "final", "closed", "marks", "days", "day_marks")
"""The steps of storing, in order. After `minutes` come three for the closing of minutes, and two for that of days."""

_MINUTES_AT_ONCE: Final = 200_000


class MinuteWriter:
    """Writes minutes and closings to the stores. One thread calls it; each call blocks, and raises as StoreRetry
    does."""

    def __init__(self, ports: ConversationPorts, retry: StoreRetry, closed: ClosedOnce) -> None:
        self._rows, self._after_step = ports.rows, ports.after_step
        self._retry, self._closed = retry, closed

    def write(self, minutes: Minutes, mask: Array, is_final: bool, now: Callable[[], float]) -> None:
        """Stores rows of conversation_minutes for the panes that the mask selects. `now` returns Unix time in
        seconds."""
        for start in range(0, len(minutes), _MINUTES_AT_ONCE):
            part = np.zeros(len(minutes), np.bool_)
            part[start : start + _MINUTES_AT_ONCE] = mask[start : start + _MINUTES_AT_ONCE]
            if part.any():
                columns = minute_columns(minutes, part, is_final)
                self._retry(lambda columns=columns: self._rows.upsert(CONVERSATION_MINUTES.name, columns))  # type: ignore[misc]
                self._closed.check_in(now())

    def close(self, minutes: Minutes, floors: dict[int, int], until: int, now: Callable[[], float]) -> list[int]:
        """Does steps 2 and 3 for the minutes before `until`, and raises the floors to it. Returns the counts at closing
        that are valid, one for each pane."""
        self.write(minutes, np.ones(len(minutes), np.bool_), True, now)
        self._after_step("final")
        counts = self._closed.write(minutes, now)
        self._after_step("closed")
        raised = {partition: max(floor, until) for partition, floor in floors.items()}
        marks = {"partition": list(raised), "closed_until": [minute * 60 for minute in raised.values()]}
        self._retry(lambda: self._rows.upsert(CONVERSATION_MARKS.name, marks))
        self._after_step("marks")
        floors |= raised
        self._closed.forget(until)
        return counts

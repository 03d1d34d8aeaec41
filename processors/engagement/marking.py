"""Marks on their way: to every partition of `engagement.conversations`, and into `source_marks` (law 8).

Minutes are closed by them, so they are sent where one has come to another minute or to rest, not each time that a
batch moves one by a second. First to the conversations, whose cells lie before them there, then into the table, from
which a new owner of conversations reads them (and then the cells).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic_core import to_json

from processors.engagement.marks import Lags, MarksPolicy, MarksState, Reached, minute_of
from processors.engagement.ports import Outbox
from schemas.conversations import ConversationRun
from schemas.tables import SOURCE_MARKS


class MarkShelf(Protocol):
    """Where watermarks are kept. Blocks; raises Unavailable, Refused."""

    def watermarks(self) -> Mapping[int, int]:
        """Source partition -> watermark, in microseconds."""
        ...

    def upsert(self, table: str, columns: Mapping[str, Sequence[Any] | Any]) -> None:
        """Rows into a table of schemas/tables.py."""
        ...


class Marking:
    """The marks of the source partitions of one worker. One thread calls it; a call that failed is repeated whole."""

    def __init__(self, policy: MarksPolicy, shelf: MarkShelf, outbox: Outbox) -> None:
        self._policy, self._shelf, self._outbox = policy, shelf, outbox
        self.assign([], 1)

    def assign(self, partitions: Sequence[int], of: int) -> None:
        """These source partitions, out of `of`, are ours from now on; there are as many of conversations."""
        self._partitions, self._of = tuple(partitions), of
        self._state: MarksState | None = None
        self._told: set[tuple[int, int, bool]] = set()

    def note(self, reached: Reached, lags: Lags, now: float, all_read: bool) -> None:
        """After a batch is stored, and each second: what marks.MarksState is told. Sends and stores what has moved.
        Blocks; raises Unavailable, Refused."""
        if not self._partitions:
            return
        if self._state is None:
            known = self._shelf.watermarks()
            self._state = MarksState(self._policy, {number: known.get(number, 0) for number in self._partitions}, now)
        self._state.note(reached, lags, now, all_read)
        marks = [mark for mark in self._state.marks if minute_of(mark) not in self._told]
        if not marks:
            return
        run: ConversationRun = {"cells": None, "marks": marks}
        value = to_json(run)
        for partition in range(self._of):
            self._outbox.send(partition, value)
        self._outbox.flush()
        columns = {
            "partition": [mark["partition"] for mark in marks],
            "watermark": [mark["watermark"] for mark in marks],
            "idle": [int(mark["idle"]) for mark in marks],
        }
        self._shelf.upsert(SOURCE_MARKS.name, columns)
        self._told = {minute_of(mark) for mark in self._state.marks}

    @property
    def least(self) -> int | None:
        """The least watermark of ours, in microseconds; None while it is not known."""
        return self._state.least if self._state is not None else None

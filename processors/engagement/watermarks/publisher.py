"""Marks on their way: to every partition of `engagement.conversations`, and into `source_marks` (law 8).

Minutes are closed by them, so they are sent where one has come to another minute or to rest, not each time that a
batch moves one by a second. First to the conversations, whose cells lie before them there, then into the table, from
which a new owner of conversations reads them (and then the cells).
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from pydantic_core import to_json

from processors.engagement.ports import Outbox
from processors.engagement.watermarks.broker_clock import BrokerClock
from processors.engagement.watermarks.watermarks import Lags, MarksPolicy, MarksState, Reached, minute_of
from schemas.conversations import ConversationRun
from schemas.tables import SOURCE_MARKS

_NOTHING: Final[ConversationRun] = {"cells": None, "marks": []}

log = logging.getLogger(__name__)


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
        self._clock, self._acked_ms = BrokerClock(), outbox.broker_ms
        self.assign([], 1)

    def assign(self, partitions: Sequence[int], of: int) -> None:
        """These source partitions, out of `of`, are ours from now on; there are as many of conversations."""
        self._partitions, self._of = tuple(partitions), of
        self._state: MarksState | None = None
        self._told: set[tuple[int, int, bool]] = set()

    def note(self, reached: Reached, lags: Lags, now: float, all_read: bool) -> None:
        """After a batch is stored, and each second: what marks.MarksState is told. `now` is seconds of a monotonic
        clock: that of the brokers follows from what they stamp. Sends and stores what has moved. Blocks; raises
        Unavailable, Refused."""
        if not self._partitions:
            return
        broker_now = self._broker_time(reached, now)
        if self._state is None:
            self._state = MarksState(self._policy, self._known(broker_now), broker_now)
        self._state.note(reached, lags, broker_now, all_read)
        # Whoever closes minutes refuses a mark beyond its own record: the brokers' clock may have been set back.
        marks = [
            mark
            for mark in self._state.marks
            if minute_of(mark) not in self._told and mark["watermark"] <= broker_now * 1_000_000
        ]
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
        told = {mark["partition"] for mark in marks}
        self._told = {seen for seen in self._told if seen[0] not in told} | set(map(minute_of, marks))

    @property
    def least(self) -> int | None:
        """The least watermark of ours, in microseconds; None while it is not known."""
        return self._state.least if self._state is not None else None

    def _broker_time(self, reached: Reached, now: float) -> float:
        """Unix seconds, never ahead of the brokers. Where they have said nothing yet, an empty record asks them."""
        for _, received_ms in reached.values():
            self._clock.note_record(received_ms, now)
        self._note_acks(now)
        if (known := self._clock.time(now)) is None:
            self._outbox.send(self._partitions[0], to_json(_NOTHING))
            self._outbox.flush()
            self._note_acks(now)
            known = self._clock.time(now)
        return known if known is not None else 0.0

    def _note_acks(self, now: float) -> None:
        acked_ms = self._outbox.broker_ms
        if acked_ms is not None and acked_ms != self._acked_ms:
            self._acked_ms = acked_ms
            self._clock.note_ack(acked_ms, now)

    def _known(self, broker_now: float) -> dict[int, int]:
        """The stored watermarks of our source partitions, 0 where there is none that can be."""
        stored = self._shelf.watermarks()
        known = {number: stored.get(number, 0) for number in self._partitions}
        for number, watermark in known.items():
            if watermark > broker_now * 1_000_000:
                log.warning("source partition %s: its watermark is ahead of the brokers' time and is left out", number)
                known[number] = 0
        return known

"""The publisher of watermarks: to every partition of `engagement.conversations`, and into `source_marks` (law 8).

Watermarks close minutes, so one is sent when it has come to another minute or its partition has become idle, not each
time that a batch moves it by a second. It goes to the topic first, behind the cells that it covers, then into the
table, from which a new owner of conversations reads watermarks before it reads cells.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from pydantic_core import to_json

from pipeline.observability.outages import OutageLog
from processors.engagement.ports import Outbox
from processors.engagement.watermarks.broker_clock import BrokerClock
from processors.engagement.watermarks.watermarks import Lags, Reached, WatermarkPolicy, WatermarkState, minute_of
from schemas.conversations import ConversationRun
from schemas.tables import SOURCE_MARKS

_NOTHING: Final[ConversationRun] = {"cells": None, "marks": []}

log = logging.getLogger(__name__)


class StoredWatermarks(Protocol):
    """A store of watermarks. Its methods block and raise Unavailable, Refused."""

    def watermarks(self) -> Mapping[int, int]:
        """Returns the watermark of each source partition, in microseconds."""
        ...

    def upsert(self, table: str, columns: Mapping[str, Sequence[Any] | Any]) -> None:
        """Stores rows of a table of schemas/tables.py."""
        ...


class WatermarkPublisher:
    """The watermarks of one worker's source partitions. One thread calls it, and repeats a failed call as a whole."""

    def __init__(self, policy: WatermarkPolicy, stored: StoredWatermarks, outbox: Outbox) -> None:
        self._policy, self._stored, self._outbox = policy, stored, outbox
        self._clock, self._acked_ms = BrokerClock(), outbox.broker_ms
        self._outages = OutageLog(log)
        self.assign([], 1)

    def assign(self, partitions: Sequence[int], of: int) -> None:
        """Takes over these source partitions out of `of`; the conversations' topic has as many."""
        self._partitions, self._of = tuple(partitions), of
        self._state: WatermarkState | None = None
        self._told: set[tuple[int, int, bool]] = set()

    def note(self, reached: Reached, lags: Lags, now: float, all_read: bool) -> None:
        """Reports stored records and lags to `WatermarkState` (after each batch, and each second), then sends and
        stores the watermarks that have moved. `now` is seconds of a monotonic clock: the brokers' time follows from the
        stamps of their records. Blocks; raises Unavailable, Refused."""
        if not self._partitions:
            return
        broker_now = self._broker_time(reached, now)
        if self._state is None:
            self._state = WatermarkState(self._policy, self._known(broker_now), broker_now)
        self._state.note(reached, lags, broker_now, all_read)
        # A mark later than its own record would be refused: the brokers' clock may have been set back.
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
        self._stored.upsert(SOURCE_MARKS.name, columns)
        told = {mark["partition"] for mark in marks}
        self._told = {seen for seen in self._told if seen[0] not in told} | set(map(minute_of, marks))

    @property
    def least(self) -> int | None:
        """The least watermark of the worker's partitions, in microseconds; None while it is not known."""
        return self._state.least if self._state is not None else None

    def _broker_time(self, reached: Reached, now: float) -> float:
        """Returns Unix seconds, never ahead of the brokers. Sends an empty record where no broker has stamped one
        yet."""
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
        """Returns the stored watermarks of the worker's partitions, 0 for a missing or an impossible one."""
        watermarks = self._stored.watermarks()
        known = {number: watermarks.get(number, 0) for number in self._partitions}
        for number, watermark in known.items():
            if watermark > broker_now * 1_000_000:
                name = f"the watermark of source partition {number}"
                self._outages.note_failure(name, f"{name} is ahead of the brokers' time and is left out")
                known[number] = 0
            else:
                self._outages.note_success(f"the watermark of source partition {number}")
        return known

"""Cells on their way to the conversation agent: records of `engagement.conversations` (schemas/conversations.py).

A record holds many cells, all of its partition: at one record a conversation the client alone would cost more than all
the rest of the job.
"""

from binascii import b2a_base64
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np
from pydantic_core import to_json

from pipeline.outlet import Outlet
from processors.engagement.cells import COUNTS, Cells

RECORD_BYTES: Final = 500_000
RECORD_CELLS: Final = 1500
"""Cells of some 300 bytes each; a record that gets larger is cut in two, down to one cell: at most 10 kB (ids of 512
characters, 256 voices)."""

PATIENCE_SECONDS: Final = 2.0
"""How long a flush waits before whoever sends may think again; what was sent stays on its way."""


class KafkaOutbox:
    """An Outbox that writes to one topic. `open_outlet` is called when the first record is sent: it may block, and
    raises Unavailable."""

    def __init__(self, topic: str, open_outlet: Callable[[], Outlet]) -> None:
        self._topic, self._open = topic, open_outlet
        self._outlet: Outlet | None = None

    def send(self, partition: int, value: bytes) -> None:
        if self._outlet is None:
            self._outlet = self._open()
        self._outlet.send(self._topic, None, value, partition=partition)

    def flush(self) -> None:
        if self._outlet is not None:
            self._outlet.flush(PATIENCE_SECONDS)

    def close(self) -> None:
        """Flushes and ends, in bounded time. Raises as `flush` does."""
        if self._outlet is not None:
            self._outlet.close()


def records_of(cells: Cells) -> Iterator[tuple[int, bytes]]:
    """Partition and value of the records that say these cells."""
    order = np.argsort(cells.partitions, kind="stable")
    columns = _columns(cells, order)
    partitions = cells.partitions[order]
    bounds = [0, *(np.flatnonzero(partitions[1:] != partitions[:-1]) + 1).tolist(), len(order)]
    for start, end in pairwise(bounds):
        for first in range(start, end, RECORD_CELLS):
            for value in _values(columns, first, min(first + RECORD_CELLS, end)):
                yield int(partitions[start]), value


def _columns(cells: Cells, order: Any) -> dict[str, list[Any]]:
    heard, spoken = cells.voices[order].tolist(), cells.channels[order].tolist()
    encoded = {voices: b2a_base64(voices, newline=False).decode() for voices in set(heard)}
    channels = {texts: texts.split("\0") if texts else [] for texts in set(spoken)}
    return {
        "conversation": cells.conversations[order].tolist(),
        "minute": cells.minutes[order].tolist(),
        "post_id": cells.post_ids[order].tolist(),
        **{name: cells.counts[order, number].tolist() for number, name in enumerate(COUNTS)},
        "channels": list(map(channels.__getitem__, spoken)),
        "voices": list(map(encoded.__getitem__, heard)),
        "voices_exact": cells.exact[order].tolist(),
        "version": cells.versions[order].tolist(),
    }


def _values(columns: dict[str, list[Any]], start: int, end: int) -> Iterator[bytes]:
    value = to_json({"cells": {name: column[start:end] for name, column in columns.items()}, "marks": []})
    if len(value) <= RECORD_BYTES or end - start == 1:
        yield value
        return
    middle = (start + end) // 2
    yield from _values(columns, start, middle)
    yield from _values(columns, middle, end)

"""Records of `engagement.conversations` become cells and marks; what cannot be read becomes a dead letter, whole.

The compiled schema (schemas/conversations.py) reads texts and bytes; numbers are looked at as whole columns.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from pydantic import ValidationError

from pipeline.dead_letters import DeadLetter
from processors.columnar.arrays import Array
from processors.columnar.partitioning import partitions_of
from processors.columnar.sets import Sets
from processors.conversation.cells import CELL_COUNTS, CellArrays, join, name_channels, texts
from processors.conversation.index import hashes_of
from processors.runtime.records import Record, Run, dead_letter
from schemas.conversations import CONVERSATION_RUN, HASHES, NUMBERS, VERSIONS, ConversationRun, Mark
from schemas.conversations import Cells as CellColumns
from schemas.events import InvalidEvent, explain

LAST_MINUTE: Final = (2**32 - 1) // 60
"""ClickHouse's DateTime ends in 2106."""


class DecodedCells(NamedTuple):
    """The cells of some runs and the watermarks of source partitions, each with the partition in which it was read; and
    what could not be read."""

    cells: CellArrays
    partitions: Array
    marks: list[tuple[int, Mark]]
    dead: list[DeadLetter]
    records: int


def decode_cells(runs: Iterable[Run], of: int) -> DecodedCells:
    """Takes runs apart. `of`: partitions of the topic, which are as many as the source partitions. Raises nothing,
    whatever a record holds."""
    parts: list[CellArrays] = []
    lay_on: list[int] = []
    marks: list[tuple[int, Mark]] = []
    dead: list[DeadLetter] = []
    records = 0
    for run in runs:
        records += len(run.records)
        for record in run.records:
            try:
                said = _read(record, of)
                if (columns := said["cells"]) is not None:
                    cells = parse_cells(columns)
                    _check_place(cells, run.partition, of)
                    parts.append(cells)
                    lay_on.append(run.partition)
            except InvalidEvent as flaw:
                dead.append(dead_letter(run, record, flaw))
            else:
                marks += [(run.partition, mark) for mark in said["marks"]]
    return DecodedCells(
        join(parts), np.repeat(np.array(lay_on, np.int64), [len(part) for part in parts]), marks, dead, records
    )


def parse_cells(said: CellColumns) -> CellArrays:
    """CellColumns of a record as arrays. Raises InvalidEvent where they are no cells."""
    minute = _numbers(said, "minute")
    size = len(minute)
    counts = np.empty((size, len(CELL_COUNTS)), np.int64)
    for number, name in enumerate(CELL_COUNTS):
        counts[:, number] = _numbers(said, name, size)
    if size and minute.max() > LAST_MINUTE:
        raise InvalidEvent("cells.minute", "after 2106: minutes since 1970 are wanted")
    version = _read_column(said["version"], "version", VERSION_DTYPE, size).astype(np.uint64)
    if not version.all():
        raise InvalidEvent("cells.version", "0: a cell has seen events, and a fold version has made it")
    exact = _numbers(said, "voices_exact", size) != 0
    voices = Sets(_read_column(said["heard"], "heard", HASH_DTYPE).astype(np.uint64), _numbers(said, "voices", size))
    _check_voices(voices, exact)
    return CellArrays(
        texts(said["names"]),
        _places(said, "conversation", size, len(said["names"])),
        hashes_of(said["post_ids"])[_places(said, "post", size, len(said["post_ids"]))],
        minute,
        counts,
        name_channels(said["channel_sets"]).take(_places(said, "channels", size, len(said["channel_sets"]))),
        voices,
        exact,
        version,
    )


def _read(record: Record, of: int) -> ConversationRun:
    if record.value is None:
        raise InvalidEvent("", "no value: this topic is not compacted")
    try:
        said = CONVERSATION_RUN.validate_json(record.value)
    except ValidationError as error:
        raise explain(error) from None
    for mark in said["marks"]:
        if mark["partition"] >= of or mark["watermark"] < 0:
            raise InvalidEvent("marks", f"no watermark of one of {of} source partitions")
        # Event time never gets ahead of the broker (law 8); a mark that claims so would close minutes still to come.
        if mark["watermark"] > record.timestamp * 1000:
            raise InvalidEvent(
                "marks.watermark",
                f"{mark['watermark']} us, later than the record itself ({record.timestamp} ms): "
                "compare the clocks of the worker and the brokers, whose difference must be below "
                "ENGAGEMENT_LATENESS_SECONDS",
            )
    return said


def _read_column(said: bytes, name: str, kind: str, size: int | None = None) -> Array:
    """A column of `size` numbers of that kind; of as many as there are where that is not said."""
    if len(said) % np.dtype(kind).itemsize:
        raise InvalidEvent(
            f"cells.{name}", f"numbers of {np.dtype(kind).itemsize} bytes are wanted, one after the other"
        )
    found: Array = np.frombuffer(said, kind)
    if size is not None and len(found) != size:
        raise InvalidEvent(f"cells.{name}", f"{len(found)} numbers for {size} cells: each cell has one")
    return found


def _numbers(said: CellColumns, name: str, size: int | None = None) -> Array:
    return _read_column(said[name], name, NUMBERS, size).astype(np.int64)  # type: ignore[literal-required]


def _places(said: CellColumns, name: str, size: int, most: int) -> Array:
    places = _numbers(said, name, size)
    if size and places.max() >= most:
        raise InvalidEvent(f"cells.{name}", f"place {places.max()} of {most}: what it names is not in the record")
    return places


def _check_voices(voices: Sets, exact: Array) -> None:
    if (total := int(voices.lengths.sum())) != len(voices.values):
        raise InvalidEvent("cells.voices", f"{total} hashes are counted, and {len(voices.values)} there")
    if (~exact & (voices.lengths == 0)).any():
        raise InvalidEvent("cells.voices_exact", "0 without voices: a sketch keeps the smallest hashes")
    owners = voices.owners()
    if ((owners[1:] == owners[:-1]) & (voices.values[1:] <= voices.values[:-1])).any():
        raise InvalidEvent("cells.heard", "hashes have to be sorted, each once")


def _check_place(cells: CellArrays, partition: int, of: int) -> None:
    belongs = partitions_of(cells.names.tolist(), of)
    for number in np.flatnonzero(belongs != partition)[:1].tolist():
        raise InvalidEvent(
            "cells.names",
            f"{cells.names[number]!r} on partition {partition}, it belongs on {belongs[number]} of {of}: "
            "send it to murmur2 of the conversation, mod the number of partitions",
        )

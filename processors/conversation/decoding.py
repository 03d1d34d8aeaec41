"""Decodes records of `engagement.conversations` into cells and marks, and whole records that are bad into dead letters.

The compiled schema (schemas/conversations.py) reads texts and bytes. Numbers are checked as whole columns.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from pydantic import ValidationError

from pipeline.dead_letters import DeadLetter
from pipeline.privacy.erased_hashes import NOTHING_ERASED, ErasedHashes
from processors.columnar.arrays import Array
from processors.columnar.partitioning import partitions_of
from processors.columnar.sets import Sets
from processors.conversation.cells import CellArrays, join, name_channels, texts
from processors.conversation.index import hashes_of
from processors.runtime.records import KafkaRecord, Run, dead_letter
from schemas.conversations import (
    CELL_COUNTS,
    CONVERSATION_RUN,
    HASH_DTYPE,
    NUMBER_DTYPE,
    VERSION_DTYPE,
    ConversationRun,
    Mark,
)
from schemas.conversations import CellColumns as CellColumns
from schemas.events import InvalidEvent, explain

LAST_MINUTE: Final = (2**32 - 1) // 60
"""The last minute of ClickHouse's DateTime, in 2106."""


class DecodedCells(NamedTuple):
    """The cells and the marks of some runs, each with the partition in which it was read, the dead letters, and the
    number of all records."""

    cells: CellArrays
    partitions: Array
    marks: list[tuple[int, Mark]]
    dead: list[DeadLetter]
    records: int


def decode_cells(runs: Iterable[Run], of: int, erased: ErasedHashes = NOTHING_ERASED) -> DecodedCells:
    """Decodes runs. `of`: the number of partitions of the topic and of the source topics. Cells of erased posts and of
    conversations that name erased people are left out. Never raises, whatever a record holds."""
    parts: list[CellArrays] = []
    read_from: list[int] = []
    marks: list[tuple[int, Mark]] = []
    dead: list[DeadLetter] = []
    records = 0
    for run in runs:
        records += len(run.records)
        for record in run.records:
            try:
                content = _read(record, of)
                if (columns := content["cells"]) is not None:
                    cells = parse_cells(columns)
                    _check_place(cells, run.partition, of)
                    cells = _without_erased(cells, columns, erased) if erased else cells
                    parts.append(cells)
                    read_from.append(run.partition)
            except InvalidEvent as flaw:
                dead.append(dead_letter(run, record, flaw))
            else:
                marks += [(run.partition, mark) for mark in content["marks"]]
    return DecodedCells(
        join(parts), np.repeat(np.array(read_from, np.int64), [len(part) for part in parts]), marks, dead, records
    )


def parse_cells(columns: CellColumns) -> CellArrays:
    """Parses the columns of a record. Raises InvalidEvent where they are no cells."""
    minute = _numbers(columns, "minute")
    size = len(minute)
    counts = np.empty((size, len(CELL_COUNTS)), np.int64)
    for number, name in enumerate(CELL_COUNTS):
        counts[:, number] = _numbers(columns, name, size)
    if size and minute.max() > LAST_MINUTE:
        raise InvalidEvent("cells.minute", "after 2106: minutes since 1970 are wanted")
    version = _read_column(columns["version"], "version", VERSION_DTYPE, size).astype(np.uint64)
    if not version.all():
        raise InvalidEvent("cells.version", "0: a cell has seen events, and a fold version has made it")
    exact = _numbers(columns, "voices_exact", size) != 0
    voices = Sets(
        _read_column(columns["heard"], "heard", HASH_DTYPE).astype(np.uint64), _numbers(columns, "voices", size)
    )
    _check_voices(voices, exact)
    return CellArrays(
        texts(columns["names"]),
        _indexes(columns, "conversation", size, len(columns["names"])),
        hashes_of(columns["post_ids"])[_indexes(columns, "post", size, len(columns["post_ids"]))],
        minute,
        counts,
        name_channels(columns["channel_sets"]).select(
            _indexes(columns, "channels", size, len(columns["channel_sets"]))
        ),
        voices,
        exact,
        version,
    )


def _without_erased(cells: CellArrays, columns: CellColumns, erased: ErasedHashes) -> CellArrays:
    gone_names, gone_posts = erased.conversations(cells.names.tolist()), erased.are("post", columns["post_ids"])
    if not (gone_names.any() or gone_posts.any()):
        return cells
    posts = _indexes(columns, "post", len(cells), len(columns["post_ids"]))
    return cells.where(~(gone_names[cells.conversation] | gone_posts[posts]))


def _read(record: KafkaRecord, of: int) -> ConversationRun:
    if record.value is None:
        raise InvalidEvent("", "no value: this topic is not compacted")
    try:
        content = CONVERSATION_RUN.validate_json(record.value)
    except ValidationError as error:
        raise explain(error) from None
    for mark in content["marks"]:
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
    return content


def _read_column(values: bytes, name: str, kind: str, size: int | None = None) -> Array:
    """Reads a column of `size` numbers of a numpy type; of any size where None. Raises InvalidEvent."""
    if len(values) % np.dtype(kind).itemsize:
        raise InvalidEvent(
            f"cells.{name}", f"numbers of {np.dtype(kind).itemsize} bytes are wanted, one after the other"
        )
    column: Array = np.frombuffer(values, kind)
    if size is not None and len(column) != size:
        raise InvalidEvent(f"cells.{name}", f"{len(column)} numbers for {size} cells: each cell has one")
    return column


def _numbers(columns: CellColumns, name: str, size: int | None = None) -> Array:
    return _read_column(columns[name], name, NUMBER_DTYPE, size).astype(np.int64)


def _indexes(columns: CellColumns, name: str, size: int, most: int) -> Array:
    indexes = _numbers(columns, name, size)
    if size and indexes.max() >= most:
        raise InvalidEvent(f"cells.{name}", f"place {indexes.max()} of {most}: what it names is not in the record")
    return indexes


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

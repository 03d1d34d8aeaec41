"""Records of `engagement.conversations` become cells and marks; what cannot be read becomes a dead letter, whole.

The compiled schema (schemas/conversations.py) takes 1.5 to 2 us a cell, most of it JSON itself.
"""

from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from pydantic import ValidationError

from pipeline.dead_letters import DeadLetter
from processors.conversation.cells import COUNTS, Cells, join, name_channels
from processors.conversation.voices import Array, Sets
from processors.engagement.decoding import Record, Run, dead_letter
from processors.engagement.partitioning import partitions_of
from schemas.conversations import CONVERSATION_RUN, HASH_BYTES, ConversationRun, Mark
from schemas.conversations import Cells as Columns
from schemas.events import InvalidEvent, explain

MOST_COUNT: Final = 2**32 - 1
LAST_MINUTE: Final = MOST_COUNT // 60
"""ClickHouse's DateTime ends in 2106."""

MOST_WATERMARK: Final = 2**32 * 1_000_000


class Decoded(NamedTuple):
    """The cells of some runs, the partition that each lay on, and the marks; and what could not be read."""

    cells: Cells
    partitions: Array
    marks: list[Mark]
    dead: list[DeadLetter]
    records: int


def decode(runs: Iterable[Run], of: int) -> Decoded:
    """Takes runs apart. `of`: partitions of the topic, which are as many as the source partitions. Raises nothing,
    whatever a record holds."""
    parts: list[Cells] = []
    lay_on: list[int] = []
    marks: list[Mark] = []
    dead: list[DeadLetter] = []
    records = 0
    for run in runs:
        records += len(run.records)
        for record in run.records:
            try:
                said = _read(record, of)
                if (columns := said["cells"]) is not None:
                    cells = cells_of(columns)
                    _check_place(cells, run.partition, of)
                    parts.append(cells)
                    lay_on.append(run.partition)
            except InvalidEvent as flaw:
                dead.append(dead_letter(run, record, flaw))
            else:
                marks += said["marks"]
    return Decoded(
        join(parts), np.repeat(np.array(lay_on, np.int64), [len(part) for part in parts]), marks, dead, records
    )


def cells_of(columns: Columns) -> Cells:
    """Columns of a record as arrays. Raises InvalidEvent where they are no cells."""
    lengths = {len(column) for column in columns.values()}  # type: ignore[arg-type]
    if len(lengths) != 1:
        raise InvalidEvent("cells", "its lists differ in length: each place is one cell")
    numbers = {name: _numbers(name, columns[name]) for name in (*COUNTS, "minute")}
    if len(numbers["minute"]) and numbers["minute"].max() > LAST_MINUTE:
        raise InvalidEvent("cells.minute", "after 2106: minutes since 1970 are wanted")
    try:
        version = np.array(columns["version"], np.uint64)
    except OverflowError:
        raise InvalidEvent("cells.version", "64 bits are all there are") from None
    if not version.all():
        raise InvalidEvent("cells.version", "0: a cell has seen events, and a fold version has made it")
    voices, exact = _voices(columns["voices"]), np.array(columns["voices_exact"], np.int64) != 0
    if (~exact & (voices.lengths == 0)).any():
        raise InvalidEvent("cells.voices_exact", "0 without voices: a sketch keeps the smallest hashes")
    return Cells(
        columns["conversation"],
        numbers["minute"],
        columns["post_id"],
        np.stack([numbers[name] for name in COUNTS], axis=1),
        name_channels(columns["channels"]),
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
        if mark["partition"] >= of or not 0 <= mark["watermark"] < MOST_WATERMARK:
            raise InvalidEvent("marks", f"no watermark of one of {of} source partitions")
    return said


def _numbers(name: str, values: list[int]) -> Array:
    try:
        numbers = np.array(values, np.int64)
    except OverflowError:
        numbers = np.full(1, MOST_COUNT + 1)
    if len(numbers) and numbers.max() > MOST_COUNT:
        raise InvalidEvent(f"cells.{name}", f"more than {MOST_COUNT}")
    return numbers


def _voices(said: list[str]) -> Sets:
    try:
        parts = [a2b_base64(text, strict_mode=True) for text in said]
    except NotBase64 as error:
        raise InvalidEvent("cells.voices", f"not base64 ({error})") from None
    sizes = np.fromiter(map(len, parts), np.int64, len(parts))
    if (sizes % HASH_BYTES).any():
        raise InvalidEvent("cells.voices", f"hashes of {HASH_BYTES} bytes are wanted, one after the other")
    sets = Sets(np.frombuffer(b"".join(parts), "<u8").astype(np.uint64), sizes // HASH_BYTES)
    owners = sets.owners()
    if ((owners[1:] == owners[:-1]) & (sets.values[1:] <= sets.values[:-1])).any():
        raise InvalidEvent("cells.voices", "hashes have to be sorted, each once")
    return sets


def _check_place(cells: Cells, partition: int, of: int) -> None:
    belongs = partitions_of(cells.conversation, of)
    for number in np.flatnonzero(belongs != partition)[:1].tolist():
        raise InvalidEvent(
            "cells.conversation",
            f"{cells.conversation[number]!r} on partition {partition}, it belongs on {belongs[number]} of {of}: "
            "send it to murmur2 of the conversation, mod the number of partitions",
        )

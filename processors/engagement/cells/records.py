"""The outbox: encodes cells as records of `engagement.conversations` (schemas/conversations.py).

A record holds many cells of one partition. With one record for each conversation, the Kafka client alone would cost
more than the rest of the job.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
from pydantic_core import to_json

from processors.columnar.arrays import Array
from processors.columnar.factorize import number
from processors.engagement.cells.cells import Cells
from schemas.conversations import CELL_COUNTS, HASH_DTYPE, NUMBER_DTYPE, VERSION_DTYPE, CellColumns

RECORD_BYTES: Final = 500_000
RECORD_CELLS: Final = 3000
"""The most cells of a record, some 120 bytes each. A record above RECORD_BYTES is halved, down to a single cell, which
has at most 10 kB (ids of 512 characters, 256 voices)."""


def records_of(cells: Cells) -> Iterator[tuple[int, bytes]]:
    """Encodes cells as records; yields the partition and value of each."""
    order = np.argsort(cells.partitions, kind="stable")
    partitions = cells.partitions[order]
    bounds = [0, *(np.flatnonzero(partitions[1:] != partitions[:-1]) + 1).tolist(), len(order)]
    for start, end in pairwise(bounds):
        for first in range(start, end, RECORD_CELLS):
            for value in _values(cells, order[first : min(first + RECORD_CELLS, end)]):
                yield int(partitions[start]), value


def _values(cells: Cells, chosen: Array) -> Iterator[bytes]:
    value = to_json({"cells": _as_columns(cells, chosen), "marks": []}, bytes_mode="base64")
    if len(value) <= RECORD_BYTES or len(chosen) == 1:
        yield value
        return
    middle = len(chosen) // 2
    yield from _values(cells, chosen[:middle])
    yield from _values(cells, chosen[middle:])


def _as_columns(cells: Cells, chosen: Array) -> CellColumns:
    spots = cells.spots[chosen]
    names, conversation = number(cells.conversations[chosen], len(cells.names))
    owners = cells.posts[spots]
    posts, post = number(owners, len(cells.post_ids))
    texts, channels = number(cells.channels[spots], len(cells.channel_texts))
    counts = cells.counts[spots].T
    voices = cells.voices.select(spots)
    return {
        "names": cells.names[names].tolist(),
        "post_ids": cells.post_ids[posts].tolist(),
        "channel_sets": [text.split("\0") if text else [] for text in cells.channel_texts[texts].tolist()],
        "conversation": _bytes(conversation),
        "post": _bytes(post),
        "minute": _bytes(cells.minutes[spots]),
        **dict(zip(CELL_COUNTS, map(_bytes, counts), strict=True)),
        "channels": _bytes(channels),
        "voices": _bytes(voices.lengths),
        "voices_exact": _bytes(cells.exact[spots]),
        "version": cells.versions[spots].astype(VERSION_DTYPE).tobytes(),
        "heard": voices.values.astype(HASH_DTYPE).tobytes(),
    }


def _bytes(column: Array) -> bytes:
    return column.astype(NUMBER_DTYPE).tobytes()

"""Cells, each the contribution of a post to a minute of a conversation, and the minutes as sums of cells."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Self

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.sets import Sets, join_sets
from processors.conversation.index import hashes_of
from schemas.conversations import CELL_COUNTS
from schemas.metrics import COMMENTS


@dataclass(frozen=True)
class CellArrays:
    """Cells as arrays with one element per cell, except `names`. `conversation` is an index into `names`, `post` the
    hash of the post's id (hashes_of). `counts` has the columns CELL_COUNTS. `minute` counts from 1970. `exact` is False
    where voices are a sketch."""

    names: Array  # of objects; may hold a name several times
    conversation: Array
    post: Array
    minute: Array
    counts: Array
    channels: Sets
    voices: Sets
    exact: Array
    version: Array

    def __len__(self) -> int:
        return len(self.conversation)

    def where(self, mask: Array) -> Self:
        """Returns the cells that the mask selects."""
        return type(self)(self.names, *(getattr(self, field.name)[mask] for field in fields(self)[1:]))

    @property
    def pane_keys(self) -> list[tuple[str, int]]:
        """The conversation and minute of each cell."""
        return list(zip(self.names[self.conversation].tolist(), self.minute.tolist(), strict=True))


@dataclass(frozen=True)
class Minutes:
    """Minutes of conversations as arrays with one element per pane, a (conversation, minute). `net` has a column
    for each of MEASURES. `seen` is the sum of the events that the cells of the pane have seen, `fold` the highest fold
    version among the cells."""

    conversation: Array  # of objects
    minute: Array
    posts: Array
    net: Array
    voices: Array
    voices_exact: Array
    channels: Array
    seen: Array
    fold: Array

    def __len__(self) -> int:
        return len(self.conversation)

    def where(self, chosen: Array | slice) -> Self:
        """Returns the panes that a mask or a slice selects."""
        return type(self)(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @property
    def pane_keys(self) -> list[tuple[str, int]]:
        """The conversation and minute of each pane."""
        return list(zip(self.conversation.tolist(), self.minute.tolist(), strict=True))

    @property
    def counts(self) -> Array:
        """The counts that a detector judges: net comments and posts, at least 0."""
        counts: Array = np.maximum(self.net[:, COMMENTS] + self.posts, 0)
        return counts


def join(parts: Sequence[CellArrays]) -> CellArrays:
    """Joins the cells of several parts, in their order."""
    if len(parts) == 1:
        return parts[0]
    sizes = [len(part.names) for part in parts]
    starts = np.repeat(np.cumsum(sizes) - sizes, [len(part) for part in parts]).astype(np.int64)
    return CellArrays(
        _joined([np.empty(0, object), *(part.names for part in parts)]),
        _joined([np.empty(0, np.int64), *(part.conversation for part in parts)]) + starts,
        _joined([np.empty(0, np.uint64), *(part.post for part in parts)]),
        _joined([np.empty(0, np.int64), *(part.minute for part in parts)]),
        _joined([np.empty((0, len(CELL_COUNTS)), np.int64), *(part.counts for part in parts)]),
        join_sets([part.channels for part in parts]),
        join_sets([part.voices for part in parts]),
        _joined([np.empty(0, np.bool_), *(part.exact for part in parts)]),
        _joined([np.empty(0, np.uint64), *(part.version for part in parts)]),
    )


def texts(values: Sequence[str]) -> Array:
    """Returns the texts as an array of objects."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def name_channels(channels: Sequence[Sequence[str]]) -> Sets:
    """Returns sets of channels as sets of hashes. Equal names have equal hashes in this process."""
    lengths = np.fromiter(map(len, channels), np.int64, len(channels))
    return Sets(hashes_of(list(chain.from_iterable(channels))), lengths)


def _joined(parts: Sequence[Array]) -> Array:
    joined: Array = np.concatenate(parts)
    return joined

"""The memory budget of a worker (`ENGAGEMENT_MEMORY_MB`), shared by all parts of its state.

Posts may take all memory that the other parts leave. Each other part has a share that it must not exceed, so that posts
always have theirs. The thread of a part notes the part's size, and the thread of the posts reads it.
"""

from collections.abc import Callable
from typing import Final

from pipeline.observability.metrics import MEMORY_PARTS, MemoryPart

PART_SHARES: Final[dict[MemoryPart, float]] = {"known_posts": 1 / 16, "cells": 3 / 16, "series": 2 / 16}
"""The largest share of the budget that a part may take ..."""

PART_LEAST_BYTES: Final[dict[MemoryPart, int]] = {"known_posts": 1 << 20, "cells": 16 << 20, "series": 2 << 20}
"""... and the size that it may take of any budget, so that a backlog is not read a few cells at a time. Below 86 MB of
budget these sizes exceed the shares."""

SERIES_BYTES: Final = 1_200
"""The memory of a series with a name of 40 characters, spare room of its table included."""

EVENT_BYTES: Final = 2_000
CELLS_RECORD_BYTES: Final = 3_000_000
"""The memory of an event, and of a record of 3,000 cells, while their batch is folded and stored. A batch takes at most
as much as the budget, which matters for a backlog and a small budget."""

LEAST_EVENTS: Final = 5_000
LEAST_CELLS_RECORDS: Final = 4
"""The least sizes of a full batch, however small the budget: in smaller batches each event costs more."""


class MemoryBudget:
    """The sizes of the parts and their bounds. Safe to be called from several threads."""

    def __init__(self, total: int, show: Callable[[MemoryPart, int], None] = lambda part, size: None) -> None:
        """`total` in bytes. `show` is called with each size that is noted."""
        self._total, self._show = total, show
        self._sizes = dict.fromkeys(MEMORY_PARTS, 0)

    def most(self, part: MemoryPart) -> int:
        """Returns the most bytes that a part may take."""
        return max(int(self._total * PART_SHARES[part]), PART_LEAST_BYTES[part])

    def note(self, part: MemoryPart, size: int) -> None:
        """Notes the current size of a part in bytes."""
        self._sizes[part] = size
        self._show(part, size)

    def batch_events(self, most: int) -> int:
        """Returns the most events of a batch, which is `most` or less."""
        return min(most, max(self._total // EVENT_BYTES, LEAST_EVENTS))

    def batch_cells_records(self, most: int) -> int:
        """Returns the most records of cells of a batch, which is `most` or less."""
        return min(most, max(self._total // CELLS_RECORD_BYTES, LEAST_CELLS_RECORDS))

    @property
    def for_posts(self) -> int:
        """The most bytes that posts may take: the budget less the sizes of the other parts, and at least half of it."""
        others = sum(size for part, size in self._sizes.items() if part != "posts")
        return max(self._total - others, self._total // 2)

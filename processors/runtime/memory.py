"""One budget for all that a worker keeps in memory (`ENGAGEMENT_MEMORY_MB`).

Posts may have all that the other parts do not use. Each other part has a share that it must not exceed, so that posts
always have their own; what a part takes is noted by the thread that it belongs to, and read by the thread of the posts.
"""

from collections.abc import Callable
from typing import Final

from pipeline.observability.metrics import MEMORY_PARTS, MemoryPart

PART_SHARES: Final[dict[MemoryPart, float]] = {"known_posts": 1 / 16, "cells": 3 / 16, "series": 2 / 16}
"""The most of the budget that a part may take ..."""

PART_LEAST_BYTES: Final[dict[MemoryPart, int]] = {"known_posts": 1 << 20, "cells": 16 << 20, "series": 2 << 20}
"""... and how much it may take of however small a budget, so that a backlog is not read a few cells at a time. Below
86 MB of budget these are more than the shares."""

SERIES_BYTES: Final = 1_200
"""What a series takes with a name of 40 characters and the room that its table has."""

EVENT_BYTES: Final = 2_000
CELLS_RECORD_BYTES: Final = 3_000_000
"""What an event, and a record of 3,000 cells, take while their batch is folded and stored. A batch takes no more than
the budget once more, which matters where there is a backlog and the budget is small."""

LEAST_EVENTS: Final = 5_000
LEAST_CELLS_RECORDS: Final = 4
"""Of a batch, however small the budget: fewer cost more each."""


class MemoryBudget:
    """What may be kept, and what is. Safe to be called from several threads."""

    def __init__(self, total: int, show: Callable[[MemoryPart, int], None] = lambda part, size: None) -> None:
        """`total` in bytes. `show` is told each size that is noted."""
        self._total, self._show = total, show
        self._sizes = dict.fromkeys(MEMORY_PARTS, 0)

    def most(self, part: MemoryPart) -> int:
        """The most bytes that this part may take."""
        return max(int(self._total * PART_SHARES[part]), PART_LEAST_BYTES[part])

    def note(self, part: MemoryPart, size: int) -> None:
        """What this part takes now, in bytes."""
        self._sizes[part] = size
        self._show(part, size)

    def batch_events(self, most: int) -> int:
        """Events that a batch may have, at most so many."""
        return min(most, max(self._total // EVENT_BYTES, LEAST_EVENTS))

    def batch_cells_records(self, most: int) -> int:
        """Records of cells that a batch may have, at most so many."""
        return min(most, max(self._total // CELLS_RECORD_BYTES, LEAST_CELLS_RECORDS))

    @property
    def for_posts(self) -> int:
        """Bytes that posts may take: the budget but for what other parts take; never less than half of it."""
        others = sum(size for part, size in self._sizes.items() if part != "posts")
        return max(self._total - others, self._total // 2)

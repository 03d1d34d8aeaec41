"""Memory of its own for a table that grows: it goes back to the system with the table, whatever else is in the heap."""

import mmap
from typing import Any, Final

import numpy as np

PAGES_FROM: Final = 1 << 20
"""Bytes; less lies well in the heap."""

HUGE_FROM: Final = 4 << 20
"""Bytes from which on huge pages are asked for, as numpy does: a fault fills 2 MiB, not 4 KiB."""


def zeros(rows: int, dtype: Any) -> Any:
    """An array of that many rows, all 0. A page of it costs nothing until it is written to."""
    size = rows * np.dtype(dtype).itemsize
    if size < PAGES_FROM or np.dtype(dtype).hasobject:
        return np.zeros(rows, dtype)
    pages = mmap.mmap(-1, size)
    if size >= HUGE_FROM and hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, dtype, rows)

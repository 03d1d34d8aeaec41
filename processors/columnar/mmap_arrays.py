"""Arrays in anonymous memory maps: the memory of a large table goes back to the system when the table is freed."""

import mmap
from typing import Any, Final

import numpy as np

PAGES_FROM: Final = 1 << 20
"""Bytes; smaller arrays lie in the heap."""

HUGE_FROM: Final = 4 << 20
"""Bytes from which on huge pages are requested, as numpy does: a page fault fills 2 MiB, not 4 KiB."""


def zeros(rows: int, dtype: Any) -> Any:
    """Makes an array of `rows` zeros. A page takes no memory until something is written to it."""
    size = rows * np.dtype(dtype).itemsize
    if size < PAGES_FROM or np.dtype(dtype).hasobject:
        return np.zeros(rows, dtype)
    pages = mmap.mmap(-1, size)
    if size >= HUGE_FROM and hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, dtype, rows)

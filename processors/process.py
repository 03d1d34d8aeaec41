"""What a worker's process asks of the interpreter and of the C library, so that its memory and its CPU are the state's,
not theirs."""

import ctypes
import gc
from typing import Final

TRIM_THRESHOLD: Final = -1
MMAP_THRESHOLD: Final = -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)."""

LARGE_BYTES: Final = 1 << 20
KEPT_BYTES: Final = 256 << 20
"""Of what is smaller, this much stays with the process when it is free. Setting one threshold stops glibc from finding
the other by itself, and at its first value, 128 KiB, each batch pays for its pages again: 50 us an event, not 9."""

YOUNG_OBJECTS: Final = 50_000
"""A run makes some 20 objects an event, all of them dead soon: the collector's own 2,000 has it look ten times a run
in vain."""


def tune() -> None:
    """Once, before the first record.

    Arrays of a mebibyte and more get pages of their own, which go back to the system when the array is replaced by a
    larger one; by default glibc keeps up to 32 MiB of each in its heap (by RSS 89 bytes a like instead of 65:
    benchmarks/memory.py). What is loaded by now lives as long as the process, so the collector need not look at it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc has it, others do without
        mallopt(MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(TRIM_THRESHOLD, KEPT_BYTES)
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)

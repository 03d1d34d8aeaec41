"""Tunes the garbage collector and the C library's allocator for a worker, whose memory is mostly long-lived arrays."""

import ctypes
import gc
from collections.abc import Callable
from typing import Final

TRIM_THRESHOLD: Final = -1
MMAP_THRESHOLD: Final = -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)."""

LARGE_BYTES: Final = 32 << 20
KEPT_BYTES: Final = 256 << 20
"""Allocations below LARGE_BYTES (glibc's maximum) come from the heap, and up to KEPT_BYTES of freed heap stays with the
process. The next batch reuses it instead of faulting pages in again. A threshold of 1 MiB costs 2 to 8 us an event;
glibc's default, 128 KiB, costs 40."""

YOUNG_OBJECTS: Final = 1_000_000
"""The collector's threshold, above the objects of a full batch (200,000 records and their events). With a lower one the
collector visits live records in the middle of each batch, which costs 0.5 us an event. Cycles are rare here, and can
wait."""

TIDY_SECONDS: Final = 30.0
"""The time between two collections of cycles, after which free memory returns to the system. The driver of ClickHouse
leaves some 200 objects in cycles a second, and heaps of several threads keep free pages between used ones: without
collections a worker grows by 100 MB in ten minutes. A collection takes 20 to 200 ms."""


def tune() -> None:
    """Tunes the process once, before the first record.

    Long-lived arrays have pages of their own, so they do not lie between the objects of batches
    (processors/columnar/mmap_arrays.py). Objects that exist by now live as long as the process, so the collector skips
    them.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(TRIM_THRESHOLD, KEPT_BYTES)
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)


class TidyState:
    """The time of the last collection. Called between two batches, when the objects of a batch are freed."""

    def __init__(self, now: float) -> None:
        """`now` in monotonic seconds."""
        self._tidied_at = now

    def tidy(self, now: float) -> bool:
        """Collects cycles and returns free memory to the system, if TIDY_SECONDS have passed. Returns whether it
        did."""
        if now - self._tidied_at < TIDY_SECONDS:
            return False
        self._tidied_at = now
        gc.collect()
        malloc_trim = _of_glibc("malloc_trim")
        if malloc_trim is not None:
            malloc_trim(0)
        return True


def _of_glibc(name: str) -> Callable[..., int] | None:
    """Returns a function of glibc; None where the C library lacks it."""
    function: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return function

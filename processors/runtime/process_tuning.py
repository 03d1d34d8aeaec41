"""What a worker's process asks of the interpreter and of the C library, so that its memory and its CPU are the state's,
not theirs."""

import ctypes
import gc
from collections.abc import Callable
from typing import Final

TRIM_THRESHOLD: Final = -1
MMAP_THRESHOLD: Final = -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)."""

LARGE_BYTES: Final = 32 << 20
KEPT_BYTES: Final = 256 << 20
"""Of what is smaller than the one, the most that glibc allows, the other stays with the process when it is free: what a
batch needs and lets go of again, the next one finds, and pays no page twice. A threshold of 1 MiB costs 2 to 8 us an
event; the first one that glibc has by itself, 128 KiB, 40."""

YOUNG_OBJECTS: Final = 1_000_000
"""More than a full batch has at a time (200,000 records and what is made of them). With fewer the collector looks in
the middle of each batch at records that all are needed: 0.5 us an event. Cycles are rare here, and wait a little
longer."""

TIDY_SECONDS: Final = 30.0
"""How often cycles are collected and free memory goes back to the system. The driver of ClickHouse leaves some 200
objects in cycles a second, and heaps of several threads keep pages that lie between others: without it a worker grows
by 100 MB in ten minutes. It takes 20 to 200 ms."""


def tune() -> None:
    """Once, before the first record.

    What lives long has pages of its own and does not lie between what batches leave
    (processors/columnar/mmap_arrays.py).
    What is loaded by now lives as long as the process, so the collector need not look at it.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(TRIM_THRESHOLD, KEPT_BYTES)
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)


class TidyState:
    """When the process was last tidied up. To be called between two batches, when what they need is let go of."""

    def __init__(self, now: float) -> None:
        """`now` in monotonic seconds."""
        self._tidied_at = now

    def tidy(self, now: float) -> bool:
        """Collects cycles and gives free memory back, where TIDY_SECONDS have gone by; whether it did."""
        if now - self._tidied_at < TIDY_SECONDS:
            return False
        self._tidied_at = now
        gc.collect()
        malloc_trim = _of_glibc("malloc_trim")
        if malloc_trim is not None:
            malloc_trim(0)
        return True


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc's; None where the C library is another."""
    found: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return found

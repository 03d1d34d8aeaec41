"""The progress of loading compiled kernels, for people who wait for a first start."""

import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

from numba.core import event
from numba.core.dispatcher import Dispatcher

from pipeline.observability.health import COMPILING
from processors.runtime.kernel_cache import VARIABLE

SHOW_SECONDS: Final = 0.5
_SAY_SECONDS: Final = 5.0
"""How often progress is shown, and how often a line is said."""

_COMPILATION: Final = "numba:compile"

log = logging.getLogger(__name__)


class KernelProgress(event.Listener):  # type: ignore[misc]  # numba has no types
    """Tells how many kernels are loaded while a kernel is compiled; says nothing where all are in the cache.

    Several threads may load kernels at the same time.
    """

    def __init__(self, show: Callable[[str | None], None], say: Callable[[str], None] = log.info) -> None:
        """`show` gets the state of things in words twice a second, and None at the end; `say` gets lines for a log."""
        self._show, self._say = show, say
        self._lock = Lock()
        self._watching = 0
        self._started: float | None = None
        self._loaded_before = 0
        self._shown = self._said = 0.0

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watches the loading of kernels inside of the block."""
        with self._lock:
            self._watching += 1
            if self._watching == 1:
                self._started = None
                event.register(_COMPILATION, self)
        try:
            yield
        finally:
            with self._lock:
                self._watching -= 1
                if self._watching == 0:
                    event.unregister(_COMPILATION, self)
                    self._end()

    def on_start(self, event: Any) -> None:
        """Called by numba before a compilation; no two overlap in a process."""
        self._tell()

    def on_end(self, event: Any) -> None:
        """Called by numba after a compilation."""
        self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._shown < SHOW_SECONDS:
            return
        self._shown = now
        loaded, kernels = count_kernels()
        if self._started is None:
            self._started, self._loaded_before = now, loaded
        compiled = loaded - self._loaded_before
        seconds = (now - self._started) / compiled * (kernels - loaded) if compiled > 5 else math.nan
        left = "a minute in all" if math.isnan(seconds) else f"{seconds:.0f} s left"
        text = f"{COMPILING}, {loaded} of {kernels}, about {left} (once for each version)"
        self._show(text)
        if now - self._said >= _SAY_SECONDS:
            self._said = now
            self._say(text)

    def _end(self) -> None:
        if self._started is not None:
            seconds = time.monotonic() - self._started
            kept = os.environ.get(VARIABLE)
            where = f"kept in {kept}" if kept else f"not kept: no folder can be written, so set {VARIABLE}"
            self._say(f"compiled {count_kernels()[0] - self._loaded_before} kernels in {seconds:.0f} s, {where}")
            self._show(None)


def count_kernels() -> tuple[int, int]:
    """Returns the number of loaded kernels, and of all kernels of the imported modules."""
    kernels = all_kernels()
    return sum(bool(kernel.overloads) for kernel in kernels), len(kernels)


def all_kernels() -> list[Any]:
    """Returns the kernels of the imported modules, without functions always inlined into their callers."""
    kernels = {
        id(value): value
        for name, module in list(sys.modules.items())
        if name.startswith("processors.")
        for value in list(vars(module).values())
        if isinstance(value, Dispatcher) and value.targetoptions.get("inline") != "always"
    }
    return list(kernels.values())

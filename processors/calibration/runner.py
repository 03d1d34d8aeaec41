"""Runs calibrations beside a worker, in a process of their own, so that a fit holds up no event."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final, Protocol

from pipeline.errors import EngagementError
from pipeline.observability.logs import configure_logs
from pipeline.settings import load_settings
from schemas.metrics import MINUTE_US

PAUSE_SECONDS: Final = 60.0
"""The least time between the starts of two calibrations, which a replay of the past would start one after the other."""

STEP_US: Final = 60 * MINUTE_US
"""The event time between two calibrations: posts take a week to finish, so an hour more or less does not matter."""

log = logging.getLogger(__name__)


class Child(Protocol):
    """A process that calibrates."""

    def is_alive(self) -> bool:
        """Returns whether the process still works."""
        ...

    def terminate(self) -> None:
        """Ends the process. What it has not stored, the next one learns again."""
        ...


class CalibrationRunner:
    """Starts a calibration each time that event time has moved on. One thread calls it; nothing blocks."""

    def __init__(self, start: Callable[[], Child], clock: Callable[[], float] = time.monotonic) -> None:
        self._start, self._clock = start, clock
        self._child: Child | None = None
        self._started_at = clock()  # a worker that has just begun has other things to do
        self._reached_us = 0

    def note(self, watermark_us: int) -> None:
        """Notes the least watermark of the owned partitions, and starts a calibration where one is due."""
        is_busy = self._child is not None and self._child.is_alive()
        is_soon = self._clock() - self._started_at < PAUSE_SECONDS
        if is_busy or is_soon or watermark_us < self._reached_us + STEP_US:
            return
        self._started_at, self._reached_us = self._clock(), watermark_us
        try:
            self._child = self._start()
        except OSError as error:  # of a machine without a process or memory to spare
            log.warning("the forecast was not calibrated; the next try comes within an hour: %s", error)

    def close(self) -> None:
        """Ends a calibration that goes on."""
        if self._child is not None and self._child.is_alive():
            self._child.terminate()


class CalibrationProcess:
    """A calibration in a fresh process, with the settings of the same environment: settings hold secrets, so no
    process hands them to another one."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.DEVNULL)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def terminate(self) -> None:
        self._process.terminate()
        self._process.wait()

    def wait(self) -> int:
        """Waits for the end of the process and returns its exit code."""
        return self._process.wait()


def calibrate_once() -> None:
    """Calibrates by the settings of the environment, and says in the log what was learned. Never raises
    EngagementError: the next process tries again."""
    # Imported here, because the optimiser takes memory that the worker would not use.
    from processors.calibration.calibrate import calibrate

    settings = load_settings()
    configure_logs(settings)
    try:
        learned = calibrate(settings)
    except EngagementError as error:
        log.warning("the forecast was not calibrated; the next try comes within an hour: %s", error)
        return
    for channel, version in learned:
        log.info("forecast of %s: parameters learned from %d finished posts", channel, version.finished)


if __name__ == "__main__":
    calibrate_once()

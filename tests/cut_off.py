"""Steps of a model worker that are cut off between any two calls, and come back later than everybody else.

A step runs in a thread of its own, but never at the same time as the test: control passes from one to the other and
back, so that a schedule follows from its seed alone.

    step = CutOffStep(lambda: worker.job.process(...))
    step.run()          # until the step calls `cut_off`, or ends
    ...                 # others go on
    step.run()          # the rest of it
"""

import threading
from collections.abc import Callable


class Crash(BaseException):
    """Ends a model worker: nothing after this happens."""


class CutOffStep:
    """One step of a worker that may be cut off on its way, several times perhaps."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._act, daemon=True)
        self._error: BaseException | None = None
        self._is_abandoned = False
        self.is_done = False

    def run(self) -> bool:
        """Runs the step until it is cut off (False) or done (True). Raises what the step raised."""
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._go.release()
        self._back.acquire()
        if not self.is_done:
            return False
        self._thread.join()
        if self._error is not None:
            raise self._error
        return True

    def cut_off(self) -> None:
        """Called within the step: gives control back to the test until the step is run again."""
        self._back.release()
        self._go.acquire()
        if self._is_abandoned:
            raise Crash("abandoned")

    def abandon(self) -> None:
        """Ends a step that is cut off where it stands, as a kill of its process does."""
        self._is_abandoned = True
        self._go.release()
        self._back.acquire()
        self._thread.join()

    def _act(self) -> None:
        try:
            self._action()
        except BaseException as error:
            self._error = error
        self.is_done = True
        self._back.release()


def run_schedules(run: Callable[[int], None], first: int, count: int = 40) -> None:
    """Runs the schedules of these seeds, one after the other; an AssertionError names the seed that failed."""
    for seed in range(first, first + count):
        try:
            run(seed)
        except AssertionError as error:
            raise AssertionError(f"schedule {seed}: {error}") from error

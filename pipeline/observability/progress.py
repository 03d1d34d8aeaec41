"""Progress of long work on stderr: a bar on a terminal, else a line every few seconds.

The bar is rich's, which heeds NO_COLOR and the width of the terminal; without a thread of its own, because the work
itself says how far it is.
"""

import time
from typing import Final, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

TTY_SECONDS: Final = 0.2
LINE_SECONDS: Final = 5.0


class ProgressDisplay:
    """A progress display. `show` is cheap and may be called often: most calls write nothing."""

    def __init__(self, stream: TextIO, what: str) -> None:
        """`what` is a participle of the work: replayed, compared."""
        self._stream, self._what = stream, what
        self._tty = stream.isatty()
        self._started = self._shown = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def show(self, count: int, fraction: float | None) -> None:
        """Shows `count` items at `fraction` of the whole, 0 to 1; None where the whole is not known."""
        now = time.monotonic()
        if now - self._shown < (TTY_SECONDS if self._tty else LINE_SECONDS):
            return
        self._shown = now
        rate = count / max(now - self._started, 1e-9)
        text = f"{self._what} {count:,} at {rate:,.0f}/s"
        share = None if fraction is None else min(max(fraction, 0.0), 1.0)
        if self._tty:
            self._draw(text, share)
            return
        if share is not None:
            left = (now - self._started) * (1 - share) / share if share > 0 else 0.0
            text += f", {share:.0%}, {left:.0f} s left"
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def end(self) -> None:
        """Removes the bar from the terminal."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _draw(self, text: str, share: float | None) -> None:
        if self._bar is None:
            columns = [BarColumn(30), TaskProgressColumn()] if share is not None else [SpinnerColumn()]
            time_left = [TimeRemainingColumn()] if share is not None else []
            self._bar = Progress(
                *columns,
                TextColumn("{task.description}", markup=False),
                *time_left,
                console=Console(file=self._stream),
                transient=True,
                auto_refresh=False,
            )
            self._bar.start()
            self._bar.add_task(text, total=None if share is None else 1.0)
        # The time that is left follows from the steps that the bar has seen.
        self._bar.update(self._bar.tasks[0].id, description=text, completed=share or 0.0)
        self._bar.refresh()

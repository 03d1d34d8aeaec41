"""Progress on stderr: a bar that is redrawn on a terminal, else a line every few seconds."""

import time
from typing import Final, TextIO

BAR: Final = 30
TTY_SECONDS: Final = 0.2
LINE_SECONDS: Final = 5.0


class Progress:
    """A progress display. `show` is cheap and may be called often: most calls write nothing."""

    def __init__(self, stream: TextIO, what: str) -> None:
        self._stream, self._what = stream, what
        self._tty = stream.isatty()
        self._started = self._shown = time.monotonic()

    def show(self, count: int, fraction: float | None) -> None:
        """Shows `count` items at `fraction` of the whole, 0 to 1; None where the whole is not known."""
        now = time.monotonic()
        if now - self._shown < (TTY_SECONDS if self._tty else LINE_SECONDS):
            return
        self._shown = now
        rate = count / max(now - self._started, 1e-9)
        text = f"{self._what} {count:,} at {rate:,.0f}/s"
        if fraction is not None:
            share = min(max(fraction, 0.0), 1.0)
            left = (now - self._started) * (1 - share) / share if share > 0 else 0.0
            text += f", {share:.0%}, {left:.0f} s left"
            if self._tty:
                filled = int(share * BAR)
                text = f"[{'#' * filled}{'.' * (BAR - filled)}] {text}"
        self._stream.write(f"\r\033[K{text}" if self._tty else f"{text}\n")
        self._stream.flush()

    def end(self) -> None:
        """Removes the bar from the terminal."""
        if self._tty:
            self._stream.write("\r\033[K")
            self._stream.flush()

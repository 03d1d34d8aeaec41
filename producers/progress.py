"""Progress on stderr: a bar that is drawn over on a terminal, else a line every few seconds."""

import time
from typing import Final, TextIO

BAR: Final = 30
TTY_SECONDS: Final = 0.2
LINE_SECONDS: Final = 5.0


class Progress:
    """Call `show` as often as you like; it writes seldom."""

    def __init__(self, stream: TextIO, what: str) -> None:
        self._stream, self._what = stream, what
        self._tty = stream.isatty()
        self._started = self._shown = time.monotonic()

    def show(self, count: int, fraction: float | None) -> None:
        """`fraction` of the whole, 0 to 1; None where it is not known."""
        now = time.monotonic()
        if now - self._shown < (TTY_SECONDS if self._tty else LINE_SECONDS):
            return
        self._shown = now
        rate = count / max(now - self._started, 1e-9)
        said = f"{self._what} {count:,} at {rate:,.0f}/s"
        if fraction is not None:
            share = min(max(fraction, 0.0), 1.0)
            left = (now - self._started) * (1 - share) / share if share > 0 else 0.0
            said += f", {share:.0%}, {left:.0f} s left"
            if self._tty:
                filled = int(share * BAR)
                said = f"[{'#' * filled}{'.' * (BAR - filled)}] {said}"
        self._stream.write(f"\r\033[K{said}" if self._tty else f"{said}\n")
        self._stream.flush()

    def end(self) -> None:
        """Leaves the line of the bar."""
        if self._tty:
            self._stream.write("\r\033[K")
            self._stream.flush()

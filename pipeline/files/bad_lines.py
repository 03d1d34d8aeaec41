"""Bad lines of a run: named up to a number, counted beyond."""

from collections.abc import Callable
from typing import Final

from pipeline.errors import CheckFailed

SHOWN_LINES: Final = 20
"""Bad lines beyond this number are only counted."""


class BadLines:
    """The bad lines of a command. `complain`: takes the text for people; `is_strict`: the first bad line ends the
    command."""

    def __init__(self, complain: Callable[[str], None], is_strict: bool = False) -> None:
        self._complain, self._is_strict = complain, is_strict
        self.count = 0

    def __call__(self, message: str) -> None:
        """Counts a line; `message` is its place and its flaw. Raises CheckFailed where strict."""
        self.count += 1
        if self._is_strict:
            raise CheckFailed(f"{message}; mend the line, or leave out --strict to skip such lines")
        if self.count <= SHOWN_LINES:
            self._complain(message)
        elif self.count == SHOWN_LINES + 1:
            self._complain("more bad lines are only counted")

    def end(self, what: str) -> None:
        """Tells the number of all bad lines; `what` the lines should have been."""
        if self.count:
            self._complain(count_bad_lines(self.count, what))


def count_bad_lines(count: int, what: str) -> str:
    """Returns a sentence for the number of bad lines."""
    if count == 1:
        return f"1 line was none of the {what} and was left out"
    return f"{count:,} lines were not {what} and were left out"

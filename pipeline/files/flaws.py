"""Flaws of files: one unreadable line, or the rest of a file that is damaged."""

from typing import NamedTuple


class Flaw(NamedTuple):
    """The reason why a line, a row, or the rest of a file cannot be read, with the cure. `ends_file`: of the
    rest."""

    reason: str
    ends_file: bool = False


FileChunk = bytes | Flaw
"""A piece of a file's content; a Flaw is the last piece, and stands for the rest that is lost."""

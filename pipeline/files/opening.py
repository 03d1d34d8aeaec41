"""Opens files and standard input for reading, by pieces of bounded size."""

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final

import click

from pipeline.errors import Refused
from pipeline.files.flaws import FileChunk, Flaw

STDIN: Final = "-"
CHUNK_BYTES: Final = 1 << 16

_PACKED: Final = {
    b"PK\x03\x04": "zip (or a spreadsheet)",
    b"BZh91A": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
"""First bytes of compressed formats that are not read, by name of the format."""

PACKED_TWICE: Final = {magic: f"{form} within gzip" for magic, form in (_PACKED | {b"\x1f\x8b\x08": "gzip"}).items()}
"""The same of a content that was unpacked once."""

PEEKED_BYTES: Final = 6
"""Bytes that tell a compressed format."""


def check_inputs(names: Iterable[str | Path]) -> None:
    """Checks whether files can be read, without opening any. Raises Refused for the first that is missing, a directory
    or unreadable, and click.UsageError where standard input is named twice. A FIFO is left alone."""
    named = [str(name) for name in names]
    if named.count(STDIN) > 1:
        raise click.UsageError("- is named twice: standard input can be read once")
    for name in named:
        if name == STDIN:
            continue
        try:
            if stat.S_ISDIR(os.stat(name).st_mode):
                raise _refused(name, "Is a directory")
        except OSError as error:
            raise _refused(name, error.strerror) from None
        if not os.access(name, os.R_OK):
            raise _refused(name, "Permission denied")


def is_regular(name: str | Path) -> bool:
    """Tells whether a name is a regular file, which can be read twice, unlike a FIFO or a device."""
    return Path(name).is_file()


class ByteFile:
    """A file or standard input, read once by chunks of at most CHUNK_BYTES."""

    def __init__(self, name: str) -> None:
        """Opens the file. Raises Refused."""
        self.name = name
        try:
            if name == STDIN:
                if sys.stdin is None:
                    raise _refused(name, "standard input is closed")
                self._raw: Any = sys.stdin.buffer
                self._size = 0
            else:
                self._raw = open(name, "rb", buffering=0)  # noqa: SIM115  # closed by `chunks`
                self._size = os.fstat(self._raw.fileno()).st_size if is_regular(name) else 0
        except OSError as error:
            raise _refused(name, error.strerror) from None
        self._read_bytes = 0

    def chunks(self) -> Iterator[FileChunk]:
        """Yields the content; closes the file at the end. Blocks on a pipe until something comes. Raises Refused for a
        read that fails, and for a compressed format other than gzip."""
        yield from refuse_packed(self._pieces(), self.name, _PACKED)

    @property
    def fraction(self) -> float | None:
        """Returns the share of the file behind the reader; None where the size is unknown."""
        return min(self._read_bytes / self._size, 1.0) if self._size else None

    def _pieces(self) -> Iterator[FileChunk]:
        read = self._raw.read1 if self.name == STDIN else self._raw.read
        try:
            while piece := read(CHUNK_BYTES):
                self._read_bytes += len(piece)
                yield piece
        except OSError as error:
            raise _refused(self.name, error.strerror) from None
        finally:
            if self.name != STDIN:
                self._raw.close()


def refuse_packed(chunks: Iterator[FileChunk], name: str, formats: Mapping[bytes, str]) -> Iterator[FileChunk]:
    """Yields a content. Raises Refused where the first bytes are of one of the compressed `formats`."""
    first, chunks = peek(chunks, PEEKED_BYTES)
    for magic, form in formats.items():
        if first.startswith(magic):
            raise Refused(f"{name}: a file in the format {form}; unpack it, or save it as text")
    yield from chunks


def peek(chunks: Iterator[FileChunk], size: int) -> tuple[bytes, Iterator[FileChunk]]:
    """Reads at least `size` bytes, or the rest. Returns the bytes, and an iterator that begins with them."""
    taken: list[FileChunk] = []
    seen: list[bytes] = []
    missing = size
    for chunk in chunks:
        taken.append(chunk)
        if isinstance(chunk, Flaw):
            break
        seen.append(chunk)
        missing -= len(chunk)
        if missing <= 0:
            break
    return b"".join(seen), chain(taken, chunks)


def _refused(name: str, reason: str | None) -> Refused:
    return Refused(f"{name}: {reason}; name a readable file, or - for standard input")

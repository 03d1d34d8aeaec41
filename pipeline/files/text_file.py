"""The reader of text files: lines in UTF-8, whatever the file's encoding, line ends and compression."""

from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from pipeline.files.encodings import COUNTED_BYTES, UTF_8, guess_encoding, is_utf8, marked_encoding, to_utf8
from pipeline.files.flaws import FileChunk, Flaw
from pipeline.files.gunzip import gunzip
from pipeline.files.opening import PACKED_TWICE, ByteFile, peek, refuse_packed

LINE_BYTES: Final = 1 << 20
"""Longest line that is read, and longest row of a table. A record of Kafka holds no more by default."""

SAMPLE_BYTES: Final = 8 << 20
"""Bytes of a table by which its encoding is guessed."""

Notify = Callable[[str], None]
Line = bytes | Flaw


def _ignore(_: str) -> None:
    """Takes an unwanted notice."""


@dataclass(frozen=True)
class ReadPolicy:
    """How text files are read. `encoding`: None where each file tells its own. `notify`: takes what people should know
    although no line is bad. `line_bytes`: longest line."""

    encoding: str | None = None
    notify: Notify = _ignore
    line_bytes: int = LINE_BYTES


DEFAULT_READING: Final = ReadPolicy()


class TextFile:
    """A text file, or standard input, for one reading. `guesses`: an encoding that nothing tells is guessed, which
    needs a sample of the file; else the text is UTF-8."""

    def __init__(self, name: str, policy: ReadPolicy = DEFAULT_READING, *, guesses: bool = False) -> None:
        """Opens the file. Raises Refused."""
        self.name = name
        self._policy, self._guesses = policy, guesses
        self._bytes = ByteFile(name)

    @property
    def fraction(self) -> float | None:
        """Returns the share of the file behind the reader; None where the size is unknown."""
        return self._bytes.fraction

    def lines(self) -> Iterator[tuple[int, Line]]:
        """Yields number (from 1) and content of every line: UTF-8 without its end, or a Flaw where the line is too long
        or no text. LF, CRLF and a lone CR end a line.

        A damaged gzip file ends with a notice and a Flaw, in place of the first line that is lost. Memory is bounded by
        the longest line that is allowed. Blocks on reading. Raises Refused where reading fails.
        """
        chunks = refuse_packed(gunzip(self._bytes.chunks(), self._notify), self.name, PACKED_TWICE)
        encoding, chunks = self._detect(chunks)
        chunks = without_mark(chunks) if encoding == UTF_8 else to_utf8(chunks, encoding)
        for number, line in enumerate(bounded_lines(chunks, self._policy.line_bytes), start=1):
            if isinstance(line, Flaw):
                if line.ends_file:
                    self._notify(f"damaged: what stands from line {number:,} on is lost")
                yield number, line
            else:
                yield number, line if line.isascii() else _checked(line, encoding)

    def filled_lines(self) -> Iterator[tuple[int, Line]]:
        """Yields the filled lines, as `lines` does."""
        for number, line in self.lines():
            if isinstance(line, Flaw) or (line and not line.isspace()):
                yield number, line

    def _detect(self, chunks: Iterator[FileChunk]) -> tuple[str, Iterator[FileChunk]]:
        first, chunks = peek(chunks, COUNTED_BYTES if self._guesses else len(BOM_UTF8) + 1)
        if marked := marked_encoding(first):
            return marked, chunks
        if (named := self._policy.encoding) is not None:
            if named != UTF_8 and not first.isascii() and is_utf8(first):
                self._notify(f"seems to be UTF-8, but is read as {named}, as --encoding says")
            return named, chunks
        if not self._guesses:
            return UTF_8, chunks
        sample, chunks = peek(chunks, SAMPLE_BYTES)
        guessed = guess_encoding(sample)
        if guessed != UTF_8:
            self._notify(f"not UTF-8; read as {guessed}, a guess: --encoding names another encoding")
        return guessed, chunks

    def _notify(self, notice: str) -> None:
        self._policy.notify(f"{self.name}: {notice}")


def without_mark(chunks: Iterator[FileChunk]) -> Iterator[FileChunk]:
    """Yields content in UTF-8 without byte order mark."""
    first, chunks = peek(chunks, len(BOM_UTF8))
    if first.startswith(BOM_UTF8):
        rest = next(chunks)
        while isinstance(rest, bytes) and len(rest) < len(BOM_UTF8):  # the mark came in several pieces
            rest += next(chunks)  # type: ignore[operator]  # `first` has all of the mark
        chunks = chain([rest[len(BOM_UTF8) :]], chunks)  # type: ignore[list-item]
    return chunks


def bounded_lines(chunks: Iterator[FileChunk], most: int) -> Iterator[Line]:
    """Yields the lines of a content without their ends; a Flaw for a line above `most` bytes, and for the rest of a
    damaged content, whose incomplete line is dropped."""
    pieces: list[bytes] = []
    size, ended_by_cr = 0, False
    for chunk in chunks:
        if isinstance(chunk, Flaw):
            yield chunk
            return
        if ended_by_cr:
            chunk = chunk.removeprefix(b"\n")
            if not chunk:
                ended_by_cr = False
                continue
        ended_by_cr = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        for number, piece in enumerate(chunk.split(b"\n")):
            if number:
                yield b"".join(pieces) if size <= most else _too_long(size, most)
                pieces, size = [], 0
            size += len(piece)
            if size <= most:
                pieces.append(piece)
            else:
                pieces.clear()
    if size:
        yield b"".join(pieces) if size <= most else _too_long(size, most)


def _too_long(size: int, most: int) -> Flaw:
    return Flaw(f"a line of {size:,} bytes, above the limit of {most:,}; shorten or split the line")


def _checked(line: bytes, encoding: str) -> Line:
    """Returns a line without the byte order mark of an appended file, or the Flaw of the encoding."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        if encoding != UTF_8:
            return Flaw(f"not {encoding} from character {len(line[: error.start].decode()) + 1:,} on; mend the line")
        return Flaw(
            f"not UTF-8, byte 0x{line[error.start]:02x} at {error.start:,}; save the file as UTF-8, or name its "
            "encoding by --encoding"
        )
    return line.removeprefix(BOM_UTF8)

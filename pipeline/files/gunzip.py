"""Unpacks gzip as `gunzip` does, but keeps the content before a damaged place.

Several members are read one after the other. Zeros and other bytes behind the last member are ignored with a notice.
"""

import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any, Final

from pipeline.files.flaws import FileChunk, Flaw
from pipeline.files.opening import CHUNK_BYTES, peek

GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31
"""zlib's window bits for a stream with the header and trailer of gzip."""


def gunzip(chunks: Iterator[FileChunk], notify: Callable[[str], None]) -> Iterator[FileChunk]:
    """Yields the content of a gzip file by chunks of at most CHUNK_BYTES; content that is not gzip passes unchanged.

    The last chunk is a Flaw where the file is cut off or damaged. `notify` is told of ignored bytes.
    """
    first, chunks = peek(chunks, len(GZIP_MAGIC))
    if not first.startswith(GZIP_MAGIC):
        yield from chunks
        return
    packed = _Packed(chunks)
    while True:
        flaw = yield from _member(packed)
        if flaw is not None:
            yield flaw
            return
        ignored, is_zeros = packed.skip_zeros(), True
        if packed.starts_with(GZIP_MAGIC):
            continue
        while packed.next():
            ignored, is_zeros = ignored + len(packed.piece), False
            packed.piece = b""
        if ignored:
            what = "zeros" if is_zeros else "bytes"
            notify(f"{ignored:,} {what} behind the compressed data are ignored")
        return


class _Packed:
    """The compressed bytes still to unpack: `piece`, and the chunks behind it."""

    def __init__(self, chunks: Iterator[FileChunk]) -> None:
        self._chunks, self.piece, self._taken = chunks, b"", 0

    @property
    def at(self) -> int:
        """Returns the position of `piece` in the file."""
        return self._taken - len(self.piece)

    def next(self) -> bool:
        """Fills an empty `piece` from the next chunk; False at the end of the file."""
        while not self.piece:
            chunk = next(self._chunks, None)
            if not isinstance(chunk, bytes):
                return False
            self.piece = chunk
            self._taken += len(chunk)
        return True

    def skip_zeros(self) -> int:
        """Skips zero bytes, and returns their number."""
        skipped = 0
        while self.next():
            rest = self.piece.lstrip(b"\0")
            skipped += len(self.piece) - len(rest)
            self.piece = rest
            if rest:
                break
        return skipped

    def starts_with(self, magic: bytes) -> bool:
        if not self.next():
            return False
        if len(self.piece) < len(magic) and isinstance(chunk := next(self._chunks, b""), bytes):
            self.piece += chunk
            self._taken += len(chunk)
        return self.piece.startswith(magic)


def _member(packed: _Packed) -> Generator[bytes, None, Flaw | None]:
    """Yields the content of a member, and returns a Flaw where the member is damaged, else None."""
    stream = zlib.decompressobj(_GZIP_WINDOW)
    while not stream.eof:
        if not packed.next():
            with suppress(zlib.error):
                while content := stream.decompress(b"", CHUNK_BYTES):
                    yield content
            return _damage(f"cut off at byte {packed.at:,}")
        before = stream.copy()
        try:
            content = stream.decompress(packed.piece, CHUNK_BYTES)
        except zlib.error as error:
            at, piece = packed.at, packed.piece
            salvaged, good = _salvage(before, piece)
            yield from salvaged
            reason = str(error).partition(": ")[2] or str(error)
            return _damage(f"{reason} at byte {at + good:,}")
        packed.piece = stream.unused_data if stream.eof else stream.unconsumed_tail
        if content:
            yield content
    return None


def _salvage(stream: Any, piece: bytes) -> tuple[list[bytes], int]:
    """Unpacks a damaged piece byte by byte. Returns the content before the damage, and the number of good bytes."""
    salvaged = []
    for number in range(len(piece)):
        tail = piece[number : number + 1]
        try:
            while tail:
                salvaged.append(stream.decompress(tail, CHUNK_BYTES))
                tail = stream.unconsumed_tail
        except zlib.error:
            return salvaged, number
    return salvaged, len(piece)


def _damage(reason: str) -> Flaw:
    return Flaw(f"damaged gzip file: {reason}; fetch the file again for the rest", ends_file=True)

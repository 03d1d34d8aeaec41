"""Searches the files of ClickHouse for bytes, unpacked: columns, keys, marks, what mutations and detached parts have
left, and the tables of the server itself.

A compressed file is a row of blocks: a checksum (16 bytes), the method (1), the size of the packed bytes with these 9
bytes of header (4), the size unpacked (4), the bytes.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import lz4.block  # type: ignore[import-untyped]
import zstandard

from pipeline.clickhouse.client import ClickHouse

_CHECKSUM: Final = 16
_HEADER: Final = 9
_LZ4: Final = 0x82
_ZSTD: Final = 0x90
_SEVERAL: Final = 0x91
_PLAIN: Final = 0x02


@dataclass
class SearchedFiles:
    """The number of files and of unpacked bytes, the files with a hit, and those that could not be read."""

    files: int = 0
    bytes: int = 0
    hits: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def search_files(clickhouse: ClickHouse, needles: Sequence[bytes]) -> SearchedFiles:
    """Searches all files of the database's tables and of the server's own tables, where they are on this machine.
    Blocks. Raises Unavailable, Refused."""
    answer = clickhouse.select(
        "SELECT DISTINCT arrayJoin(data_paths) FROM system.tables WHERE database IN (currentDatabase(), 'system')"
    )
    found = SearchedFiles()
    for folder in answer[0] if answer else ():
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                _search(path, needles, found)
    return found


def _search(path: Path, needles: Sequence[bytes], found: SearchedFiles) -> None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return  # a merge has replaced it
    except OSError:
        found.unread.append(str(path))
        return
    found.files += 1
    try:
        # A text may span two blocks.
        text = b"".join(unpacked(content))
    except ValueError:
        found.unread.append(str(path))
        return
    found.bytes += len(text)
    if any(needle in text for needle in needles):
        found.hits.append(str(path))


def unpacked(content: bytes) -> Iterator[bytes]:
    """Yields the blocks of a file unpacked; the content itself where it is not compressed. Raises ValueError for an
    unknown method of compression."""
    if not _is_packed(content):
        yield content
        return
    place = 0
    while place < len(content):
        method, packed, size = struct.unpack_from("<BII", content, place + _CHECKSUM)
        yield _unpack(method, content[place + _CHECKSUM + _HEADER : place + _CHECKSUM + packed], size)
        place += _CHECKSUM + packed


def _unpack(method: int, data: bytes, size: int) -> bytes:
    unpack: Any = lz4.block.decompress
    if method == _LZ4:
        return bytes(unpack(data, uncompressed_size=size))
    if method == _ZSTD:
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    if method == _PLAIN:
        return data
    if method == _SEVERAL:
        # Codecs upon one another: their number, the method of each, and a block of the last one, which packs. The
        # others turn numbers into other numbers.
        inner = 1 + data[0]
        last, _, unpacked_size = struct.unpack_from("<BII", data, inner)
        return _unpack(last, data[inner + _HEADER :], unpacked_size)
    raise ValueError(f"method {method:#x}")


def _is_packed(content: bytes) -> bool:
    """Returns whether a file is a row of blocks from its beginning to its end."""
    place = 0
    while place < len(content):
        if place + _CHECKSUM + _HEADER > len(content):
            return False
        method, packed, _ = struct.unpack_from("<BII", content, place + _CHECKSUM)
        if method < _PLAIN or packed < _HEADER:
            return False
        place += _CHECKSUM + packed
    return place == len(content) and place > 0

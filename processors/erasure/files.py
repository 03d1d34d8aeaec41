"""Searches the files of ClickHouse for bytes, unpacked: columns, keys, marks, what mutations and detached parts have
left, and the tables of the server itself.

A compressed file is a row of blocks: a checksum (16 bytes), the method (1), the size of the packed bytes with these 9
bytes of header (4), the size unpacked (4), the bytes.
"""

import os
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
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


Surroundings = Mapping[bytes, Collection[tuple[bytes, bytes]]]
"""Needle -> what stands before and behind it in longer names, which are those of somebody else."""


@dataclass
class SearchedFiles:
    """The number of files and of unpacked bytes, the files with a hit, and those that could not be read."""

    files: int = 0
    bytes: int = 0
    hits: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def search_files(clickhouse: ClickHouse, needles: Sequence[bytes], others: Surroundings) -> SearchedFiles:
    """Searches all files of the database's tables and of the server's own tables, where they are on this machine. A
    needle within the name of somebody else is no hit. Blocks. Raises Unavailable, Refused."""
    answer = clickhouse.select(
        "SELECT DISTINCT arrayJoin(data_paths) FROM system.tables WHERE database IN (currentDatabase(), 'system')"
    )
    found = SearchedFiles()
    for folder in answer[0] if answer else ():
        for path in _files_of(folder, found):
            _search(path, needles, others, found)
    return found


def _files_of(folder: str, found: SearchedFiles) -> Iterator[Path]:
    """Yields the files of a folder and of all folders in it, but of those that merges take away meanwhile. Notes the
    folders that could not be read."""

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            found.unread.append(str(error.filename))

    for parent, folders, names in os.walk(folder, onerror=note):
        folders.sort()
        yield from (path for name in sorted(names) if (path := Path(parent, name)).is_file())


def _search(path: Path, needles: Sequence[bytes], others: Surroundings, found: SearchedFiles) -> None:
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
    if any(holds(text, needle, others.get(needle, ())) for needle in needles):
        found.hits.append(str(path))


def holds(text: bytes, needle: bytes, others: Collection[tuple[bytes, bytes]]) -> bool:
    """Returns whether a needle stands in the text, other than between the surroundings that longer names give it."""
    place = text.find(needle)
    while place >= 0:
        end = place + len(needle)
        if not any(text.endswith(before, 0, place) and text.startswith(after, end) for before, after in others):
            return True
        place = text.find(needle, place + 1)
    return False


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

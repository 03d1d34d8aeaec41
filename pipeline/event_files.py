"""Files of events for `replay` and backtests: an event per line, plain or gzipped."""

import gzip
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from pipeline.errors import Refused

STDIN: Final = "-"
GZIP_MAGIC: Final = b"\x1f\x8b"


class EventFile:
    """A file of events, or standard input."""

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self._raw: BinaryIO = sys.stdin.buffer if name == STDIN else open(name, "rb")  # noqa: SIM115
        except OSError as error:
            raise Refused(
                f"{name}: {error.strerror}; name a readable file of events, or - for standard input"
            ) from None
        self._size = Path(name).stat().st_size if name != STDIN and Path(name).is_file() else 0

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yields number (from 1) and bytes of every line that is not blank. Raises Refused for a damaged gzip file."""
        stream: Any = io.BufferedReader(self._raw, 1 << 20)
        if stream.peek(2)[:2] == GZIP_MAGIC:
            stream = gzip.GzipFile(fileobj=stream)
        try:
            for number, line in enumerate(stream, start=1):
                if not line.isspace():
                    yield number, line
        except (EOFError, gzip.BadGzipFile) as error:
            raise Refused(f"{self.name}: damaged gzip file ({error}); fetch it again") from None
        finally:
            stream.close()

    @property
    def fraction(self) -> float | None:
        """Returns the share of the file that was read; None where the size is unknown."""
        try:
            return self._raw.tell() / self._size if self._size else None
        except (OSError, ValueError):
            return None


def is_cascades(line: bytes) -> bool:
    """Tells whether a first line is of the cascades format: `type` and `ts` for `kind` and `occurred_at`."""
    try:
        fields = json.loads(line)
    except ValueError:
        return False
    return isinstance(fields, dict) and fields.keys() >= {"type", "ts"}

"""Lines of event files as records: our own NDJSON (`schemas.events.Event`) and the cascades format, plain or gzipped.

The cascades format has `type` and `ts` for our `kind` and `occurred_at`: {event_id, type, post_id, actor_id, parent_id,
ts, channel}. The first line tells which one a file is in. Posts may come beside it as CSV: post_id, author_id,
created_at, channel, others ignored.
"""

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from pipeline.errors import Refused
from schemas.events import Event, InvalidEvent, isoformat, parse_event

STDIN: Final = "-"
GZIP_MAGIC: Final = b"\x1f\x8b"
POST_SUFFIX: Final = "#post"
"""A post of a CSV has no event_id; it gets its post_id and this, so that a second replay sends the same event."""

POST_COLUMNS: Final = ("post_id", "author_id", "created_at")
CASCADE_FIELDS: Final = {"type": "kind", "ts": "occurred_at"}


@dataclass(frozen=True, slots=True)
class Parsed:
    """An event and the bytes that are sent for it."""

    event: Event
    value: bytes


Parse = Callable[[bytes], Parsed]


class EventFile:
    """A file of events, or standard input. `fraction` says how much of it was read, None where that cannot be known."""

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
        """Number (from 1) and bytes of every line that is not blank. Raises Refused for a damaged gzip file."""
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
        try:
            return self._raw.tell() / self._size if self._size else None
        except (OSError, ValueError):
            return None


def format_of(line: bytes) -> Parse:
    """How to read a file whose first line this is. A line that is no JSON object is taken for our own format, and fails
    there."""
    try:
        fields = json.loads(line)
    except ValueError:
        return parse_own
    return parse_cascade if isinstance(fields, dict) and {"type", "ts"} <= fields.keys() else parse_own


def parse_own(line: bytes) -> Parsed:
    """Our NDJSON is sent as it is. Raises InvalidEvent."""
    value = line.strip()
    return Parsed(parse_event(value), value)


def parse_cascade(line: bytes) -> Parsed:
    """The cascades format, its field names changed to ours. Raises InvalidEvent."""
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise InvalidEvent("", f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidEvent("", "not a JSON object; one object a line")
    renamed = {CASCADE_FIELDS.get(str(name), str(name)): value for name, value in fields.items()}
    value = dump(renamed)
    return Parsed(parse_event(value), value)


def read_posts(path: Path) -> dict[str, Parsed]:
    """Post events by post_id. Raises Refused with file and line for what is no post."""
    posts = {}
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        missing = [name for name in POST_COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise Refused(
                f"{path}:1: no column {missing[0]}; the first line must name {', '.join(POST_COLUMNS)} and may name "
                "channel"
            )
        for row in rows:
            event = {
                "event_id": row["post_id"] + POST_SUFFIX,
                "kind": "post",
                "post_id": row["post_id"],
                "actor_id": row["author_id"],
                "occurred_at": row["created_at"],
                "channel": row.get("channel") or None,
            }
            value = dump(event)
            try:
                posts[row["post_id"]] = Parsed(parse_event(value), value)
            except InvalidEvent as error:
                raise Refused(f"{path}:{rows.line_num}: {error}; mend the line or leave it out") from None
    return posts


def dump(event: dict[str, Any]) -> bytes:
    """Compact JSON in UTF-8; times as `isoformat` has them."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False, default=_as_json).encode()


def _as_json(value: object) -> str:
    if isinstance(value, datetime):
        return isoformat(value)
    raise TypeError(f"{type(value).__name__} is no JSON")

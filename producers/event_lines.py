"""Parsing of event files: our own NDJSON (`schemas.events.Event`) and the cascades format, plain or gzipped.

The cascades format has `type` and `ts` for our `kind` and `occurred_at`: {event_id, type, post_id, actor_id, parent_id,
ts, channel}. The first line tells which one a file is in. Posts may come beside it as CSV: post_id, author_id,
created_at, channel, others ignored.
"""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pipeline.errors import Refused
from pipeline.event_files import is_cascades
from schemas.events import Event, InvalidEvent, isoformat, parse_event

POST_SUFFIX: Final = "#post"
"""Suffix that makes the event_id of a CSV's post of its post_id, so that a second replay sends the same event."""

POST_CSV_COLUMNS: Final = ("post_id", "author_id", "created_at")
CASCADE_FIELDS: Final = {"type": "kind", "ts": "occurred_at"}


@dataclass(frozen=True, slots=True)
class ParsedLine:
    """A parsed event, and the bytes to send."""

    event: Event
    value: bytes


Parse = Callable[[bytes], ParsedLine]


def format_of(line: bytes) -> Parse:
    """Returns the parser of a file by the first line. A line that is no JSON object counts as our own format, whose
    parser refuses the line."""
    return parse_cascade if is_cascades(line) else parse_own


def parse_own(line: bytes) -> ParsedLine:
    """Parses a line of our own NDJSON; the line itself is sent. Raises InvalidEvent."""
    value = line.strip()
    return ParsedLine(parse_event(value), value)


def parse_cascade(line: bytes) -> ParsedLine:
    """Parses a line of the cascades format and renames its fields to ours. Raises InvalidEvent."""
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise InvalidEvent("", f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidEvent("", "not a JSON object; one object a line")
    renamed = {CASCADE_FIELDS.get(str(name), str(name)): value for name, value in fields.items()}
    value = dump(renamed)
    return ParsedLine(parse_event(value), value)


def read_post_csv(path: Path) -> dict[str, ParsedLine]:
    """Reads post events by post_id. Raises Refused with file and line for a row that is no post."""
    posts = {}
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        missing = [name for name in POST_CSV_COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise Refused(
                f"{path}:1: no column {missing[0]}; the first line must name {', '.join(POST_CSV_COLUMNS)} "
                "and may name channel"
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
                posts[row["post_id"]] = ParsedLine(parse_event(value), value)
            except InvalidEvent as error:
                raise Refused(f"{path}:{rows.line_num}: {error}; mend the line or leave it out") from None
    return posts


def dump(event: dict[str, Any]) -> bytes:
    """Returns an event as compact JSON in UTF-8, with times as `isoformat` writes them."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False, default=_as_json).encode()


def _as_json(value: object) -> str:
    if isinstance(value, datetime):
        return isoformat(value)
    raise TypeError(f"{type(value).__name__} is no JSON")

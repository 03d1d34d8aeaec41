"""Parsing of event files: our own NDJSON (`schemas.events.Event`) and the cascades format.

The cascades format has `type` and `ts` for our `kind` and `occurred_at`: {event_id, type, post_id, actor_id, parent_id,
ts, channel}. Each line tells which one it is in. Posts may come beside it as CSV: post_id, author_id, created_at,
channel, others ignored.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json

from pipeline.errors import Refused
from pipeline.files.bad_lines import SHOWN_LINES
from pipeline.files.events import CASCADE_FIELDS, OUR_FIELDS, is_cascade
from pipeline.files.flaws import Flaw
from pipeline.files.tables import Row, read_table
from pipeline.files.text_file import DEFAULT_READING, ReadPolicy
from producers.source import BadInput
from schemas.events import Event, InvalidEvent, isoformat, parse_event

POST_SUFFIX: Final = "#post"
"""Suffix that makes the event_id of a CSV's post of its post_id, so that a second replay sends the same event."""

POST_CSV_COLUMNS: Final = ("post_id", "author_id", "created_at")

_POST_COLUMNS: Final = {"event_id": "post_id", "actor_id": "author_id", "occurred_at": "created_at"}
"""Columns of the CSV by the fields of the events that are made of them."""


@dataclass(frozen=True, slots=True)
class ParsedLine:
    """A parsed event, and the bytes to send. `place`: file and line."""

    event: Event
    value: bytes
    place: str = ""


@dataclass(frozen=True, slots=True)
class PostTable:
    """The posts of a CSV by post_id, and the bad rows."""

    posts: dict[str, ParsedLine] = field(default_factory=dict)
    bad: list[BadInput] = field(default_factory=list)


def parse_line(line: bytes) -> ParsedLine:
    """Parses a line of either format. Raises InvalidEvent, which names the field as the line does."""
    return _parse_cascade(line) if is_cascade(line) else _parse_own(line)


def read_post_csv(path: Path, policy: ReadPolicy = DEFAULT_READING) -> PostTable:
    """Reads the events of posts. Of two rows with one post_id the first is the post.

    Raises Refused for a file that cannot be read, lacks a column, or has no row that is a post.
    """
    table = PostTable()
    for number, row in read_table(str(path), POST_CSV_COLUMNS, policy):
        place = f"{path}:{number}"
        if isinstance(row, Flaw):
            table.bad.append(BadInput(place, row.reason))
            continue
        try:
            post = _post_of(row, place)
        except InvalidEvent as error:
            table.bad.append(BadInput(place, str(error)))
            continue
        first = table.posts.setdefault(row["post_id"], post)
        if first is not post:
            reason = f"post_id: {row['post_id'][:100]!r} stands at {first.place} already; leave one of the rows"
            table.bad.append(BadInput(place, reason))
    if not table.posts:
        raise _no_posts(path, table.bad, policy)
    return table


def dump(event: dict[str, Any]) -> bytes:
    """Returns an event as compact JSON in UTF-8, with times as `isoformat` writes them."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False, default=_as_json).encode()


def _parse_own(line: bytes) -> ParsedLine:
    """Parses a line of our own NDJSON; the line itself is sent. Raises InvalidEvent."""
    value = line.strip()
    return ParsedLine(parse_event(value), value)


def _parse_cascade(line: bytes) -> ParsedLine:
    """Parses a line of the cascades format and renames fields to ours. Raises InvalidEvent."""
    try:
        fields = from_json(line, allow_inf_nan=False)
        if not isinstance(fields, dict):
            raise InvalidEvent("", "not a JSON object; one object a line")
        renamed = {CASCADE_FIELDS.get(name, name): value for name, value in fields.items() if name not in OUR_FIELDS}
        value = json.dumps(renamed, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except InvalidEvent:
        raise
    except ValueError as error:
        raise InvalidEvent("", f"Invalid JSON: {error}") from None
    try:
        return ParsedLine(parse_event(value), value)
    except InvalidEvent as error:
        raise InvalidEvent(OUR_FIELDS.get(error.field, error.field), error.reason) from None


def _post_of(row: Row, place: str) -> ParsedLine:
    """Returns the event of a row. Raises InvalidEvent, which names the column."""
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
        return ParsedLine(parse_event(value), value, place)
    except InvalidEvent as error:
        raise InvalidEvent(_POST_COLUMNS.get(error.field, error.field), error.reason) from None


def _no_posts(path: Path, bad: list[BadInput], policy: ReadPolicy) -> Refused:
    """Tells the flaws of all rows, and returns the error with the first flaw."""
    cure = "mend the file, or leave out --posts"
    if not bad:
        return Refused(f"{path}: no row below the head; {cure}")
    for row in bad[1:SHOWN_LINES]:
        policy.notify(f"{row.place}: {row.reason}")
    return Refused(f"{bad[0].place}: {bad[0].reason}; no row of {path} is a post: {cure}")


def _as_json(value: object) -> str:
    if isinstance(value, datetime):
        return isoformat(value)
    raise TypeError(f"{type(value).__name__} is no JSON")

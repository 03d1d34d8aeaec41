"""Frames of Jetstream: the JSON of both protocol versions as one kind of object.

v1    {"did", "time_us", "kind": "commit", "commit": {"operation", "collection", "rkey", "record"}}
v2    {"$type": "message", "payload": {"$type": "...#commit", "seq", "did", "time", "operation", ...}}
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from pydantic_core import from_json

from producers.bluesky.jetstream.endpoints import TIME_CURSOR, Version
from schemas.events import EARLIEST

DID: Final = re.compile(r"did:[a-z]{1,32}:[A-Za-z0-9._:%-]{1,200}")
RECORD_KEY: Final = re.compile(r"[A-Za-z0-9._:~-]{1,200}")

LATEST_US: Final = 4_102_444_800_000_000
"""The year 2100 in microseconds since 1970: no time of a server comes later."""

Operation = Literal["create", "update", "delete"]


class FrameError(ValueError):
    """A frame cannot be read. `field`: the dotted path of the flaw, empty for the whole frame."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame with a place in the stream. `cursor`: time_us (v1) or seq (v2); `time_us`: when the server saw it,
    in microseconds since 1970. `body`: the fields of its kind."""

    kind: str
    did: str
    cursor: int
    time_us: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StreamNotice:
    """A word of the server about the stream: an `#info` of v2, or its last word, an error. It has no place."""

    name: str
    message: str
    is_error: bool


def parse_frame(version: Version, value: bytes) -> Frame | StreamNotice:
    """Parses a frame. Raises FrameError."""
    try:
        frame = from_json(value, cache_strings="keys")
    except ValueError as error:
        raise FrameError("", f"not JSON: {error}") from None
    if not isinstance(frame, dict):
        raise FrameError("", "not a JSON object")
    return _parse_v1(frame) if version == "v1" else _parse_v2(frame)


def text_of(fields: dict[str, Any], name: str, path: str = "") -> str:
    """Returns a text among fields; `path` leads to the fields. Raises FrameError."""
    value = fields.get(name)
    if not isinstance(value, str):
        raise FrameError(f"{path}{name}", "missing, or not text")
    return value


def object_of(fields: dict[str, Any], name: str, path: str = "") -> dict[str, Any]:
    """Returns an object among fields; `path` leads to the fields. Raises FrameError."""
    value = fields.get(name)
    if not isinstance(value, dict):
        raise FrameError(f"{path}{name}", "missing, or not an object")
    return value


def moment(time_us: int) -> datetime:
    """Returns the time of microseconds since 1970."""
    return EARLIEST + timedelta(microseconds=time_us)


def parse_time(text: str) -> int | None:
    """Parses a time with its zone into microseconds since 1970; None for any other text."""
    try:
        parsed = datetime.fromisoformat(text)
        return None if parsed.tzinfo is None else (parsed.astimezone(UTC) - EARLIEST) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return None


def _parse_v1(frame: dict[str, Any]) -> Frame:
    kind = text_of(frame, "kind")
    time_us = _time(frame.get("time_us"), "time_us")
    body = object_of(frame, kind) if kind in ("commit", "account") else {}
    return Frame(kind, _did(frame), time_us, time_us, body)


def _parse_v2(frame: dict[str, Any]) -> Frame | StreamNotice:
    kind = text_of(frame, "$type")
    if kind == "error":
        return StreamNotice(text_of(frame, "error"), str(frame.get("message", ""))[:500], is_error=True)
    if kind != "message":
        raise FrameError("$type", "neither message nor error: does the host speak Jetstream v2?")
    payload = object_of(frame, "payload")
    kind = text_of(payload, "$type", "payload.").rpartition("#")[2]
    if kind == "info":
        return StreamNotice(text_of(payload, "name", "payload."), str(payload.get("message", ""))[:500], is_error=False)
    seq = payload.get("seq")
    if type(seq) is not int or not 0 <= seq < TIME_CURSOR:
        raise FrameError("payload.seq", "missing, or not a number of an event")
    time_us = _time(parse_time(text_of(payload, "time", "payload.")), "payload.time")
    body = object_of(payload, "account", "payload.") if kind == "account" else payload
    return Frame(kind, _did(payload, "payload."), seq, time_us, body)


def _did(fields: dict[str, Any], path: str = "") -> str:
    did = text_of(fields, "did", path)
    if not DID.fullmatch(did):
        raise FrameError(f"{path}did", "not a DID")
    return did


def _time(value: object, field: str) -> int:
    if type(value) is not int or not TIME_CURSOR <= value < LATEST_US:
        raise FrameError(field, "missing, or not a time between 2001 and 2100")
    return value

"""Items of the source as text, for the outbox: records of events, and bad inputs."""

import json
from base64 import b64decode, b64encode
from typing import Any

from producers.event_lines import dump
from producers.source import BadInput, SourceRecord
from schemas.events import parse_event

Made = SourceRecord | BadInput
"""What is made of a status."""


def record_of(event: dict[str, Any]) -> SourceRecord:
    """Returns the record of an event. Raises InvalidEvent."""
    return _record_of(dump(event))


def dump_item(item: Made) -> str:
    """Returns an item as text."""
    value = b64encode(item.value or b"").decode("ascii")
    bad = [item.place, item.reason, item.field] if isinstance(item, BadInput) else None
    return json.dumps([value, bad])


def load_item(text: str) -> Made:
    """Returns the item of a text that `dump_item` made."""
    value, bad = json.loads(text)
    content = b64decode(value)
    return _record_of(content) if bad is None else BadInput(bad[0], bad[1], content, bad[2])


def _record_of(value: bytes) -> SourceRecord:
    parsed = parse_event(value)
    return SourceRecord(parsed["kind"], parsed["post_id"].encode(), value, parsed["occurred_at"])

"""Reads fields of foreign JSON; a flaw names its dotted path."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from schemas.events import InvalidEvent

Json = dict[str, Any]
EventFields = dict[str, Any]
"""The fields of an event; those that are None are left out."""

RETRACTION_WORDS: Final = frozenset({"deleted", "removed", "retract", "retracted", "undone"})
"""Words by which types of envelopes say that something was taken back."""


def parse_object(raw: bytes, what: str) -> Json:
    """Parses a JSON object. Raises InvalidEvent."""
    try:
        found = from_json(raw)
    except ValueError as error:
        raise InvalidEvent("", f"Invalid JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidEvent("", f"Input should be {what}, a JSON object")
    return found


def text_at(document: Mapping[str, Any], path: str) -> str:
    """Returns the text, or the whole number as text, at a dotted path. Raises InvalidEvent where there is none."""
    found = value_at(document, path)
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        raise InvalidEvent(path, "Field required: text" if found is None else "Input should be text")
    return str(found)


def optional_text_at(document: Mapping[str, Any], path: str) -> str | None:
    """Returns the text, or the whole number as text, at a dotted path; None where there is none."""
    return text_at(document, path) if value_at(document, path) not in (None, "") else None


def value_at(document: Mapping[str, Any], path: str) -> Any:
    """Returns the value at a dotted path; None where there is none."""
    found: Any = document
    for name in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found


def short_texts(values: Any, longest: int, most: int) -> list[str] | None:
    """Returns the usable texts of a list, each once: a hashtag of a thousand letters must not cost the event."""
    usable = [value for value in values if isinstance(value, str) and 0 < len(value) <= longest and "\0" not in value]
    return list(dict.fromkeys(usable))[:most] or None

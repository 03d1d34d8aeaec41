"""Takes the JSON of a body apart into items: one object, an array, or NDJSON.

An array is parsed once and each element written again as compact JSON, in Rust. Where an element holds what no UTF-8
can hold (a lone surrogate), the elements are cut out of the text one by one, so the flaw costs one item and not all.
The parser refuses JSON that is nested deeper than 200.
"""

import json
from typing import Any, Final

from pydantic_core import from_json, to_json

from schemas.events import InvalidEvent

MOST_ITEMS: Final = 100_000

LINES: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})
WHITESPACE: Final = " \t\r\n"


def split_items(body: bytes, media_type: str = "") -> list[bytes]:
    """Returns the JSON text of each item, without looking into it.

    Raises InvalidEvent for a body that is no JSON object, array or lines.
    """
    text = body.strip()
    if not text:
        raise InvalidEvent("", "the body is empty; send a JSON object, an array of objects, or one object a line")
    if media_type in LINES:
        items = nonblank_lines(text)
    elif text.startswith(b"["):
        items = split_array(text)
    elif b"\n" in text and is_json(text[: text.index(b"\n")].strip()):
        items = nonblank_lines(text)
    else:
        items = [text]
    if len(items) > MOST_ITEMS:
        raise InvalidEvent("", f"{len(items)} items in one request, more than {MOST_ITEMS}; send fewer at a time")
    return items


def nonblank_lines(text: bytes) -> list[bytes]:
    """Returns all lines but blank ones."""
    return [line.strip() for line in text.split(b"\n") if line.strip()]


def split_array(text: bytes) -> list[bytes]:
    """Returns the elements of a JSON array. Raises InvalidEvent."""
    try:
        values: Any = from_json(text, cache_strings="keys")
    except ValueError as error:
        if "surrogate" in str(error) or "hex escape" in str(error):
            return _cut_array(text, error)
        raise InvalidEvent("", f"Invalid JSON: {error}") from None
    return [to_json(value, inf_nan_mode="constants") for value in values]


def is_json(text: bytes) -> bool:
    """Tells whether a text is JSON."""
    try:
        from_json(text)
    except ValueError:
        return False
    return True


def _cut_array(text: bytes, first: ValueError) -> list[bytes]:
    """Cuts an array by the decoder of the standard library, which takes lone surrogates and no bad syntax."""
    try:
        said, decode, items = text.decode(), json.JSONDecoder().raw_decode, list[bytes]()
        at = _skip(said, 1)
        while said[at] != "]":
            start = at
            _, at = decode(said, at)
            items.append(said[start:at].encode())
            at = _skip(said, at)
            if said[at] == ",":
                at = _skip(said, at + 1)
                if said[at] == "]":
                    raise ValueError(f"trailing comma at character {at}")
            elif said[at] != "]":
                raise ValueError(f"expected , or ] at character {at}")
        if said[at + 1 :].strip():
            raise ValueError("trailing characters")
    except (ValueError, IndexError, RecursionError) as error:
        raise InvalidEvent("", f"Invalid JSON: {error if isinstance(error, ValueError) else first}") from None
    return items


def _skip(text: str, at: int) -> int:
    while text[at] in WHITESPACE:
        at += 1
    return at

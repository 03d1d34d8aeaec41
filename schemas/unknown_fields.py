"""Fields of events that `schemas.events.Event` does not know: they pass and are not stored, but named."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Final

from pydantic_core import from_json

from schemas.events import Event

KNOWN_FIELDS: Final = frozenset(Event.__annotations__)
SYNONYMS: Final = {
    "author": "actor_id",
    "conversation_id": "parent_id",
    "created_at": "occurred_at",
    "id": "event_id",
    "in_reply_to": "parent_id",
    "platform": "channel",
    "tags": "hashtags",
    "timestamp": "occurred_at",
    "ts": "occurred_at",
    "type": "kind",
    "user": "actor_id",
    "user_id": "actor_id",
}
"""The field that a usual name of others most likely means."""

MOST_NAMES: Final = 50
"""Most unknown names that are looked at in a record, or counted beside others."""

NAME_LENGTH: Final = 64
RECORD_BYTES: Final = 65_536
"""Larger records are not looked into: that could take milliseconds."""

_UNSAFE: Final = re.compile(r"[^\w.:@$/ -]")


def unknown_fields(value: bytes | None) -> Sequence[str]:
    """Returns the unknown fields of a record, cut and without control characters; none of what is no JSON object."""
    if value is None or len(value) > RECORD_BYTES:
        return ()
    try:
        content = from_json(value, cache_strings="keys")
    except ValueError:
        return ()
    if not isinstance(content, dict) or content.keys() <= KNOWN_FIELDS:
        return ()
    unknown = islice((name for name in content if name not in KNOWN_FIELDS), MOST_NAMES)
    return list(dict.fromkeys(_UNSAFE.sub("?", name[:NAME_LENGTH]) or "?" for name in unknown))


def nearest_field(name: str) -> str:
    """Returns the known field that an unknown name most likely means; empty where none is near."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_").replace(" ", "_")
    if plain in KNOWN_FIELDS:
        return plain
    near = get_close_matches(plain, sorted(KNOWN_FIELDS), n=1, cutoff=0.75)
    return SYNONYMS.get(plain) or (near[0] if near else "")

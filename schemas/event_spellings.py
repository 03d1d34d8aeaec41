"""Spellings of events that the schema does not have, but that mean something: leap seconds, and absence.

Platforms write that an optional field is absent in many ways. None of them costs an event.

    >>> in_our_spelling({"action": "", "hashtags": [None, "a"]}, {"action", "hashtags"})
    {'hashtags': ['a']}
"""

from collections.abc import Collection
from typing import Any, Final

from pydantic_core import ErrorDetails

from schemas.event_time import without_leap_second

TIME_FIELDS: Final = (("occurred_at",), ("ts",))
"""Places of the event time: in events, and in the cascades format."""

ABSENT_IN_MANY_WAYS: Final = ("action", "hashtags", "mentions", "links", "labels", "followers")
"""Optional fields that hold more than one text, or none. Empty text means absence there too; so does null in a list
or a map."""


def is_other_spelling(flaw: ErrorDetails) -> bool:
    """Tells whether a flaw of the schema is a leap second, or absence in a spelling that the schema does not have."""
    if flaw["loc"] in TIME_FIELDS:
        return without_leap_second(flaw["input"]) is not None
    return bool(flaw["loc"]) and flaw["loc"][0] in ABSENT_IN_MANY_WAYS and flaw["input"] in (None, "")


def in_our_spelling(fields: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Returns the fields of an event, those of `names` in the spelling of the schema, without the absent ones."""
    respelled = {name: _respelled(value) if name in names else value for name, value in fields.items()}
    return {name: value for name, value in respelled.items() if name not in names or value is not None}


def _respelled(value: Any) -> Any:
    """Returns the value of a field without what is absent, or the last microsecond before a leap second's end."""
    if isinstance(value, list):
        return [part for part in value if part is not None]
    if isinstance(value, dict):
        return {key: part for key, part in value.items() if key and part is not None}
    return without_leap_second(value)

"""The time of an event as text: ISO 8601 as RFC 3339 narrows it, with its zone, leap seconds included.

A leap second (23:59:60 in UTC) becomes the last microsecond before the next day, because neither Python nor ClickHouse
has a 61st second.

    >>> without_leap_second("2016-12-31T23:59:60Z"), without_leap_second("2017-01-01T00:59:60.25+01:00")
    ('2016-12-31T23:59:59.999999Z', '2017-01-01T00:59:59.999999+01:00')
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

EXAMPLE_TIME: Final = "2026-01-01T12:00:00Z"
NOT_ISO: Final = f"Input should be a time in ISO 8601 with its zone, such as {EXAMPLE_TIME}"
NO_ZONE: Final = f"Input should have timezone info: end it with Z or an offset, such as {EXAMPLE_TIME}"
NO_SUCH_SECOND: Final = "second 60 is a leap second, which only the last minute of a day in UTC can have (23:59:60Z)"
PAST_59: Final = "minutes and seconds go to 59"
NO_HOUR_24: Final = "hour 24 is no hour of RFC 3339: send 00:00:00 of the next day"

_SECOND_60: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt _]\d\d:\d\d:)60(?:[.,]\d+)?(.*)", re.DOTALL)
_PAST_59: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt _]\d\d:(?:[6-9]\d|\d\d:[6-9]\d)")
_HOUR_24: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt _]24\b")


class IsoText:
    """Requires a time to be text that begins with a year: pydantic alone takes "20260101" for seconds since 1970."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        text = core_schema.custom_error_schema(
            core_schema.str_schema(pattern=r"^\d{4}-", max_length=64),
            custom_error_type="iso_time",
            custom_error_message=NOT_ISO,
        )
        return core_schema.chain_schema([text, handler(source)])

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}


def without_leap_second(text: object) -> str | None:
    """Returns a time in a leap second as the last microsecond before the next day; None for anything else."""
    parts = _SECOND_60.fullmatch(text) if isinstance(text, str) else None
    if parts is None:
        return None
    try:
        before = datetime.fromisoformat(f"{parts[1]}59.999999{parts[2]}".upper().replace("_", "T"))
        minute = before.astimezone(UTC).strftime("%H:%M") if before.tzinfo else ""
    except (ValueError, OverflowError):
        return None
    return f"{parts[1]}59.999999{parts[2]}" if minute == "23:59" else None


def explain_time(text: Any, reason: str) -> str:
    """Explains a refused time, with the cure; `reason` is the parser's."""
    if not isinstance(text, str) or reason == NOT_ISO:
        return reason
    if _HOUR_24.match(text):
        return NO_HOUR_24
    if _SECOND_60.fullmatch(text):
        return NO_SUCH_SECOND
    if _PAST_59.match(text):
        return f"{PAST_59}; send a time such as {EXAMPLE_TIME}"
    if "timezone" in reason:
        return NO_ZONE
    return f"{reason}; send a time such as {EXAMPLE_TIME}"

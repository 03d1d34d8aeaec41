"""Times of foreign rows: ISO 8601, counts since 1970, or patterns of strptime, with a zone for times that name none."""

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.events import EARLIEST

UNITS: Final = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000}
"""Names of counts since 1970, and how many of them make a second."""

ISO: Final = "iso"
LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)

_BEGINS_WITH_A_YEAR: Final = re.compile(r"\d{4}-")

ParseTime = Callable[[Any], datetime]


def compile_time(forms: str | Sequence[str] | None, zone: str | None) -> ParseTime:
    """Returns the parser of times in one of several forms. Raises ValueError for an unknown zone or form.

    The parser raises ValueError with the cure for a value that fits no form, and for a time without a zone where `zone`
    is None. A local time that exists twice, when clocks are set back, is the earlier one; one that does not exist, when
    clocks are set forward, is refused.
    """
    named = [forms] if isinstance(forms, str) else list(forms or (ISO,))
    for form in named:
        if form not in UNITS and form != ISO and "%" not in form:
            raise ValueError(
                f"time: {form!r} is neither {ISO}, {', '.join(UNITS)} nor a pattern such as %d/%m/%Y %H:%M"
            )
    local = _zone(zone)

    def parse(value: Any) -> datetime:
        for form in named:
            try:
                moment = _in_form(value, form)
            except (ValueError, OverflowError, TypeError):
                continue
            return _with_zone(moment, local)
        raise ValueError(f"{str(value)[:64]!r} is no time in the form {' or '.join(named)}; name its form by `time`")

    return parse


def _zone(name: str | None) -> ZoneInfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"zone: {name!r} is no zone; use a name of the IANA database such as Europe/Berlin") from None


def _in_form(value: Any, form: str) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, bool):
        raise TypeError
    if form in UNITS:
        return _since_1970(value, UNITS[form])
    text = str(value).strip()
    if form != ISO:
        return datetime.strptime(text, form)  # noqa: DTZ007  # the zone follows
    if not _BEGINS_WITH_A_YEAR.match(text):  # digits alone are a count, whatever fromisoformat makes of them
        raise ValueError
    return datetime.fromisoformat(text)


def _since_1970(value: Any, per_second: int) -> datetime:
    if isinstance(value, int) or (isinstance(value, str) and value.strip().lstrip("-").isdecimal()):
        microseconds = int(value) * 1_000_000 // per_second
    else:
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
        microseconds = round(number * (1_000_000 // per_second))
    moment = EARLIEST + timedelta(microseconds=microseconds)
    if not EARLIEST <= moment < LATEST:
        raise ValueError
    return moment


def _with_zone(moment: datetime, local: ZoneInfo | None) -> datetime:
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    if local is None:
        raise ValueError(f"{moment.isoformat(' ')} names no zone; name the zone of the file by `zone`")
    aware = moment.replace(tzinfo=local).astimezone(UTC)
    if aware.astimezone(local).replace(tzinfo=None) != moment:
        raise ValueError(f"{moment.isoformat(' ')} does not exist in {local.key}: clocks were set forward over it")
    return aware

"""Quiet hours and digests of a receiver: from when on a state may be delivered. Pure; time is an argument (Unix time in
seconds).

    quiet: {zone: Europe/Berlin, hours: "22:00-07:00", days: [sat, sun], through: critical}
    digest: {every: 4h, zone: Europe/Berlin, through: critical}

Quiet hours hold back what is less severe than `through` until they end, a digest until its next time of the day: each
multiple of `every` since midnight. What was held back comes as one message.
"""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from processors.alerts.fields import FlawAt, Seconds, Section, Words, between
from schemas.alerts import SEVERITIES, Severity

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES: Final = 1440
LONGEST_QUIET_SECONDS: Final = 8 * 86_400.0
"""No state is held for longer: some minute of each week is not quiet, and a digest comes at least once a day."""

HOURS_CURE: Final = 'must be two times of the day: "22:00-07:00"'
_HOURS: Final = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")

Through = Severity | Literal["never"]
Span = tuple[int, int]
"""Minutes of the day: the first, and the one behind the last."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise ValueError("is no time zone; name one of the IANA list: Europe/Berlin, UTC") from None
    return name


def _check_hours(text: str) -> str:
    spans_of(text)
    return text


def _check_day(text: str) -> str:
    if text not in DAYS:
        raise ValueError(f"must be one of {', '.join(DAYS)}")
    return text


Zone = Annotated[Words, AfterValidator(_check_zone)]
Hours = Annotated[list[Annotated[Words, AfterValidator(_check_hours)]], BeforeValidator(_listed)]
Days = Annotated[list[Annotated[Words, AfterValidator(_check_day)]], BeforeValidator(_listed)]


class Quiet(Section):
    """Quiet hours of a receiver. `hours`: spans of the day, in `zone`. `days`: whole days that are quiet. `through`:
    severity from which a state is delivered all the same."""

    zone: Zone = "UTC"
    hours: Hours = Field(default=[])
    days: Days = Field(default=[])
    through: Through = "critical"

    @model_validator(mode="after")
    def _some_minute_is_not_quiet(self) -> "Quiet":
        if not self.hours and not self.days:
            raise FlawAt(("hours",), 'is missing; say which hours or which days are quiet: "22:00-07:00"')
        quiet = {minute for start, end in self.spans for minute in range(start, end)}
        if len(quiet) == DAY_MINUTES or set(self.days) == set(DAYS):
            raise ValueError("leaves no minute of the week in which anything is delivered; take hours or days out")
        return self

    @property
    def spans(self) -> list[Span]:
        return [span for text in self.hours for span in spans_of(text)]

    def end_of_quiet(self, at: float) -> float:
        """Returns the end of the quiet hours at `at`, or `at` where they are not in force."""
        zone = ZoneInfo(self.zone)
        while True:
            local = datetime.fromtimestamp(at, zone)
            minute = local.hour * 60 + local.minute
            if DAYS[local.weekday()] in self.days:
                end = DAY_MINUTES
            else:
                end = max((end for start, end in self.spans if start <= minute < end), default=-1)
            if end < 0:
                return at
            at = _later(at, _at_minute(local, end))


class Digest(Section):
    """A digest of a receiver: what came since the last one, as one message. `every`: since midnight in `zone`."""

    every: Annotated[Seconds, AfterValidator(between("15m", "1d"))]
    zone: Zone = "UTC"
    through: Through = "critical"

    def next_digest(self, at: float) -> float:
        """Returns the time of the first digest after `at`."""
        local = datetime.fromtimestamp(at, ZoneInfo(self.zone))
        step, minute = round(self.every / 60), local.hour * 60 + local.minute
        return _later(at, _at_minute(local, min((minute // step + 1) * step, DAY_MINUTES)))


class Schedule:
    """The quiet hours and the digest of one receiver."""

    def __init__(self, quiet: Quiet | None, digest: Digest | None) -> None:
        self._quiet, self._digest = quiet, digest

    def release(self, at: float, severity: str) -> float:
        """Returns the time from which on a state that comes `at` may be delivered: `at`, where nothing holds it."""
        due = at
        if self._digest is not None and not is_through(severity, self._digest.through):
            due = self._digest.next_digest(due)
        if self._quiet is not None and not is_through(severity, self._quiet.through):
            due = self._quiet.end_of_quiet(due)
        return due


def is_through(severity: str, through: Through) -> bool:
    """Tells whether a state of this severity is delivered at any time. A severity that a route has given in words of
    its own counts as less than `critical`.

    >>> [is_through("critical", "critical"), is_through("critical", "never"), is_through("page", "warning")]
    [True, False, True]
    """
    if through == "never":
        return False
    rank = SEVERITIES.index(severity) if severity in SEVERITIES else SEVERITIES.index("warning")
    return rank >= SEVERITIES.index(through)


def spans_of(text: str) -> list[Span]:
    """Returns the spans of the day of `22:00-07:00`. Raises ValueError with the cure.

    >>> spans_of("22:00-07:00"), spans_of("12:30-13:00")
    ([(1320, 1440), (0, 420)], [(750, 780)])
    """
    match = _HOURS.fullmatch(text)
    if match is None:
        raise ValueError(HOURS_CURE)
    first, last = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    if max(first, last) > DAY_MINUTES or first in (last, DAY_MINUTES):
        raise ValueError(f"{HOURS_CURE}; a whole day belongs into days")
    return [(first, last)] if first < last else [span for span in ((first, DAY_MINUTES), (0, last)) if span[1]]


def _later(at: float, end: float) -> float:
    """Returns `end`, or the next minute where the clocks are set back and show `end` for the second time."""
    return end if end > at else at - at % 60 + 60


def _at_minute(local: datetime, minute: int) -> float:
    """Returns the Unix time of a minute of the local day of `local`; the last one is midnight."""
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    day = midnight + timedelta(days=minute // DAY_MINUTES)
    return day.replace(hour=minute % DAY_MINUTES // 60, minute=minute % 60).timestamp()

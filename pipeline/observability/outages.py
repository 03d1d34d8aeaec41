"""Logs of what fails again and again: the start, what has changed, ever rarer reminders, and the end.

WARNING ClickHouse at db:9000 does not answer (Connection refused)
WARNING ClickHouse at db:9000 does not answer (Connection refused) (so for 3 min now, 163 failures)
INFO clickhouse works again after 5 min 12 s, 214 failures
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

FIRST_REMINDER_SECONDS: Final = 60.0
LONGEST_REMINDER_SECONDS: Final = 3600.0
"""A reminder comes after the first of these, each further one after twice the time, up to the longest."""

QUIET_SECONDS: Final = 60.0
"""A failure within this time after the end of an outage belongs to the outage: something that comes and goes each
second is logged with the reminders."""

REASONS_LOGGED: Final = 8
"""Different reasons of one outage that are logged at once."""


@dataclass
class _Outage:
    since: float
    due: float
    interval: float = FIRST_REMINDER_SECONDS
    failures: int = 0
    reasons: set[str] = field(default_factory=set)
    is_logged: bool = False
    """Whether the end is to be logged, because a failure since the last end was."""

    ended: float | None = None


class OutageLog:
    """The outages of several things, each by name. Any thread may call the methods."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds of a monotonic clock."""
        self._log, self._clock = log, clock
        self._lock = Lock()
        self._outages: dict[str, _Outage] = {}

    def note(self, name: str, reason: str | None) -> None:
        """Notes that a thing has failed for a reason, or works (None)."""
        if reason is None:
            self.note_success(name)
        else:
            self.note_failure(name, reason)

    def note_failure(self, name: str, text: str, reason: str | None = None) -> None:
        """Notes that a thing has failed. Logs `text` where the reason is new or a reminder is due.

        `reason` is what stays the same from failure to failure; the text itself where not given.
        """
        reason = text if reason is None else reason
        now = self._clock()
        with self._lock:
            outage = self._outages.get(name)
            if outage is None or (outage.ended is not None and now - outage.ended > QUIET_SECONDS):
                outage = self._outages[name] = _Outage(now, now + FIRST_REMINDER_SECONDS)
            outage.failures += 1
            outage.ended = None
            is_new = reason not in outage.reasons and len(outage.reasons) < REASONS_LOGGED
            is_due = now >= outage.due
            if not (is_new or is_due):
                return
            outage.reasons.add(reason)
            outage.is_logged = True
            if is_due:
                outage.interval = min(outage.interval * 2, LONGEST_REMINDER_SECONDS)
                outage.due = now + outage.interval
                text += f" (so for {_in_words(now - outage.since)} now, {_counted(outage.failures)})"
        self._log.warning("%s", text)

    def note_success(self, name: str) -> None:
        """Notes that a thing works, and logs the end of an outage of which a failure was logged."""
        if name not in self._outages:
            return
        now = self._clock()
        with self._lock:
            outage = self._outages[name]
            if outage.ended is not None:
                return
            outage.ended = now
            if not outage.is_logged:
                return
            outage.is_logged = False
            said = f"{name} works again after {_in_words(now - outage.since)}, {_counted(outage.failures)}"
        self._log.info("%s", said)


def _counted(failures: int) -> str:
    return f"{failures} failure{'' if failures == 1 else 's'}"


def _in_words(seconds: float) -> str:
    """Returns a duration in its two largest units.

    >>> _in_words(0.26), _in_words(59.9), _in_words(245), _in_words(7500)
    ('0.3 s', '59 s', '4 min 5 s', '2 h 5 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    size, large, small = (60, "min", "s") if whole < 3600 else (3600, "h", "min")
    rest = whole % size * 60 // size
    return f"{whole // size} {large}" + (f" {rest} {small}" if rest else "")

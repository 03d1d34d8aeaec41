"""Logs: one line per record, in UTC, as text or JSON, without secrets and without floods of one line.

    2026-01-01T00:00:00.000Z INFO processors.engagement.pump assigned partitions=12
    {"time": "2026-01-01T00:00:00.000Z", "level": "INFO", "logger": "...", "message": "assigned", "partitions": 12}

Fields are given by `extra`: `log.info("assigned", extra={"partitions": 12})`. Faust configures logging again when its
worker starts, so the app passes the same configuration: `faust.App(..., logging_config=log_config(settings))`.
"""

import json
import logging
import logging.config
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from pipeline.errors import EngagementError
from pipeline.settings import Settings

FOREIGN: Final = ("aiohttp", "aiokafka", "kafka", "faust", "mode", "asyncio", "clickhouse_driver")
"""Loggers of libraries, whose floods are damped: aiokafka logs 70 errors a second while the broker is away."""

CHATTY: Final = ("aiokafka", "kafka", "clickhouse_driver")
"""Loggers that log each connection and metadata update: only their warnings pass, and their INFO with level DEBUG."""

UNHELPFUL: Final = ("clickhouse_driver.connection", "kafka.net.selector")
"""Loggers whose warnings help nobody, on with level DEBUG alone: a traceback that repeats an error of ours with the
cure, and that a step of kafka-python took a tenth of a second on a busy machine."""

FLOOD_SECONDS: Final = 10.0
LONGEST_FLOOD_SECONDS: Final = 640.0
"""Interval in which one place in the code of a library logs once. Twice the time after each record of a flood, up to
the longest; the first one again once the place was silent for an interval."""

MASK: Final = "***"
"""Replaces a secret."""

_URL_PASSWORD: Final = re.compile(r"(?<=://)([^\s:/@]*):[^\s/@]+@")
_STANDARD: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    "message",
    "asctime",
    "taskName",
    "data",
}
"""Attributes of every record; others were given by `extra`. `data` is a formatting aid of mode."""


@dataclass
class _Flood:
    """The records of one place: when one passed, and when the last one came."""

    passed: float
    last: float
    interval: float
    suppressed: int = 0


class RateLimit(logging.Filter):
    """Passes one record of a library's logger per place in the code and interval; the intervals of a flood grow.

    The next record that passes has the number of the others in its field `suppressed`. `clock` returns seconds of a
    monotonic clock.
    """

    def __init__(self, seconds: float = FLOOD_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds, self._clock = seconds, clock
        self._passed: dict[tuple[str, str, int], _Flood] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tells whether a record passes; records of other loggers always do."""
        if record.name.split(".", 1)[0] not in FOREIGN:
            return True
        place = (record.name, record.pathname, record.lineno)
        now = self._clock()
        flood = self._passed.get(place)
        if flood is None:
            self._passed[place] = _Flood(now, now, self._seconds)
            return True
        silence, flood.last = now - flood.last, now
        if now - flood.passed < flood.interval:
            flood.suppressed += 1
            return False
        goes_on = flood.suppressed > 0 and silence < flood.interval
        flood.interval = min(flood.interval * 2, LONGEST_FLOOD_SECONDS) if goes_on else self._seconds
        flood.passed = now
        if flood.suppressed:
            record.suppressed, flood.suppressed = flood.suppressed, 0
        return True


class Redaction:
    """Removes secrets from text: the given ones, in every spelling that they may have, and passwords in URLs."""

    __slots__ = ("_secrets",)  # no vars(), in which the pattern would show the secrets

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings = {s for secret in secrets if secret for s in (secret, quote(secret, safe=""), repr(secret)[1:-1])}
        self._secrets = (
            re.compile("|".join(map(_whole, sorted(spellings, key=len, reverse=True)))) if spellings else None
        )

    def __call__(self, text: str) -> str:
        if "://" in text:
            text = _URL_PASSWORD.sub(rf"\1:{MASK}@", text)
        return self._secrets.sub(MASK, text) if self._secrets else text


class LineFormatter(logging.Formatter):
    """Formats a record as a single line, with exceptions and line breaks folded into the line."""

    def __init__(self, as_json: bool, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._as_json, self._redact = as_json, redact

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line of a record, without secrets."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        trouble = [self._exception_text(record.exc_info)] if record.exc_info and record.exc_info[0] else []
        trouble += [record.stack_info] if record.stack_info else []
        if trouble:
            fields["exception"] = "\n".join(trouble)
        message = self._redact(_message(record))
        fields = {name: self._plain(value) for name, value in fields.items()}
        if self._as_json:
            line = {"time": moment, "level": record.levelname, "logger": record.name, "message": message}
            return json.dumps(line | {f"{name}_" if name in line else name: value for name, value in fields.items()})
        pairs = " ".join(f"{name}={value}" for name, value in fields.items())
        return _fold(f"{moment} {record.levelname} {record.name} {message}{' ' if pairs else ''}{pairs}")

    def _exception_text(self, found: Any) -> str:
        """Returns the traceback; of errors of this project only the message, which is written for people."""
        error = found[1]
        return f"{type(error).__name__}: {error}" if isinstance(error, EngagementError) else self.formatException(found)

    def _plain(self, value: object) -> object:
        return value if value is None or isinstance(value, bool | int | float) else self._redact(str(value))


def log_config(settings: Settings) -> dict[str, Any]:
    """Returns a new configuration for dictConfig and for Faust, which alters the given one."""
    redact = Redaction(_secrets(settings))
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"flood": {"()": RateLimit}},
        "formatters": {"line": {"()": LineFormatter, "as_json": settings.log_json, "redact": redact}},
        "handlers": {
            "stderr": {"()": lambda: logging.StreamHandler(sys.stderr), "formatter": "line", "filters": ["flood"]}
        },
        "loggers": {name: {"level": _level_of(name, settings.log_level)} for name in (*CHATTY, *UNHELPFUL)},
        "root": {"level": settings.log_level, "handlers": ["stderr"]},
    }


def configure_logs(settings: Settings) -> None:
    """Configures every logger of the process to log lines to stderr."""
    logging.config.dictConfig(log_config(settings))


def quiet_clients() -> None:
    """Silences clickhouse_driver in commands, whose own error message has the cure; a traceback beside it is noise."""
    logging.getLogger("clickhouse_driver").addHandler(logging.NullHandler())


def _level_of(name: str, level: str) -> str:
    if name in UNHELPFUL and level != "DEBUG":
        return "ERROR"
    return {"DEBUG": "INFO", "INFO": "WARNING"}.get(level, level)


def _secrets(settings: Settings) -> list[str]:
    kafka = settings.kafka_password.get_secret_value() if settings.kafka_password else ""
    return [kafka, settings.clickhouse_url.password]


def _whole(secret: str) -> str:
    """Returns a pattern of a secret; a short secret matches only as a whole word."""
    return re.escape(secret) if len(secret) >= 8 else rf"(?<!\w){re.escape(secret)}(?!\w)"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return f"{record.msg} {record.args}"


def _fold(text: str) -> str:
    """Escapes control characters and line separators, so that logged text cannot make lines or colours."""
    return (
        "".join(char if char.isprintable() else repr(char)[1:-1] for char in text) if not text.isprintable() else text
    )

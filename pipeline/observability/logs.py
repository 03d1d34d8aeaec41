"""Logs: one line a record, UTC, text or JSON, no secret in it, and no flood of the same line.

    2026-01-01T00:00:00.000Z INFO processors.engagement.pump assigned partitions=12
    {"time": "2026-01-01T00:00:00.000Z", "level": "INFO", "logger": "...", "message": "assigned", "partitions": 12}

Fields come by `extra`: `log.info("assigned", extra={"partitions": 12})`. Faust sets its logging up anew when its worker
starts, so the app hands it the same configuration: `faust.App(..., logging_config=log_config(settings))`.
"""

import json
import logging
import logging.config
import re
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from pipeline.errors import EngagementError
from pipeline.settings import Settings

FOREIGN: Final = ("aiohttp", "aiokafka", "kafka", "faust", "mode", "asyncio", "clickhouse_driver")
"""Loggers of others, whose floods are damped: aiokafka logs 70 errors a second while the broker is away. Ours are
not."""

CHATTY: Final = ("aiokafka", "kafka", "clickhouse_driver")
"""Of these only warnings, with DEBUG also what is INFO: each connection and metadata update is a line of theirs."""

FLOOD_SECONDS: Final = 10.0

MASK: Final = "***"

_URL_PASSWORD: Final = re.compile(r"(?<=://)([^\s:/@]*):[^\s/@]+@")
_STANDARD: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    "message",
    "asctime",
    "taskName",
    "data",
}
"""What every record has; the rest came by `extra`. `data` is a formatting aid of mode's."""


class RateLimit(logging.Filter):
    """Of the records of foreign loggers, one per place in the code and `seconds`; the next one that passes says in the
    field `suppressed` how many did not. Time is injected, in seconds of a monotonic clock."""

    def __init__(self, seconds: float = FLOOD_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds, self._clock = seconds, clock
        self._passed: dict[tuple[str, str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.split(".", 1)[0] not in FOREIGN:
            return True
        place = (record.name, record.pathname, record.lineno)
        now = self._clock()
        last, suppressed = self._passed.get(place, (None, 0))
        if last is not None and now - last < self._seconds:
            self._passed[place] = (last, suppressed + 1)
            return False
        self._passed[place] = (now, 0)
        if suppressed:
            record.suppressed = suppressed
        return True


class Redaction:
    """Takes secrets out of text: those it was told, in every spelling that they may have, and passwords in URLs."""

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
    """A record as one line, whatever it holds; exceptions and line breaks folded into it."""

    def __init__(self, as_json: bool, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._as_json, self._redact = as_json, redact

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        trouble = [self._told(record.exc_info)] if record.exc_info and record.exc_info[0] else []
        trouble += [record.stack_info] if record.stack_info else []
        if trouble:
            fields["exception"] = "\n".join(trouble)
        message = self._redact(_message(record))
        fields = {name: self._plain(value) for name, value in fields.items()}
        if self._as_json:
            line = {"time": moment, "level": record.levelname, "logger": record.name, "message": message}
            return json.dumps(line | {f"{name}_" if name in line else name: value for name, value in fields.items()})
        said = " ".join(f"{name}={value}" for name, value in fields.items())
        return _fold(f"{moment} {record.levelname} {record.name} {message}{' ' if said else ''}{said}")

    def _told(self, found: Any) -> str:
        """The traceback, but for our own errors: what they say is meant for people, and where they were raised is
        not."""
        error = found[1]
        return f"{type(error).__name__}: {error}" if isinstance(error, EngagementError) else self.formatException(found)

    def _plain(self, value: object) -> object:
        return value if value is None or isinstance(value, bool | int | float) else self._redact(str(value))


def log_config(settings: Settings) -> dict[str, Any]:
    """For logging.config.dictConfig, and for Faust's `logging_config`. A new one each time, because Faust alters it."""
    redact = Redaction(_secrets(settings))
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"flood": {"()": RateLimit}},
        "formatters": {"line": {"()": LineFormatter, "as_json": settings.log_json, "redact": redact}},
        "handlers": {
            "stderr": {"()": lambda: logging.StreamHandler(sys.stderr), "formatter": "line", "filters": ["flood"]}
        },
        "loggers": {name: {"level": _chatty_level(settings.log_level)} for name in CHATTY},
        "root": {"level": settings.log_level, "handlers": ["stderr"]},
    }


def configure_logs(settings: Settings) -> None:
    """Send every logger of this process to stderr as lines."""
    logging.config.dictConfig(log_config(settings))


def quiet_clients() -> None:
    """For commands that have no log: the driver's traceback beside our error, which has the cure, helps nobody."""
    logging.getLogger("clickhouse_driver").addHandler(logging.NullHandler())


def _chatty_level(level: str) -> str:
    return {"DEBUG": "INFO", "INFO": "WARNING"}.get(level, level)


def _secrets(settings: Settings) -> list[str]:
    kafka = settings.kafka_password.get_secret_value() if settings.kafka_password else ""
    return [kafka, settings.clickhouse_url.password]


def _whole(secret: str) -> str:
    """A short secret only where it stands alone: the password "a" must not black out every a."""
    return re.escape(secret) if len(secret) >= 8 else rf"(?<!\w){re.escape(secret)}(?!\w)"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return f"{record.msg} {record.args}"


def _fold(text: str) -> str:
    """Control characters and line separators as escapes: what was logged cannot make a line or a colour of its own."""
    return (
        "".join(char if char.isprintable() else repr(char)[1:-1] for char in text) if not text.isprintable() else text
    )

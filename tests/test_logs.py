"""Log lines: one each, no secret, no flood."""

import json
import logging
import logging.config
from urllib.parse import quote

import pytest

from pipeline.errors import Refused
from pipeline.observability.logs import (
    CHATTY,
    FLOOD_SECONDS,
    LONGEST_FLOOD_SECONDS,
    UNHELPFUL,
    LineFormatter,
    RateLimit,
    Redaction,
    configure_logs,
    log_config,
)
from pipeline.settings import Settings


def _record(
    message: str, *args: object, name: str = "processors.x", line: int = 1, **extra: object
) -> logging.LogRecord:
    record = logging.LogRecord(name, logging.INFO, "x.py", line, message, args, None)
    record.created = 1_767_225_600.25
    vars(record).update(extra)
    return record


def _forget_logging() -> None:
    logging.config.dictConfig(
        {"version": 1, "disable_existing_loggers": False, "root": {"level": "WARNING", "handlers": []}}
    )
    for name in (*CHATTY, *UNHELPFUL):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_text_lines() -> None:
    line = LineFormatter(as_json=False, redact=Redaction()).format(_record("took %d", 3, partitions=12, topic="likes"))
    assert line == "2026-01-01T00:00:00.250Z INFO processors.x took 3 partitions=12 topic=likes"


def test_json_lines() -> None:
    line = LineFormatter(as_json=True, redact=Redaction()).format(_record('say "hi"\n', partitions=12, level="mine"))
    assert json.loads(line) == {
        "time": "2026-01-01T00:00:00.250Z",
        "level": "INFO",
        "logger": "processors.x",
        "message": 'say "hi"\n',
        "partitions": 12,
        "level_": "mine",
    }


@pytest.mark.parametrize("as_json", [False, True])
def test_whatever_is_logged_is_one_line(as_json: bool) -> None:
    formatter = LineFormatter(as_json, Redaction())
    record = _record("a\nb\r\x1b[31m\u2028c\x85", note="x\ny")
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    line = formatter.format(record)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert "Traceback" in line
    assert "second" in line


def test_our_own_errors_come_without_a_traceback() -> None:
    record = _record("Crashed")
    try:
        raise Refused("topic x: run `engagement init`")
    except Refused as error:
        record.exc_info = (type(error), error, error.__traceback__)
    line = LineFormatter(as_json=False, redact=Redaction()).format(record)
    assert line.endswith("Crashed exception=Refused: topic x: run `engagement init`")


def test_a_message_that_does_not_fit_its_arguments_is_still_logged() -> None:
    assert "took %d ('x',)" in LineFormatter(False, Redaction()).format(_record("took %d", "x"))


SECRET = 'p@ss\\wörd"/'
"""Its backslash is doubled by repr, and every sign of it but the letters is escaped in a URL."""


@pytest.mark.parametrize("as_json", [False, True])
def test_no_secret_in_a_line(as_json: bool) -> None:
    redact = Redaction([SECRET, "abc", ""])
    formatter = LineFormatter(as_json, redact)
    quoted = quote(SECRET, safe="")
    record = _record(
        "%s and secret=%s, clickhouse://u:%s@h:9000/x, abc, abcde, kafka://other:hunter2@h",
        *(SECRET, quoted, quoted),
        url=f"x {SECRET} y",
        thing={"secret": SECRET},
    )
    try:
        raise ValueError(f"cannot enter with {SECRET}")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    line = formatter.format(record)
    for hidden in ("p@ss", "p%40ss", "wörd", "hunter2", " abc,"):
        assert hidden not in line
    assert "abcde" in line, "a short secret hides only where it stands alone"
    assert "clickhouse://u:***@h:9000/x" in line


def test_settings_hand_their_secrets_to_the_formatter(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(
        clickhouse="clickhouse://writer:quer%20tz@127.0.0.1/engagement", kafka_password="kafka-secret", log_json=True
    )
    try:
        configure_logs(settings)
        logging.getLogger("pipeline").info("with %s and %s", "quer tz", "kafka-secret", extra={"settings": settings})
    finally:
        _forget_logging()
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["with *** and ***"]
    assert "quer" not in lines[0]


def test_faust_takes_the_configuration() -> None:
    """mode's set-up alters the dictionary and clears the root logger's handlers; a fresh one must survive it."""
    mode_logging = pytest.importorskip("mode.utils.logging")
    try:
        mode_logging.setup_logging(loglevel="INFO", logging_config=log_config(Settings()))
        handlers = logging.root.handlers
        assert [type(handler.formatter) for handler in handlers] == [LineFormatter]
        assert [type(f) for f in handlers[0].filters] == [RateLimit]
    finally:
        _forget_logging()


@pytest.mark.parametrize(
    ("level", "shown"),
    [("DEBUG", logging.INFO), ("INFO", logging.WARNING), ("WARNING", logging.WARNING), ("ERROR", logging.ERROR)],
)
def test_clients_talk_less_than_we_do(level: str, shown: int) -> None:
    try:
        configure_logs(Settings(log_level=level))
        assert logging.getLogger("kafka.cluster").getEffectiveLevel() == shown
        for name in UNHELPFUL:
            assert logging.getLogger(name).isEnabledFor(logging.WARNING) == (level == "DEBUG")
        assert logging.getLogger("processors.worker").getEffectiveLevel() == getattr(logging, level)
    finally:
        _forget_logging()


def test_a_flood_of_a_foreign_logger_is_damped_and_counted() -> None:
    now = [0.0]
    limit = RateLimit(clock=lambda: now[0])
    passed = []
    for tick in range(71):
        now[0] = tick / 70 * FLOOD_SECONDS
        record = _record("broker away", name="aiokafka.client")
        if limit.filter(record):
            passed.append(getattr(record, "suppressed", 0))
    assert passed == [0, 69]


def test_the_intervals_of_a_flood_grow_until_it_is_over() -> None:
    now = [0.0]
    limit = RateLimit(clock=lambda: now[0])
    passed = []
    for tick in range(3600):
        now[0] = float(tick)
        if limit.filter(_record("broker away", name="aiokafka.client")):
            passed.append(tick)
    assert passed == [0, 10, 30, 70, 150, 310, 630, 1270, 1910, 2550, 3190]
    now[0] += LONGEST_FLOOD_SECONDS + 1
    assert limit.filter(_record("broker away", name="aiokafka.client"))
    now[0] += FLOOD_SECONDS
    assert limit.filter(_record("broker away", name="aiokafka.client"))


def test_other_places_and_our_own_loggers_are_not_damped() -> None:
    limit = RateLimit(clock=lambda: 0.0)
    assert limit.filter(_record("a", name="aiokafka.client", line=1))
    assert limit.filter(_record("b", name="aiokafka.client", line=2))
    assert not limit.filter(_record("a", name="aiokafka.client", line=1))
    assert all(limit.filter(_record("ours", name="processors.x")) for _ in range(3))
    assert limit.filter(_record("a", name="kafkaesque"))
    assert limit.filter(_record("a", name="kafkaesque")), "only the logger `kafka` and those below it"

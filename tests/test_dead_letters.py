"""Dead letters: the fuse, any bytes kept as they came, and another try."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner
from fakes_kafka import FakeRecordProducer

from pipeline.clickhouse.client import ClickHouse
from pipeline.dead_letters import DeadLetter, DeadLetterSink, Fuse, FusePolicy
from pipeline.dead_letters.commands import dead_letters, escape_for_terminal
from pipeline.dead_letters.reader import Choice, in_order, newest, plan_retry, retry
from pipeline.errors import FuseBlown, Unavailable
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import Settings
from pipeline.topic_reader import read_topic
from schemas.topics import Topics
from tests.end_to_end.checks import environment_of

NOW = datetime(2026, 6, 1, tzinfo=UTC)
GOOD = b'{"event_id":"l1","kind":"like","post_id":"p","actor_id":"a","occurred_at":"2026-01-01T00:00:00Z"}'
FUTURE = GOOD.replace(b"2026-01-01", b"2099-01-01")


def letter(offset: int, value: bytes | None, key: bytes | None = b"p", **changes: Any) -> DeadLetter:
    facts = {
        "topic": "engagement.likes",
        "partition": 3,
        "reason": "Field required",
        "field": "kind",
        "received_at_ms": 1_770_000_000_000,
    }
    return DeadLetter(offset=offset, value=value, key=key, **{**facts, **changes})


def blows(fuse: Fuse, records: int, dead: int) -> bool:
    try:
        fuse.note(records, dead)
    except FuseBlown:
        return True
    return False


def test_a_few_dead_records_at_the_start_do_not_blow_the_fuse() -> None:
    fuse = Fuse(FusePolicy(1000, 0.95))
    assert not blows(fuse, 999, 999)
    assert blows(fuse, 1, 1)


def test_a_few_dead_records_among_many_do_not_blow_it_either() -> None:
    fuse = Fuse(FusePolicy(1000, 0.95))
    assert not blows(fuse, 100_000, 0)
    assert not any(blows(fuse, 10, 10) for _ in range(99))
    assert blows(fuse, 10, 10)


def test_only_the_latest_records_count() -> None:
    fuse = Fuse(FusePolicy(100, 0.5))
    for _ in range(50):
        assert not blows(fuse, 10, 4)
    assert not blows(fuse, 0, 0)
    assert [blows(fuse, 10, 10) for _ in range(3)] == [False, True, True]


def test_headers_carry_the_facts() -> None:
    headers = dict(letter(7, b"\xff\0", b"\0\xfe").headers)
    assert headers["offset"] == b"7"
    assert headers["reason"] == b"Field required"
    assert headers["key"] == b"\0\xfe"
    assert "key" not in dict(letter(7, b"x", None).headers)


def test_what_is_an_event_now_goes_where_it_belongs() -> None:
    topics = Topics()
    wrong_key = plan_retry(letter(1, GOOD, b"another", topic="engagement.shares"), topics, NOW, 600)
    assert (wrong_key.topic, wrong_key.key, wrong_key.flaw) == ("engagement.likes", b"p", None)
    still_bad = plan_retry(letter(2, b"\xff", b"k"), topics, NOW, 600)
    assert (still_bad.topic, still_bad.key) == ("engagement.likes", b"k")
    assert still_bad.flaw is not None
    assert plan_retry(letter(3, FUTURE), topics, NOW, 600).flaw is not None
    assert plan_retry(letter(3, FUTURE), topics, datetime(2099, 1, 1, tzinfo=UTC), 600).flaw is None
    early = plan_retry(letter(4, GOOD.replace(b"2026", b"1969")), topics, NOW, 600).flaw
    assert early is not None
    assert "before 1970" in early.reason


def test_what_would_die_again_is_kept_unless_forced() -> None:
    plans = [plan_retry(letter(n, value), Topics(), NOW, 600) for n, value in enumerate([GOOD, b"bad", None])]
    producer = FakeRecordProducer()
    assert retry(plans, producer, force=False) == {"sent": 1, "kept": 2}
    assert [record[3] for record in producer.sent] == [GOOD]
    assert retry(plans, producer, force=True) == {"sent": 3, "kept": 0}
    assert retry(plans, None, force=True) == {"sent": 3, "kept": 0}
    assert [record[3] for record in producer.sent] == [GOOD, GOOD, b"bad", None]


def test_a_terminal_is_not_steered_by_a_record() -> None:
    assert escape_for_terminal(b"\x1b[2Jcaf\xc3\xa9\xff\0\n") == "\\x1b[2Jcafé\\xff\\x00\\n"


class ForgetfulTable:
    """Stands for ClickHouse where only Kafka's part matters."""

    def __init__(self, _: Settings) -> None: ...

    def insert(self, table: str, columns: dict[str, list[object]]) -> int:
        return len(columns["topic"])

    def close(self) -> None: ...


def test_a_try_that_ran_out_of_time_is_not_sent_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.dead_letters.sink.ClickHouse", ForgetfulTable)
    monkeypatch.setattr("pipeline.dead_letters.sink.ACK_SECONDS", 0.05)
    producer = FakeRecordProducer()
    sink = DeadLetterSink(Settings(), producer)
    producer.up = False
    for _ in range(3):
        with pytest.raises(Unavailable):
            sink.write([letter(1, b"x"), letter(2, b"y")])
    producer.up = True
    sink.write([letter(1, b"x"), letter(2, b"y")])
    assert [record[3] for record in producer.sent] == [b"x", b"y"]
    sink.write([letter(1, b"x"), letter(2, b"y")])
    assert len(producer.sent) == 4, "asked again after it was done, it does it again"
    sink.close()


NASTY = [
    b"",
    b"\0",
    b"\xff\xfe\0x",
    b"'; DROP TABLE dead_letters --",
    "日本".encode(),
    bytes(range(256)),
    b"x" * 1_000_000,
]


@pytest.fixture
def shelf(tables: Settings) -> Settings:
    ensure_topics(tables)
    return tables


@pytest.mark.stack
def test_any_bytes_come_back_as_they_went(shelf: Settings) -> None:
    letters = [
        letter(n, value, value[:100], reason="what 'is' \\ it \ud800", received_at_ms=1_770_000_000_000 + n)
        for n, value in enumerate(NASTY)
    ]
    sink = DeadLetterSink(shelf)
    sink.write(letters)
    sink.write(letters)
    sink.close()
    with ClickHouse(shelf) as clickhouse:
        found = list(in_order(clickhouse, Choice()))
        assert [one.offset for one in newest(clickhouse, Choice(reason="'IS' \\"), 3)] == [6, 5, 4]
        assert newest(clickhouse, Choice(reason="50% off"), 3) == []
        since = datetime.fromtimestamp(1_770_000_000.005, UTC)
        assert [one.offset for one in in_order(clickhouse, Choice(since=since))] == [5, 6]
    assert [(one.offset, one.value, one.key or b"") for one in found] == [
        (n, value, value[:100]) for n, value in enumerate(NASTY)
    ]
    records = list(read_topic(shelf, shelf.topics.dead_letters))
    assert {dict(record.headers)["offset"] for record in records} == {b"%d" % n for n in range(len(NASTY))}
    assert [record.value for record in records[: len(NASTY)]] == NASTY


@pytest.mark.stack
def test_the_commands(shelf: Settings) -> None:
    letters = [letter(0, GOOD, b"wrong", topic=shelf.topics.of("like")), letter(1, b"\xff\0", field="")]
    sink = DeadLetterSink(shelf)
    sink.write(letters)
    sink.close()
    runner = CliRunner(env=environment_of(shelf, {}))

    def run(*words: str) -> str:
        done = runner.invoke(dead_letters, list(words), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    assert [json.loads(line)["offset"] for line in run("list", "--json").splitlines()] == [1, 0]
    assert "\\xff" in run("list", "--since", "2020-01-01T00:00:00Z")
    assert "no dead letters" in run("list", "--since", "1m", "--reason", "no such reason")
    assert "value:       \\xff\\x00" in run("show", "engagement.likes", "3", "1")
    assert json.loads(run("replay", "--dry-run", "--json")) == {"sent": 1, "kept": 1, "dry_run": True}
    assert list(read_topic(shelf, shelf.topics.of("like"))) == []
    assert json.loads(run("replay", "--json"))["sent"] == 1
    (sent,) = read_topic(shelf, shelf.topics.of("like"))
    assert (sent.key, sent.value) == (b"p", GOOD)
    assert runner.invoke(dead_letters, ["list", "--since", "yesterday"]).exit_code == 2

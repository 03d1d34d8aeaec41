"""Dead letters of sources come into the table, and whole classes of letters are mended and sent again."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline.cli import engagement
from pipeline.clickhouse.client import ClickHouse
from pipeline.dead_letters.from_sources import adopt_letters
from pipeline.dead_letters.letter import DeadLetter
from pipeline.dead_letters.sink import DeadLetterSink
from pipeline.kafka.publisher import open_publisher
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import Settings
from pipeline.topic_reader import read_topic
from producers.destinations import KafkaDestination
from producers.event_lines import ParsedLine
from producers.mapping.letters import Edit
from producers.mapping.mapper import load_map
from producers.mapping.times import compile_time
from producers.source import BadInput
from schemas.events import InvalidEvent, parse_event
from tests.end_to_end.checks import environment_of

LIKE = {"event_id": "l", "kind": "like", "post_id": "p", "actor_id": "ana", "occurred_at": "2026-01-01T00:00:00Z"}


def letter(value: Any, offset: int = 0, topic: str = "engagement.likes") -> DeadLetter:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return DeadLetter(topic, 0, offset, b"p", content, 1_780_000_000_000, "wrong", "occurred_at")


def mended(edit: Edit, value: Any) -> dict[str, Any] | InvalidEvent:
    [mapped] = edit.apply(letter(value))
    if isinstance(mapped, ParsedLine):
        content: dict[str, Any] = json.loads(mapped.value)
        return content
    return mapped


@pytest.mark.parametrize(
    ("form", "zone", "written", "expected"),
    [
        (None, "Europe/Berlin", "2026-07-01T12:00:00", "2026-07-01T10:00:00.000000Z"),
        ("milliseconds", None, 1_767_225_600_000, "2026-01-01T00:00:00.000000Z"),
        ("seconds", None, "1767225600", "2026-01-01T00:00:00.000000Z"),
        ("%d/%m/%Y %H:%M", "UTC", "31/12/2025 10:00", "2025-12-31T10:00:00.000000Z"),
    ],
)
def test_times_are_mended(form: str | None, zone: str | None, written: Any, expected: str) -> None:
    edit = Edit(parse_time=compile_time(form, zone))
    assert mended(edit, LIKE | {"occurred_at": written}) == LIKE | {"occurred_at": expected}


def test_fields_get_values_and_are_removed() -> None:
    edit = Edit(values={"channel": "web", "target_id": None})
    assert mended(edit, LIKE | {"target_id": "x"}) == LIKE | {"channel": "web"}


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[1]", b"\xff", json.dumps({"a": 1}).encode(), b'{"event_id":"\\ud800"}']
)
def test_what_cannot_be_mended_is_told(value: bytes) -> None:
    flaw = mended(Edit(parse_time=compile_time("seconds", None)), value)
    assert isinstance(flaw, InvalidEvent)
    assert flaw.reason


def test_a_map_takes_letters_as_foreign_rows(tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    rule = {"kind": "like", "event_id": "id", "post_id": "p", "actor_id": "who", "occurred_at": "at"}
    file.write_text(yaml.safe_dump({"version": 1, "events": [rule | {"when": "id"}]}))
    edit = Edit(load_map(file))
    event = mended(edit, {"id": "l1", "p": "p1", "who": "ana", "at": "2026-01-01T00:00:00Z"})
    assert isinstance(event, dict)
    assert event["event_id"] == "l1"
    assert isinstance(mended(edit, {}), InvalidEvent)


@pytest.fixture
def shelf(tables: Settings) -> Settings:
    ensure_topics(tables)
    return tables


def run(settings: Settings, *command: str) -> Result:
    return CliRunner(env=environment_of(settings, {})).invoke(engagement, ["dead-letters", *command])


@pytest.mark.stack
def test_letters_of_sources_and_of_workers_are_mended_together(shelf: Settings) -> None:
    naive = [LIKE | {"event_id": f"l{number}", "occurred_at": "2026-01-01T10:00:00"} for number in range(3)]
    with open_publisher(shelf) as publisher:
        destination = KafkaDestination(publisher, shelf.topics, shelf.partitions)
        destination.add_dead(
            BadInput("likes.csv:7", "occurred_at: no zone", json.dumps(naive[0]).encode(), "occurred_at")
        )
        destination.add_dead(BadInput("likes.csv:9", "not JSON", b"{", ""))
        destination.flush()
    sink = DeadLetterSink(shelf)
    sink.write([letter(naive[1], 1, shelf.topics.of("like")), letter(naive[2], 2, shelf.topics.of("like"))])
    sink.close()
    listed = [json.loads(line) for line in run(shelf, "list", "--json").stdout.splitlines()]
    assert len(listed) == 4
    assert {one["reason"] for one in listed} == {
        "wrong",
        "occurred_at: no zone (likes.csv:7)",
        "not JSON (likes.csv:9)",
    }
    with ClickHouse(shelf) as clickhouse:
        assert adopt_letters(shelf, clickhouse) == 0, "each is copied once"
    shown = run(shelf, "edit", "--reason", "occurred_at", "--zone", "Europe/Berlin", "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("->") == 3
    assert "would send 3 mended letters" in shown.stdout
    assert list(read_topic(shelf, shelf.topics.of("like"))) == []
    done = run(shelf, "edit", "--zone", "Europe/Berlin", "--json")
    assert json.loads(done.stdout) == {"sent": 3, "kept": 1, "dry_run": False}
    sent = [parse_event(record.value or b"") for record in read_topic(shelf, shelf.topics.of("like"))]
    assert sorted(event["event_id"] for event in sent) == ["l0", "l1", "l2"]
    assert {event["occurred_at"].hour for event in sent} == {9}
    forced = run(shelf, "replay", "--force", "--reason", "not JSON", "--json")
    assert json.loads(forced.stdout)["sent"] == 0, "a source's letter has no topic to go back to"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "nothing to change"),
        (["--set", "likes=1"], "a field of an event"),
        (["--set", "channel"], "FIELD=VALUE"),
        (["--zone", "Mars/Base"], "Mars/Base"),
        (["--time", "unix"], "unix"),
        (["--map", "gharchive", "--zone", "UTC"], "stands alone"),
        (["--map", "nope"], "shipped are"),
    ],
)
def test_edits_that_cannot_work_say_why(options: list[str], words: str) -> None:
    result = CliRunner().invoke(engagement, ["dead-letters", "edit", *options])
    assert result.exit_code != 0
    assert words in result.output + str(result.exception)

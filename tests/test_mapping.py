"""Maps from foreign rows to events: what the rules give, what they refuse, and that no row ends a run."""

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from mutations import mutated

from pipeline.errors import SettingsError
from producers.event_lines import ParsedLine
from producers.mapping.fields import compile_field
from producers.mapping.mapper import EventMap, load_map
from producers.mapping.rules import FILE, FieldRule
from producers.mapping.times import compile_time
from schemas.events import InvalidEvent

LIKE = {"kind": "like", "event_id": "id", "post_id": "post", "actor_id": "who", "occurred_at": "at"}
ROW = {"id": "l1", "post": "p1", "who": "ana", "at": "2026-01-01T00:00:00Z"}


def map_of(*events: dict[str, Any], **more: Any) -> EventMap:
    return EventMap(FILE.validate_python({"version": "1", "events": list(events), **more}))


def event_of(rules: dict[str, Any], row: Any, **more: Any) -> dict[str, Any]:
    [mapped] = map_of(rules, **more).map_row(row)
    assert isinstance(mapped, ParsedLine), mapped
    content: dict[str, Any] = json.loads(mapped.value)
    return content


def flaw_of(rules: dict[str, Any], row: Any) -> InvalidEvent:
    [flaw] = map_of(rules).map_row(row)
    assert isinstance(flaw, InvalidEvent), flaw
    return flaw


def value_of(rule: Any, row: Any, field: str = "event_id") -> Any:
    return compile_field(field, FieldRule.model_validate(rule))(row)


def test_a_row_becomes_an_event() -> None:
    assert event_of(LIKE, ROW, constants={"channel": "web"}) == {
        "kind": "like",
        "event_id": "l1",
        "post_id": "p1",
        "actor_id": "ana",
        "occurred_at": "2026-01-01T00:00:00.000000Z",
        "channel": "web",
    }


def test_a_rule_of_an_event_goes_before_a_constant() -> None:
    assert event_of(LIKE | {"channel": "net"}, ROW | {"net": "x"}, constants={"channel": "web"})["channel"] == "x"


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("type == 'a'", True),
        ("type == 'b'", False),
        ("n", True),
        ("missing", False),
        ("empty", False),
        ("!empty", True),
    ],
)
def test_a_condition_is_that_of_jmespath(when: str, expected: bool) -> None:
    row = ROW | {"type": "a", "n": 0, "empty": ""}
    assert len(list(map_of(LIKE | {"when": when}).map_row(row))) == expected


def test_a_row_gives_an_event_for_each_rule_that_holds() -> None:
    post = {"kind": "post", "post_id": "post", "actor_id": "who", "occurred_at": "at"}
    kinds = [mapped.event["kind"] for mapped in map_of(post, LIKE).map_row(ROW) if isinstance(mapped, ParsedLine)]
    assert kinds == ["post", "like"]


@pytest.mark.parametrize(
    ("rule", "row", "expected"),
    [
        ({"path": "a.b[0]"}, {"a": {"b": [7]}}, "7"),
        ({"column": "Post ID"}, {"Post ID": "x"}, "x"),
        ({"column": "a.b"}, {"a.b": "x", "a": {"b": "y"}}, "x"),
        ({"template": "{a}/{b.c}"}, {"a": 1, "b": {"c": "z"}}, "1/z"),
        ({"template": "{{{a}}}"}, {"a": 1}, "{1}"),
        ({"template": "{a}/{b}"}, {"a": 1}, None),
        ({"value": "k"}, {}, "k"),
        ({"path": "a", "default": "d"}, {}, "d"),
        ({"path": "a", "default": "d"}, {"a": "  "}, "d"),
        ({"path": "a", "values": {"x": "y"}}, {"a": "x"}, "y"),
        ({"path": "a", "values": {"1": "y"}}, {"a": 1}, "y"),
        ({"path": "a", "values": {"true": "y"}}, {"a": True}, "y"),
        ({"path": "a", "values": {"x": None, "*": "z"}}, {"a": "x"}, None),
        ({"path": "a", "values": {"x": "y", "*": "z"}}, {"a": "q"}, "z"),
        ({"path": "a"}, {"a": 12345678901234567890}, "12345678901234567890"),
        ({"path": "a"}, {"a": 7.0}, "7"),
        ({"path": "a"}, [1, 2], None),
        ({"column": "a"}, None, None),
    ],
)
def test_values_of_a_text_field(rule: Any, row: Any, expected: Any) -> None:
    assert value_of(rule, row) == expected


@pytest.mark.parametrize(
    ("rule", "row", "words"),
    [
        ({"path": "a"}, {"a": "1.23E+17"}, "spreadsheet"),
        ({"path": "a"}, {"a": "1,23E+17"}, "spreadsheet"),
        ({"path": "a"}, {"a": 1.5}, "rounded"),
        ({"path": "a"}, {"a": 1e300}, "rounded"),
        ({"path": "a"}, {"a": float("nan")}, "rounded"),
        ({"path": "a"}, {"a": {"b": 1}}, "no text"),
        ({"path": "a"}, {"a": True}, "no text"),
        ({"path": "a", "values": {"x": "y"}}, {"a": "q"}, "'q' has no entry"),
        ({"path": "length(a)"}, {"a": 5}, "cannot be applied"),
    ],
)
def test_values_that_cannot_become_text_are_named(rule: Any, row: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        value_of(rule, row)


@pytest.mark.parametrize(
    ("rule", "row", "expected"),
    [
        ({"path": "t", "split": ","}, {"t": " a, b ,,"}, ["a", "b"]),
        ({"path": "t"}, {"t": "a"}, ["a"]),
        ({"path": "t[].name"}, {"t": [{"name": "a"}, {"name": None}, {"name": "b"}, {}]}, ["a", "b"]),
        ({"path": "t"}, {"t": []}, None),
        ({"value": ["a", "b"]}, {}, ["a", "b"]),
    ],
)
def test_values_of_a_list_field(rule: Any, row: Any, expected: Any) -> None:
    assert value_of(rule, row, "hashtags") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [(12, 12), ("1,234", 1234), ("1.234.567", 1234567), ("1 234", 1234), (" 7 ", 7)],
)
def test_counts_as_people_write_them(text: Any, expected: int) -> None:
    assert value_of({"path": "n"}, {"n": text}, "followers") == expected


@pytest.mark.parametrize("text", ["1.2", "1.2K", "-3", "12,34", True, "1e3"])
def test_counts_that_are_none_are_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="whole number"):
        value_of({"path": "n"}, {"n": text}, "followers")


@pytest.mark.parametrize(
    ("forms", "zone", "text", "expected"),
    [
        (None, None, "2026-07-01T12:00:00+02:00", "2026-07-01T10:00:00+00:00"),
        (None, "Europe/Berlin", "2026-07-01 12:00", "2026-07-01T10:00:00+00:00"),
        (None, "Europe/Berlin", "2026-01-01", "2025-12-31T23:00:00+00:00"),
        ("seconds", None, 1700000000, "2023-11-14T22:13:20+00:00"),
        ("seconds", None, "1700000000.5", "2023-11-14T22:13:20.500000+00:00"),
        ("milliseconds", None, 1700000000123, "2023-11-14T22:13:20.123000+00:00"),
        ("microseconds", None, "1700000000123456", "2023-11-14T22:13:20.123456+00:00"),
        ("%m/%d/%Y %I:%M %p", "America/New_York", "03/09/2025 01:30 PM", "2025-03-09T17:30:00+00:00"),
        (["iso", "%d.%m.%Y"], "UTC", "31.12.2025", "2025-12-31T00:00:00+00:00"),
        ("%d %b %Y %H:%M:%S %z", None, "01 Feb 2026 10:00:00 -0500", "2026-02-01T15:00:00+00:00"),
        (None, "Europe/Berlin", "2025-10-26 02:30", "2025-10-26T00:30:00+00:00"),  # twice: the earlier one
    ],
)
def test_times(forms: Any, zone: str | None, text: Any, expected: str) -> None:
    assert compile_time(forms, zone)(text) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    ("forms", "zone", "text", "words"),
    [
        (None, None, "2026-07-01 12:00", "names no zone"),
        (None, "UTC", "1700000000", "no time in the form iso"),
        ("seconds", None, 1700000000123456, "no time in the form seconds"),
        ("seconds", None, -5, "no time"),
        ("seconds", None, "nan", "no time"),
        ("seconds", None, True, "no time"),
        (None, "Europe/Berlin", "2025-03-30 02:30", "does not exist in Europe/Berlin"),
        ("%d/%m/%Y", "UTC", "13/13/2025", "no time in the form %d/%m/%Y"),
    ],
)
def test_times_that_cannot_be_are_refused_with_the_cure(forms: Any, zone: str | None, text: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compile_time(forms, zone)(text)


def test_an_event_id_that_no_rule_gives_follows_from_the_row() -> None:
    rules = {name: rule for name, rule in LIKE.items() if name != "event_id"}
    first, again, other = (event_of(rules, row)["event_id"] for row in (ROW, dict(ROW), ROW | {"x": 1}))
    assert first == again != other
    post = {"kind": "post", "post_id": "post", "actor_id": "who", "occurred_at": "at"}
    assert event_of(post, ROW)["event_id"] == event_of(post, ROW | {"x": 1})["event_id"] == "p1#post"


def test_a_retraction_names_its_target() -> None:
    rules = {"kind": "like", "action": "retract", "target_id": "id", "post_id": "post", "actor_id": "who"}
    event = event_of(rules | {"occurred_at": "at"}, ROW)
    assert (event["action"], event["target_id"]) == ("retract", "l1")


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"post": ""}, "post_id", "Field required"),
        ({"at": "yesterday"}, "occurred_at", "no time in the form iso"),
        ({"at": "2026-01-01 00:00"}, "occurred_at", "zone"),
        ({"who": {"x": 1}}, "actor_id", "no text"),
        ({"id": "\ud800"}, "", "surrogate"),
        ({"id": "x" * 600}, "event_id", "512"),
        ({"id": "a\0b"}, "event_id", "NUL"),
    ],
)
def test_a_flaw_names_the_field_of_the_event(change: dict[str, Any], field: str, words: str) -> None:
    flaw = flaw_of(LIKE, ROW | change)
    assert flaw.field == field
    assert words in flaw.reason


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no version": ({"version": None}, "version"),
    "another version": ({"version": 2}, "version"),
    "no events": ({"events": []}, "events"),
    "an unknown field": ({"events": [LIKE | {"likes": "x"}]}, "events.0.likes"),
    "no post": ({"events": [{name: rule for name, rule in LIKE.items() if name != "post_id"}]}, "events.0.post_id"),
    "no path": ({"events": [LIKE | {"event_id": "Post ID"}]}, "column"),
    "a broken condition": ({"events": [LIKE | {"when": "a =="}]}, "events.0.when"),
    "two sources": ({"events": [LIKE | {"event_id": {"path": "a", "value": "b"}}]}, "path and value"),
    "no source": ({"events": [LIKE | {"event_id": {"default": "b"}}]}, "no source"),
    "a zone without time": ({"events": [LIKE | {"event_id": {"path": "a", "zone": "UTC"}}]}, "events.0.event_id"),
    "an unknown zone": ({"events": [LIKE | {"occurred_at": {"path": "a", "zone": "Mars/Base"}}]}, "Mars/Base"),
    "an unknown form": ({"events": [LIKE | {"occurred_at": {"path": "a", "time": "unix"}}]}, "'unix'"),
    "a split text": ({"events": [LIKE | {"event_id": {"path": "a", "split": ","}}]}, "lists"),
    "an open brace": ({"events": [LIKE | {"event_id": {"template": "{a"}}]}, "brace"),
    "an unknown constant": ({"constants": {"chanel": "x"}}, "chanel"),
    "an unknown format": ({"input": {"format": "xlsx"}}, "input.format"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_map_that_cannot_work_is_refused_before_the_first_row(name: str, tmp_path: Path) -> None:
    change, words = BROKEN[name]
    file = tmp_path / "map.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "events": [LIKE]} | change))
    with pytest.raises(SettingsError) as caught:
        load_map(file)
    assert str(caught.value).startswith(f"{file}:")
    assert words in str(caught.value)


def test_an_empty_map_is_refused(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text("")
    with pytest.raises(SettingsError, match="version: is missing"):
        load_map(tmp_path / "map.yaml")


@pytest.mark.parametrize("seed", range(4))
def test_no_row_ends_a_run(seed: int) -> None:
    chance = random.Random(seed)
    rules = map_of(
        LIKE | {"when": "contains(tags, 'a') || id", "hashtags": {"path": "tags", "split": ","}, "followers": "n"},
        {"kind": {"path": "kind", "values": {"k": "post"}}, "post_id": {"template": "{post}:{n}"}, "occurred_at": "at"},
    )
    valid = ROW | {"tags": ["a", "b"], "n": 5, "kind": "k", "deep": {"a": [{"b": None}]}}
    for _ in range(500):
        for mapped in rules.map_row(mutated(valid, chance)):
            assert isinstance(mapped, ParsedLine | InvalidEvent)
            if isinstance(mapped, ParsedLine):
                assert mapped.event["occurred_at"] >= datetime(1970, 1, 1, tzinfo=UTC)
            else:
                assert mapped.reason


def test_a_network_that_does_not_tell_the_actor() -> None:
    assert event_of(LIKE | {"actor_id": {"value": None}}, ROW)["actor_id"] is None
    assert flaw_of({name: rule for name, rule in LIKE.items() if name != "actor_id"}, ROW).field == "actor_id"


def test_labels_have_rules_of_their_own() -> None:
    labels = {"campaign": {"column": "Campaign Name"}, "format": "kind", "none": "nothing"}
    event = event_of(LIKE | {"labels": labels}, ROW | {"Campaign Name": "spring", "kind": "video"})
    assert event["labels"] == {"campaign": "spring", "format": "video"}
    assert flaw_of(LIKE | {"labels": {"a": "who"}}, ROW | {"who": {}}).field in ("actor_id", "labels.a")

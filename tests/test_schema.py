"""The documents that others build on: JSON Schema, AsyncAPI; what `engagement schema` prints; the insert statements."""

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner
from fakes_kafka import FakeRecordProducer

from pipeline.clickhouse.insert_format import encode_packed, encode_plain
from pipeline.commands import schema
from pipeline.dead_letters.letter import DeadLetter
from producers.destinations import KafkaDestination
from producers.source import BadInput
from schemas.asyncapi import DEAD_HEADERS, asyncapi_document
from schemas.events import event_json_schema
from schemas.topics import KINDS, Topics

COMMITTED = Path(__file__).parents[1] / "docs/asyncapi.json"
LIKE = {"event_id": "l", "kind": "like", "post_id": "p", "actor_id": "a", "occurred_at": "2026-01-01T00:00:00Z"}


def test_the_committed_asyncapi_document_is_what_the_models_say() -> None:
    assert json.loads(COMMITTED.read_text()) == asyncapi_document()
    assert CliRunner().invoke(schema, ["--asyncapi"]).output == COMMITTED.read_text()


def test_asyncapi_has_every_topic_and_resolves_its_references() -> None:
    document = asyncapi_document(Topics("other"))
    addresses = {channel["address"] for channel in document["channels"].values()}
    topics = Topics("other")
    assert addresses == {*topics.sources, topics.conversations, topics.alerts, topics.dead_letters}
    for reference in _references(document):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        assert found


def test_a_dead_letter_has_the_headers_that_are_declared() -> None:
    letter = DeadLetter("t", 0, 1, b"k", b"v", 2, "no", "post_id")
    names = [name for name, _ in letter.headers]
    assert [*names, "source", "cut-from"] == list(DEAD_HEADERS)


def test_a_letter_of_a_source_has_headers_that_are_declared() -> None:
    producer = FakeRecordProducer(record_bytes=1024)
    KafkaDestination(producer, Topics(), producer.partitions).add_dead(BadInput("a", "b", b"x" * 2000, "c"))
    [(_, _, _, value, headers)] = producer.sent
    assert value == b"x" * 1000
    assert {name: fact for name, fact in headers if name in ("source", "reason", "field", "cut-from")} == {
        "source": b"a",
        "reason": b"b",
        "field": b"c",
        "cut-from": b"2000",
    }
    assert {name for name, _ in headers} == DEAD_HEADERS.keys() - {"key"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_takes_its_kind_and_no_other(kind: str) -> None:
    document = asyncapi_document()
    validator = jsonschema.Draft202012Validator(
        {"$defs": document["components"]["schemas"], **_local(document["components"]["messages"][kind]["payload"])}
    )
    assert validator.is_valid(LIKE | {"kind": kind})
    assert not validator.is_valid(LIKE | {"kind": "like" if kind == "post" else "post"})


def test_json_schema_is_printed_and_knows_the_rules_that_span_fields() -> None:
    printed = json.loads(CliRunner().invoke(schema, []).output)
    assert printed == event_json_schema()
    validator = jsonschema.Draft202012Validator(printed)
    assert validator.is_valid(LIKE)
    assert validator.is_valid(LIKE | {"a_field_of_tomorrow": 1})
    assert validator.is_valid(LIKE | {"parent_id": "", "target_id": "", "quotes": None, "hashtags": [""]})
    assert validator.is_valid(LIKE | {"action": "retract", "target_id": "x", "event_id": ""})
    assert not validator.is_valid(LIKE | {"event_id": ""})
    assert not validator.is_valid(LIKE | {"target_id": "x"})
    assert not validator.is_valid(LIKE | {"action": "retract"})
    assert not validator.is_valid(LIKE | {"action": "retract", "target_id": ""})
    assert not validator.is_valid({name: value for name, value in LIKE.items() if name != "event_id"})


def test_only_declared_names_reach_the_sql() -> None:
    for statement in (encode_plain, encode_packed):
        with pytest.raises(ValueError, match="no table 'posts; DROP"):
            statement("posts; DROP TABLE posts", {"post_id": ["p"]})
        with pytest.raises(ValueError, match="no column '1\\)'"):
            statement("posts", {"post_id": ["p"], "1)": [1]})


def _references(value: object) -> list[str]:
    if isinstance(value, list):
        return [found for each in value for found in _references(each)]
    if not isinstance(value, dict):
        return []
    return [value["$ref"]] if "$ref" in value else _references(list(value.values()))


def _local(payload: dict[str, object]) -> dict[str, object]:
    return json.loads(json.dumps(payload).replace("#/components/schemas/", "#/$defs/"))

"""Fields that events do not have: named, counted in a bounded sample, logged once, shown by `engagement check`."""

import json
import logging
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.checks import run_checks
from pipeline.commands import check, init
from pipeline.kafka.client import KafkaLink, LinkPolicy
from pipeline.observability.metrics import UNKNOWN_FIELDS_LIMIT, WorkerMetrics
from pipeline.settings import Settings
from processors.engagement.outcomes import count_unknown_fields
from processors.runtime.records import Run
from schemas.unknown_fields import KNOWN_FIELDS, MOST_NAMES, NAME_LENGTH, nearest_field, unknown_fields
from tests.folding import like

ALL_KNOWN = (
    "event_id kind action post_id actor_id parent_id target_id occurred_at channel url hashtags mentions links quotes "
    "labels text author_id followers"
)


@dataclass(frozen=True)
class Record:
    offset: int
    value: bytes | None
    key: bytes | None = b"p"
    timestamp: int = 0


def value_of(**more: Any) -> bytes:
    return json.dumps({**like("l"), **more}).encode()


def counted(metrics: WorkerMetrics) -> dict[str, float]:
    head = 'engagement_unknown_fields_total{field="'
    series = metrics.snapshot().items()
    return {name.removeprefix(head)[:-2]: count for name, count in series if name.startswith(head)}


def test_known_fields_are_those_of_the_schema() -> None:
    assert sorted(KNOWN_FIELDS) == sorted(ALL_KNOWN.split())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (value_of(), []),
        (value_of(emotion="joy", hashtag=["x"]), ["emotion", "hashtag"]),
        (value_of(**{"a\nb\x1b[0m": 1, "": 2, "e" * 500: 3}), ["a?b??0m", "?", "e" * NAME_LENGTH]),
        (value_of(**{"Größe": 1, 'x"y': 2}), ["Größe", "x?y"]),
        (value_of(labels={"campaign": "spring"}, **{"labels.campaign": 1}), ["labels.campaign"]),
        (b'{"emotion": 1, "emotion": 2}', ["emotion"]),
        (None, []), (b"", []), (b"{", []), (b"[]", []), (b"5", []), (b"\xff", []), (b"[" * 5000, []),
        (value_of(text="x" * 70_000, emotion="joy"), []),
    ],
)  # fmt: skip
def test_names_of_a_record(value: bytes | None, expected: list[str]) -> None:
    assert list(unknown_fields(value)) == expected


def test_a_record_of_a_thousand_names_costs_fifty() -> None:
    assert len(unknown_fields(value_of(**{f"n{number}": 1 for number in range(1000)}))) == MOST_NAMES


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("hashtag", "hashtags"), ("occurredAt", "occurred_at"), ("actorId", "actor_id"), ("Post-ID", "post_id"),
        ("user_id", "actor_id"), ("timestamp", "occurred_at"), ("emotion", ""), ("?", ""), ("label", "labels"),
    ],
)  # fmt: skip
def test_the_nearest_known_field(name: str, near: str) -> None:
    assert nearest_field(name) == near


def test_a_sample_is_counted_and_each_name_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    metrics = WorkerMetrics()
    with caplog.at_level(logging.WARNING):
        for first in range(0, 1000, 10):
            records = [Record(first + number, value_of(hashtag="x")) for number in range(10)]
            runs = [Run("engagement.likes", "like", 0, records), Run("engagement.likes", "like", 1, [])]
            count_unknown_fields(metrics, runs)
    assert counted(metrics) == {"hashtag": 100}, "one of ten records"
    [said] = caplog.messages
    assert said.startswith(
        "events in engagement.likes have a field 'hashtag', which is not known and not stored: is hashtags"
    )


def test_a_field_of_every_tenth_record_is_found_wherever_it_stands() -> None:
    for place in range(10):
        metrics = WorkerMetrics()
        for first in range(0, 1000, 10):
            values = [value_of(emotion=1) if number == place else value_of() for number in range(10)]
            records = [Record(first + number, value) for number, value in enumerate(values)]
            count_unknown_fields(metrics, [Run("engagement.likes", "like", 0, records)])
        assert counted(metrics) == {"emotion": 10}


def test_names_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    metrics = WorkerMetrics()
    for number in range(UNKNOWN_FIELDS_LIMIT + 30):
        record = Record(number, value_of(**{f"field{number}": 1}))
        count_unknown_fields(metrics, [Run("engagement.likes", "like", 0, [record])])
    counts = counted(metrics)
    assert (len(counts), counts["other"]) == (UNKNOWN_FIELDS_LIMIT + 1, 30)
    assert len(caplog.messages) == UNKNOWN_FIELDS_LIMIT + 1


def said_of_fields(settings: Settings) -> str:
    [finding] = [finding for finding in run_checks(settings) if finding.name == "fields of events"]
    assert finding.ok, finding
    return finding.said


def test_check_shows_them(environment: dict[str, str], settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        if name.startswith("ENGAGEMENT_"):
            monkeypatch.setenv(name, value)
    runner = CliRunner(catch_exceptions=False)
    assert said_of_fields(settings) == "all known in the newest 0 records", "no topics yet"
    runner.invoke(init)
    assert said_of_fields(settings) == "all known in the newest 0 records"
    link = KafkaLink(settings, LinkPolicy(record_bytes=1_000_000))
    try:
        # The old ones are beyond the newest 200.
        values = [value_of(old=1)] * 300 + [value_of(hashtag="x"), value_of()] * 100
        sent = [link.send(settings.topics.of("like"), value=value, key=b"p", partition=0) for value in values]
        sent.append(link.send(settings.topics.of("share"), value=value_of(mood=1), key=b"p", partition=0))
        for future in sent:
            future.get(30)
    finally:
        link.drop()
    said = said_of_fields(settings)
    assert said == (
        "not known, so not stored: hashtag in 100 of the newest 200 likes (is hashtags meant?), "
        "mood in 1 of the newest 1 shares"
    )
    assert said in runner.invoke(check).output

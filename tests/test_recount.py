"""`engagement recount`: finds and mends whatever happened to derived rows, and touches nothing else."""

import json
import time
from collections.abc import Iterator
from threading import Event
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from pipeline.clickhouse.client import ClickHouse
from pipeline.errors import CheckFailed
from pipeline.observability.metrics import WorkerMetrics
from pipeline.privacy.erased_hashes import ErasureKey
from pipeline.settings import Settings, load_settings
from pipeline.topic_reader import TopicRecord
from processors.columnar.hashing import Hasher
from processors.columnar.partitioning import partitions_of
from processors.commands import recount
from processors.engagement.job import EngagementJob
from processors.engagement.ports import EngagementPorts
from processors.engagement.store import ClickHouseLog
from processors.erasure.check import look_for_leftovers
from processors.erasure.people import People
from processors.runtime.records import Run
from schemas.topics import KINDS
from tests.end_to_end.checks import environment_of

RECEIVED_MS = 1_780_000_000_000
LIKES = {"p": 5, "q": 3}


class Place(NamedTuple):
    """A database in which a few events were counted, and the command line that points to it."""

    client: ClickHouse
    runner: CliRunner

    def differences(self) -> int:
        """What `recount --check --json` counts."""
        result = self.runner.invoke(recount, ["--check", "--json"])
        assert result.stdout, result.exception
        found: int = json.loads(result.stdout.splitlines()[0])["differences"]
        assert isinstance(result.exception, CheckFailed) if found else result.exit_code == 0
        return found


@pytest.fixture
def place(tables: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name, value in environment_of(tables, {}).items():
        monkeypatch.setenv(name, value)
    hasher = Hasher()
    log = ClickHouseLog(lambda numpy: ClickHouse(tables, numpy=numpy), hasher)
    job = EngagementJob(EngagementPorts(log, log, lambda letters: None, hasher, WorkerMetrics()))
    job.assign([0], 1)
    runs = [
        Run(f"x.{kind}s", kind, 0, [_record(number, event) for number, event in enumerate(_events(kind))])
        for kind in KINDS
    ]
    assert job.process(runs, Event(), time.time)
    log.close()
    with ClickHouse(tables) as client:
        there = Place(client, CliRunner())
        assert there.differences() > 0  # nobody has added up the minutes of conversations yet
        assert there.runner.invoke(recount).exit_code == 0
        yield there


def _events(kind: str) -> Iterator[dict[str, Any]]:
    common: dict[str, Any] = {"kind": kind, "actor_id": "ana", "channel": "bluesky"}
    for post_id, count in LIKES.items():
        if kind == "post":
            yield common | {
                "event_id": post_id,
                "post_id": post_id,
                "occurred_at": "2026-01-01T11:59:00Z",
                "hashtags": ["a"],
                "links": ["https://u.example/1"],
            }
        elif kind == "comment":
            yield common | {
                "event_id": f"c{post_id}",
                "post_id": post_id,
                "occurred_at": "2026-01-01T12:01:00Z",
                "hashtags": ["own"],
            }
        elif kind == "share":
            yield common | {"event_id": f"s{post_id}", "post_id": post_id, "occurred_at": "2026-01-01T12:02:00Z"}
        else:
            for number in range(count):
                at = f"2026-01-01T12:0{number}:00Z"
                yield common | {"event_id": f"l{number}", "post_id": post_id, "occurred_at": at}


def _record(offset: int, event: dict[str, Any]) -> TopicRecord:
    assert partitions_of([event["post_id"]], 1).tolist() == [0]
    return TopicRecord("x", 0, offset, RECEIVED_MS, event["post_id"].encode(), json.dumps(event).encode(), ())


HIGHEST = 2**64 - 1

DAMAGE = {
    "a row deleted": "ALTER TABLE post_metrics DELETE WHERE post_id = 'p' SETTINGS mutations_sync = 2",
    "a pane deleted": "ALTER TABLE post_minutes DELETE WHERE post_id = 'p' AND likes = 1 SETTINGS mutations_sync = 2",
    "facts deleted": "ALTER TABLE posts DELETE WHERE post_id = 'q' SETTINGS mutations_sync = 2",
    "a post forgotten": "ALTER TABLE known_posts DELETE WHERE post_id = 'p' SETTINGS mutations_sync = 2",
    "a row altered": "ALTER TABLE post_metrics UPDATE likes = 99 WHERE post_id = 'p' SETTINGS mutations_sync = 2",
    "a row of the same version": (
        "INSERT INTO post_metrics SELECT * REPLACE (likes + 1 AS likes) FROM post_metrics FINAL"
    ),
    "a row of a higher version": (
        f"INSERT INTO post_metrics SELECT * REPLACE (9 AS likes, {HIGHEST} AS version) FROM post_metrics FINAL"
    ),
    "a pane of a higher version": (
        f"INSERT INTO post_minutes SELECT * REPLACE (9 AS likes, {HIGHEST} AS version) FROM post_minutes FINAL"
    ),
    "a pane too many": (
        "INSERT INTO post_minutes SELECT * REPLACE (minute + 3600 AS minute, 1 AS version) FROM post_minutes FINAL"
    ),
    "a pane too many, of a higher version": (
        f"INSERT INTO post_minutes SELECT * REPLACE (minute + 3600 AS minute, {HIGHEST} AS version) "
        "FROM post_minutes FINAL"
    ),
    "facts of a higher version": (
        f"INSERT INTO posts SELECT * REPLACE ('eve' AS author_id, {HIGHEST} AS version) FROM posts FINAL"
    ),
    "a post that never was": "INSERT INTO post_metrics SELECT * REPLACE ('ghost' AS post_id) FROM post_metrics FINAL",
    "panes of a post that never was": (
        "INSERT INTO post_minutes SELECT * REPLACE ('ghost' AS post_id) FROM post_minutes FINAL"
    ),
    "facts of a post that never was": "INSERT INTO posts SELECT * REPLACE ('ghost' AS post_id) FROM posts FINAL",
    "spread altered": (
        "ALTER TABLE post_metrics UPDATE reproduction = 9 WHERE post_id = 'p' SETTINGS mutations_sync = 2"
    ),
    "spread as of a time that is none": (
        "INSERT INTO post_metrics SELECT * REPLACE (spread_as_of + 60 AS spread_as_of, version + 1 AS version) "
        "FROM post_metrics FINAL"
    ),
    "a cell deleted": (
        "ALTER TABLE conversation_posts DELETE WHERE conversation = 'hashtag:own' AND post_id = 'p' "
        "SETTINGS mutations_sync = 2"
    ),
    "a cell altered": (
        "ALTER TABLE conversation_posts UPDATE voices = [7] WHERE conversation = 'hashtag:a' AND shares = 1 "
        "SETTINGS mutations_sync = 2"
    ),
    "a cell of a conversation that the post is not in": (
        "INSERT INTO conversation_posts SELECT * REPLACE ('hashtag:x' AS conversation, 1 AS version) "
        "FROM conversation_posts FINAL WHERE post_id = 'p'"
    ),
    "cells of a higher version": (
        f"INSERT INTO conversation_posts SELECT * REPLACE (9 AS likes, {HIGHEST} AS version) "
        "FROM conversation_posts FINAL"
    ),
    "cells of a post that never was": (
        "INSERT INTO conversation_posts SELECT * REPLACE ('ghost' AS post_id) FROM conversation_posts FINAL"
    ),
    "a message that no post carries": (
        "INSERT INTO carry_over SELECT * REPLACE ('url:https://no.example' AS message) FROM carry_over FINAL"
    ),
    "a message that is said to be gone": (
        "INSERT INTO carry_over SELECT * REPLACE (0 AS is_current) FROM carry_over FINAL"
    ),
    "minutes of conversations deleted": (
        "ALTER TABLE conversation_minutes DELETE WHERE conversation = 'hashtag:a' SETTINGS mutations_sync = 2"
    ),
    "minutes of conversations altered": (
        "ALTER TABLE conversation_minutes UPDATE voices = 9 WHERE conversation = 'hashtag:a' "
        "SETTINGS mutations_sync = 2"
    ),
    "minutes of conversations of a higher version": (
        f"INSERT INTO conversation_minutes SELECT * REPLACE ({HIGHEST} AS version) FROM conversation_minutes FINAL"
    ),
    "minutes of conversations that never were": (
        "INSERT INTO conversation_minutes SELECT * REPLACE ('hashtag:ghost' AS conversation) "
        "FROM conversation_minutes FINAL"
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_found_and_mended(place: Place, damage: str) -> None:
    assert place.differences() == 0
    place.client.execute(damage)
    assert place.differences() > 0
    done = place.runner.invoke(recount)
    assert done.exit_code == 0
    assert done.stdout.endswith("all rows written anew, but for counts at closing\n")
    assert place.differences() == 0
    assert place.client.select("SELECT post_id, likes FROM post_metrics FINAL ORDER BY post_id") == [
        list(LIKES),
        list(LIKES.values()),
    ]
    totals = place.client.select("SELECT sum(likes), countIf(likes > 0) FROM post_minutes FINAL")
    assert totals == [[sum(LIKES.values())], [sum(LIKES.values())]]
    assert place.client.select("SELECT author_id FROM posts FINAL ORDER BY post_id") == [["ana", "ana"]]


@pytest.mark.parametrize(
    "damage",
    [
        "INSERT INTO posts_active (post_id, author_id, version) VALUES ('forged', 'ann', 9)",
        "INSERT INTO conversation_day_marks (partition, partitions, rolled_until) VALUES (0, 1, '2026-02-01 00:00:00')",
    ],
    ids=["a copy of facts", "days that are said to be rolled up"],
)
def test_the_proof_of_an_erasure_compares_every_derived_row(place: Place, damage: str) -> None:
    settings, key, nobody = load_settings(), ErasureKey("0123456789abcdef" * 2), People.of(["did:plc:nobody"], None)
    assert look_for_leftovers(settings, key, nobody).differences == 0
    place.client.execute(damage)
    assert look_for_leftovers(settings, key, nobody).differences > 0


def test_a_difference_names_its_place(place: Place) -> None:
    place.client.execute(
        "ALTER TABLE post_minutes UPDATE likes = 7 WHERE post_id = 'q' AND minute = '2026-01-01 12:02:00' "
        "SETTINGS mutations_sync = 2"
    )
    result = place.runner.invoke(recount, ["--check"])
    assert result.stdout.splitlines() == [
        "post_minutes q 2026-01-01T12:02Z likes: stored 7, the log says 1",
        "2 posts, 14 events: 1 differences",
    ]


class Closing(NamedTuple):
    """A database whose minutes were closed, by rows as a worker writes them."""

    place: Place
    counts: dict[tuple[str, str], int]
    """(conversation, time of day) -> comments and posts."""


@pytest.fixture
def closing(place: Place) -> Closing:
    place.client.execute(
        "INSERT INTO conversation_closed (conversation, minute, count, closed_at) "
        "SELECT conversation, minute, greatest(posts + comments, 0), minute + 125 FROM conversation_minutes FINAL"
    )
    place.client.execute(
        "INSERT INTO conversation_marks (partition, closed_until) SELECT number, '2026-01-02 00:00:00' FROM numbers(64)"
    )
    # As the broker took them: in the minute after their own.
    place.client.execute(
        "ALTER TABLE events UPDATE received_at = toStartOfMinute(occurred_at) + 90 WHERE 1 SETTINGS mutations_sync = 2"
    )
    counts = {
        ("hashtag:a", "11:59"): 2,
        ("hashtag:a", "12:01"): 2,
        ("thread:p", "11:59"): 1,
        ("hashtag:own", "12:01"): 2,
    }
    return Closing(place, counts)


def test_counts_at_closing_are_compared(closing: Closing) -> None:
    report = json.loads(closing.place.runner.invoke(recount, ["--check", "--json"]).stdout.splitlines()[0])
    assert report["differences"] == 0
    rows = closing.place.client.select("SELECT count() FROM conversation_closed FINAL")[0][0]
    assert report["conversation_closed"] == {"compared": rows, "within_bounds": 0, "count_within_bounds": 0}
    for (conversation, minute), count in closing.counts.items():
        sql = f"SELECT count FROM conversation_closed FINAL WHERE conversation = '{conversation}' AND minute = "
        assert closing.place.client.select(f"{sql}'2026-01-01 {minute}:00'") == [[count]]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            "UPDATE count = 1 WHERE conversation = 'hashtag:a' AND minute = '2026-01-01 12:01:00'",
            "stored 1, the log says 2",
        ),
        ("DELETE WHERE conversation = 'hashtag:own'", "stored None, the log says 2"),
    ],
)
def test_a_wrong_count_at_closing_is_told_and_left(closing: Closing, damage: str, said: str) -> None:
    closing.place.client.execute(f"ALTER TABLE conversation_closed {damage} SETTINGS mutations_sync = 2")
    result = closing.place.runner.invoke(recount, ["--check"])
    assert isinstance(result.exception, CheckFailed)
    assert "nothing mends" in str(result.exception)
    assert f"2026-01-01T12:01Z count: {said}" in result.stdout
    assert closing.place.runner.invoke(recount).exit_code == 0
    assert closing.place.differences() == 1


def test_a_count_of_a_conversation_that_never_was_is_told(closing: Closing) -> None:
    closing.place.client.execute(
        "INSERT INTO conversation_closed VALUES ('hashtag:ghost', '2026-01-01 12:00:00', 7, '2026-01-01 12:03:00')"
    )
    result = closing.place.runner.invoke(recount, ["--check"])
    assert "conversation_closed hashtag:ghost 2026-01-01T12:00Z count: stored 7, the log says None" in result.stdout


@pytest.mark.parametrize(("count", "differences"), [(0, 1), (1, 0), (2, 0), (3, 1)])
def test_of_what_came_late_the_log_gives_bounds(closing: Closing, count: int, differences: int) -> None:
    """One of two comments was taken by the broker an hour after its minute: it may have been counted or not."""
    client = closing.place.client
    client.execute(
        "ALTER TABLE events UPDATE received_at = '2026-01-01 13:00:00' WHERE event_id = 'cp' "
        "SETTINGS mutations_sync = 2"
    )
    client.execute(
        f"ALTER TABLE conversation_closed UPDATE count = {count} WHERE conversation = 'hashtag:a' "
        "AND minute = '2026-01-01 12:01:00' SETTINGS mutations_sync = 2"
    )
    report = json.loads(closing.place.runner.invoke(recount, ["--check", "--json"]).stdout.splitlines()[0])
    assert report["differences"] == differences
    assert report["conversation_closed"]["within_bounds"] >= 3, "thread, author and both hashtags of p"
    if differences:
        assert f"stored {count or 0}" in report["first"][0].replace("None", "0")
        assert "the log says 1 to 2" in report["first"][0]

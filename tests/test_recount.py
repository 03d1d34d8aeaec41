"""`engagement recount`: finds and mends whatever happened to derived rows, and touches nothing else."""

import json
import time
from collections.abc import Iterator
from threading import Event
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from pipeline.clickhouse import ClickHouse
from pipeline.errors import CheckFailed
from pipeline.kafka import Record
from pipeline.migrations import migrate
from pipeline.observability.metrics import WorkerMetrics
from pipeline.settings import Settings
from processors.commands import recount
from processors.engagement.decoding import Run
from processors.engagement.hashing import Hasher
from processors.engagement.job import EngagementJob
from processors.engagement.partitioning import partitions_of
from processors.engagement.stored import ClickHouseLog

RECEIVED_MS = 1_780_000_000_000
LIKES = {"p": 5, "q": 3}


class Place(NamedTuple):
    """A database in which a few events were counted, and the command line that points to it."""

    client: ClickHouse
    runner: CliRunner

    def differences(self) -> int:
        """What `recount --check --json` counts."""
        result = self.runner.invoke(recount, ["--check", "--json"])
        found: int = json.loads(result.output.splitlines()[0])["differences"]
        assert isinstance(result.exception, CheckFailed) if found else result.exit_code == 0
        return found


@pytest.fixture
def place(settings: Settings, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name, value in environment.items():
        if name.startswith("ENGAGEMENT_"):
            monkeypatch.setenv(name, value)
    migrate(settings)
    hasher = Hasher()
    log = ClickHouseLog(lambda numpy: ClickHouse(settings, numpy=numpy), hasher)
    job = EngagementJob(log, log, lambda letters: None, hasher, WorkerMetrics())
    job.assign([0], 1)
    runs = [
        Run(f"x.{kind}s", kind, 0, [_record(number, event) for number, event in enumerate(_events(kind))])
        for kind in ("post", "like")
    ]
    assert job.take(runs, Event(), time.time)
    log.close()
    with ClickHouse(settings) as client:
        yield Place(client, CliRunner())


def _events(kind: str) -> Iterator[dict[str, str]]:
    common = {"kind": kind, "actor_id": "ana", "channel": "bluesky"}
    for post_id, count in LIKES.items():
        if kind == "post":
            yield common | {"event_id": post_id, "post_id": post_id, "occurred_at": "2026-01-01T11:59:00Z"}
        else:
            for number in range(count):
                at = f"2026-01-01T12:0{number}:00Z"
                yield common | {"event_id": f"l{number}", "post_id": post_id, "occurred_at": at}


def _record(offset: int, event: dict[str, str]) -> Record:
    assert partitions_of([event["post_id"]], 1).tolist() == [0]
    return Record("x", 0, offset, RECEIVED_MS, event["post_id"].encode(), json.dumps(event).encode(), ())


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
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_found_and_mended(place: Place, damage: str) -> None:
    assert place.differences() == 0
    place.client.execute(damage)
    assert place.differences() > 0
    done = place.runner.invoke(recount)
    assert done.exit_code == 0
    assert done.output.endswith("all rows written anew\n")
    assert place.differences() == 0
    assert place.client.select("SELECT post_id, likes FROM post_metrics FINAL ORDER BY post_id") == [
        list(LIKES),
        list(LIKES.values()),
    ]
    totals = place.client.select("SELECT sum(likes), countIf(likes > 0) FROM post_minutes FINAL")
    assert totals == [[sum(LIKES.values())], [sum(LIKES.values())]]
    assert place.client.select("SELECT author_id FROM posts FINAL ORDER BY post_id") == [["ana", "ana"]]


def test_a_difference_names_its_place(place: Place) -> None:
    place.client.execute(
        "ALTER TABLE post_minutes UPDATE likes = 7 WHERE post_id = 'q' AND minute = '2026-01-01 12:02:00' "
        "SETTINGS mutations_sync = 2"
    )
    result = place.runner.invoke(recount, ["--check"])
    assert result.output.splitlines() == [
        "post_minutes q 2026-01-01T12:02Z likes: stored 7, the log says 1",
        "2 posts, 10 events: 1 differences",
    ]

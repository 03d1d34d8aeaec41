"""Days of conversations on a real stack: rolled up while workers are killed between the steps and come and go, in a
database without marks as one of before, and corrected by events that come late."""

import os
import time
from pathlib import Path
from typing import Any

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import Settings
from processors.retention.policy import RetentionPolicy
from processors.retention.retention import Retention
from tests.end_to_end.checks import assert_recounted, environment_of
from tests.end_to_end.group import Group
from tests.end_to_end.inputs import Input, simulated
from tests.end_to_end.workers import Workers, wait_until

DAY = 86_400

OF_MINUTES = (
    "SELECT conversation, toDate(minute) AS day, sum(posts), sum(likes), sum(shares), sum(comments), count() "
    "FROM conversation_minutes FINAL WHERE posts != 0 OR likes != 0 OR shares != 0 OR comments != 0 OR voices > 0 "
    "GROUP BY conversation, day ORDER BY conversation, day"
)
SHOWN = (
    "SELECT conversation, day, posts, likes, shares, comments, minutes FROM conversation_days_v "
    "ORDER BY conversation, day"
)


def late(events: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """New comments by new people, in minutes in which others did something."""
    return [
        event | {"event_id": f"late{number}-{place}", "kind": "comment", "actor_id": f"late{number}", "parent_id": None}
        for place, event in enumerate(events)
        if event["kind"] in ("share", "comment") and "target_id" not in event
    ][:40]


def test_days_are_exact_whoever_is_killed_and_whatever_comes_late(settings: Settings, tmp_path: Path) -> None:
    migrate(settings)
    ensure_topics(settings)
    environment = environment_of(settings, os.environ)
    made = simulated(3000, 60)
    armed = tmp_path / "armed"
    with Workers(tmp_path, environment) as workers, ClickHouse(settings) as client:
        group = Group(settings)

        def assert_exact_days(rolled: int) -> None:
            """The view says what minutes say, and some rows of closed days have been written."""
            assert client.select(SHOWN) == client.select(OF_MINUTES)
            assert client.select("SELECT count() > 0 FROM conversation_days")[0][0] == rolled

        def rolled_until() -> int:
            return Retention(client, settings, RetentionPolicy()).rolled_until()

        def wait_for_days() -> None:
            wait_until(lambda: rolled_until() == int(time.time()) // DAY * DAY, 120, "days are not rolled up")

        made.send(settings)
        workers.catch_up()
        # A database of before has minutes and closings, and neither days nor marks.
        for table in ("conversation_days", "conversation_day_marks"):
            client.execute(f"TRUNCATE TABLE {table}")
        assert_exact_days(0)
        armed.touch()
        for step in ("days", "day_marks"):
            worker = workers.start("--die-after", step, "--armed-by", str(armed))
            assert worker.wait(60) == -9, worker.tail
            assert (rolled_until() == 0) is (step == "days"), "a part is rolled up, and marked only then"
            assert_exact_days(1)
        armed.unlink()
        one, other = (workers.start("--die-after", "minutes", "--armed-by", str(armed)) for _ in range(2))
        wait_for_days()
        assert_exact_days(1)
        before = client.select("SELECT sum(version) FROM conversation_days FINAL")

        # Both die with late cells stored and their days not rolled up again.
        armed.touch()
        Input(late(made.events, 1)).send(settings)
        assert [worker.wait(60) for worker in (one, other)] == [-9, -9]
        one, other = (workers.start() for _ in range(2))
        Input(late(made.events, 2)).send(settings)
        wait_until(lambda: group.committed() == group.sent(), 120, "there is lag left")
        one.kill()
        other.end()
        workers.catch_up()
        group.close()
        assert client.select("SELECT sum(version) FROM conversation_days FINAL") != before
        assert rolled_until() == int(time.time()) // DAY * DAY
        assert_exact_days(1)
        assert client.select("SELECT sum(voices) > 0 FROM conversation_days_v") == [[1]]
        assert_recounted(environment)

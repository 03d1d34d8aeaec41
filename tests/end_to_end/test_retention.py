"""Retention beside a real worker that has the post in memory, with kill -9 of the run and of the worker."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.kafka.publisher import open_publisher
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import Settings
from processors.engagement.read_through import RETIRED_LOOK_SECONDS
from processors.retention.policy import RetentionPolicy
from processors.retention.retention import Retention
from tests.end_to_end.checks import assert_recounted, environment_of
from tests.end_to_end.workers import Workers, wait_until

POLICY = RetentionPolicy(posts_days=30, quiet_seconds=0, grace_seconds=RETIRED_LOOK_SECONDS + 10)
DAY = 86_400

KILLED = """
import os, signal, sys, time
from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import load_settings
from processors.retention.policy import RetentionPolicy
from processors.retention.retention import Retention

def die(step):
    if step == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

settings = load_settings()
policy = RetentionPolicy(posts_days=30, quiet_seconds=0, grace_seconds=0)
Retention(ClickHouse(settings), settings, policy, die).run(time.time(), lambda seconds: True)
"""


def test_a_post_goes_whole_beside_a_worker_and_is_refused_for_good(settings: Settings, tmp_path: Path) -> None:
    migrate(settings)
    ensure_topics(settings)
    environment = environment_of(settings, os.environ)
    with Workers(tmp_path, environment) as workers, ClickHouse(settings) as client:

        def count(table: str, post_id: str) -> int:
            return int(client.select(f"SELECT count() FROM {table} WHERE post_id = '{post_id}'")[0][0])

        def wait_for(table: str, condition: str, number: int) -> None:
            sql = f"SELECT count() FROM {table} WHERE {condition}"
            wait_until(lambda: client.select(sql)[0][0] >= number, 120, f"{table} has not {number} rows")

        worker = workers.start()
        send(settings, event("old", "post", 0, 40), event("old", "like", 1, 39), event("old", "comment", 2, 38))
        send(settings, event("fresh", "post", 0, 40), event("fresh", "like", 1, 0))
        wait_for("post_metrics", "post_id = 'old' AND likes = 1 AND comments = 1", 1)
        wait_for("post_metrics", "post_id = 'fresh' AND likes = 1", 1)

        today = int(time.time()) // DAY * DAY
        wait_until(lambda: Retention(client, settings, POLICY).rolled_until() == today, 120, "days are not rolled up")
        days = client.select("SELECT * FROM conversation_days_v WHERE day < today() ORDER BY conversation, day")
        assert days[0]
        assert Retention(client, settings, POLICY).run(time.time(), lambda seconds: False).marked == 1
        time.sleep(POLICY.grace_seconds)  # the worker sees the mark, and forgets the post
        for step in ("decided", "deleted"):
            killed = subprocess.run([sys.executable, "-c", KILLED, step], env=environment, check=False)
            assert killed.returncode == -signal.SIGKILL
            send(settings, event("old", "like", step, 0))
        wait_for("dead_letters", "key = 'old' AND reason LIKE '%post has gone%'", 2)
        worker.kill()
        worker = workers.start()
        send(settings, event("old", "like", "late", 0), event("fresh", "like", "late", 0))
        wait_for("dead_letters", "key = 'old' AND reason LIKE '%post has gone%'", 3)
        wait_for("post_metrics", "post_id = 'fresh' AND likes = 2", 1)
        assert Retention(client, settings, POLICY).run(time.time(), lambda seconds: True).gone == 1
        tables = ("events", "post_minutes", "conversation_posts", "post_history")
        assert [count(table, "old") for table in tables] == [0] * 4
        assert client.select("SELECT likes, comments FROM post_metrics FINAL WHERE post_id = 'old'") == [[1], [1]]
        assert client.select("SELECT state FROM retired_posts FINAL") == [["gone"]]
        assert worker.alive
        assert client.select("SELECT * FROM conversation_days_v WHERE day < today() ORDER BY conversation, day") == days
        worker.end()
        workers.catch_up()
        assert_recounted(environment)


def event(post_id: str, kind: str, number: object, days_ago: float) -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - days_ago * DAY))
    event_id = post_id if kind == "post" else f"{kind}{number}"
    return {"event_id": event_id, "kind": kind, "post_id": post_id, "actor_id": f"a{number}", "occurred_at": at}


def send(settings: Settings, *events: dict[str, Any]) -> None:
    with open_publisher(settings) as publisher:
        for each in events:
            publisher.send(settings.topics.of(each["kind"]), each["post_id"].encode(), json.dumps(each).encode())

"""A few thousand events through the real worker, Kafka and ClickHouse: minutes of conversations are what SQL over the
log says, closed once, and corrected by what comes late."""

import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.kafka.publisher import open_publisher
from pipeline.settings import Settings
from tests.end_to_end.checks import engagement, environment_of
from tests.end_to_end.inputs import Input
from tests.end_to_end.workers import Workers, wait_until

START: Final = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
KINDS: Final = ("like", "like", "share", "comment", "comment")
LATE: Final = "2026-03-01T10:03:33Z"

TRUTH: Final = """
SELECT conversation, toStartOfMinute(occurred_at) AS at, countIf(kind = 'post'), countIf(kind = 'like'),
    countIf(kind = 'share'), countIf(kind = 'comment'), uniqExactIf(actor_id, kind != 'like'),
    uniqExactIf(channel, kind != 'like')
FROM (
    SELECT kind, occurred_at, actor_id, channel, arrayJoin(arrayDistinct(arrayConcat(
        if(kind = 'like', [], conversations), keys, [concat('thread:', post_id)]))) AS conversation
    FROM (SELECT * FROM events FINAL) AS event
    LEFT JOIN (
        SELECT post_id, arrayConcat(conversations, [concat('author:', channel, '/', actor_id)]) AS keys
        FROM events FINAL WHERE kind = 'post'
    ) AS post USING post_id
)
GROUP BY conversation, at ORDER BY conversation, at
"""

FOUND: Final = """
SELECT conversation, minute, posts, likes, shares, comments, voices, channels
FROM conversation_minutes FINAL ORDER BY conversation, minute
"""


@pytest.mark.timeout(300)
def test_minutes_are_what_the_log_says_closed_once_and_corrected(settings: Settings, tmp_path: Path) -> None:
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    Input(list(_events(random.Random(4), 3000))).send(settings)
    with Workers(tmp_path, environment) as workers, ClickHouse(settings) as client:
        workers.catch_up(120)
        found, closed = client.select(FOUND), _closed(client)
        assert found == client.select(TRUTH)
        kinds = {name.partition(":")[0] for name in found[0]}
        assert kinds == {"hashtag", "author", "thread"}
        assert client.select("SELECT DISTINCT is_final FROM conversation_minutes FINAL") == [[1]]
        pane_keys = zip(found[0], found[1], strict=True)
        assert closed == {
            pane_key: [posts + comments]
            for pane_key, posts, comments in zip(pane_keys, found[2], found[5], strict=True)
        }
        assert len(client.select("SELECT partition FROM source_marks FINAL WHERE idle")[0]) == settings.partitions

        late = _event("comment", "late", "p1", "somebody-new", LATE) | {"hashtags": ["tag2"]}
        Input([late]).send(settings)
        with open_publisher(settings) as publisher:
            publisher.send(settings.topics.conversations, None, b"no cells", partition=0)
        workers.catch_up(60)
        assert client.select(FOUND) == client.select(TRUTH) != found
        assert _closed(client) == closed
        letters = client.select("SELECT topic, partition, bytes FROM dead_letters FINAL")
        assert letters == [[settings.topics.conversations], [0], ["no cells"]]


@pytest.mark.timeout(300)
def test_minutes_close_while_events_go_on(settings: Settings, tmp_path: Path) -> None:
    """Nothing ends here: what closes minutes is the event time of partitions that have records, and idleness of those
    that have none."""
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    now = datetime.now(UTC)
    with Workers(tmp_path, environment) as workers, ClickHouse(settings) as client:
        workers.start(lateness_seconds=1, idle_seconds=2).wait_until_ready()
        events = [
            _event("comment", f"{post}-{seconds}", post, f"a{seconds}", _text(now - timedelta(seconds=seconds)))
            for post in ("p1", "p2", "p3")
            for seconds in (300, 240, 130)
        ]
        Input(events).send(settings)
        wait_until(lambda: len(_closed(client)) == 9, 20, "minutes are not closed")
        assert {tuple(counts) for counts in _closed(client).values()} == {(1,)}
        assert client.select("SELECT DISTINCT is_final FROM conversation_minutes FINAL") == [[1]]


def _events(rng: random.Random, count: int) -> Iterator[dict[str, Any]]:
    """Posts first, then what is done to them, in the order of time."""
    tags = [f"tag{number}" for number in range(5)]
    for number in range(25):
        post = _event("post", f"p{number}", f"p{number}", f"author{number % 7}", _text(START))
        yield post | {"hashtags": rng.sample(tags, rng.randrange(3))}
    for number in range(count):
        at = START + timedelta(minutes=12 * number / count, seconds=rng.random() * 40)
        event = _event(rng.choice(KINDS), f"e{number}", f"p{rng.randrange(25)}", f"a{rng.randrange(90)}", _text(at))
        event["channel"] = rng.choice(("x", "y", "z"))
        if event["kind"] in ("share", "comment"):
            event["hashtags"] = rng.sample(tags, rng.randrange(3))
        yield event


def _event(kind: str, event_id: str, post_id: str, actor_id: str, occurred_at: str) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "kind": kind,
        "post_id": post_id,
        "actor_id": actor_id,
        "occurred_at": occurred_at,
        "channel": "x",
    }


def _text(moment: datetime) -> str:
    return moment.isoformat()


def _closed(client: ClickHouse) -> dict[tuple[str, datetime], list[int]]:
    """Every row there is, as it was inserted."""
    found = client.select("SELECT conversation, minute, groupArray(count) FROM conversation_closed GROUP BY ALL")
    return {(name, minute): counts for name, minute, counts in zip(*found, strict=True)} if found else {}

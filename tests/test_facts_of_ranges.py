"""Panes and metrics of posts between two times that reach back less than two days, and further: facts of active posts
come from their own table, of others from all posts."""

import time
from collections.abc import Iterator

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from tests.copied_facts import copy_facts

DAY = 86_400
IDLE = 300_000
"""Posts that nobody has looked at for a week."""


@pytest.fixture
def now(client: ClickHouse) -> int:
    return int(time.time())


@pytest.fixture
def client(tables: Settings) -> Iterator[ClickHouse]:
    with ClickHouse(tables) as client:
        yield client


def _store(client: ClickHouse, post_id: str, author: str, minute: int, reason: int = 0) -> None:
    """Stores a post with a pane; one whose own event has not come has no facts."""
    if author:
        client.insert("posts", {"post_id": [post_id], "author_id": [author], "channel": ["x"], "version": [1]})
    client.insert("post_minutes", {"post_id": [post_id], "minute": [minute // 60 * 60], "likes": [2], "version": [1]})
    client.insert("post_metrics", {"post_id": [post_id], "as_of": [minute], "thread_reason": [reason], "version": [1]})


def test_facts_of_posts_of_a_range(client: ClickHouse, now: int) -> None:
    _store(client, "copied", "ann", now - 3600)
    _store(client, "gone quiet", "bob", now - 5 * DAY)
    copy_facts(client)
    _store(client, "new", "cid", now - 60)
    _store(client, "unknown", "", now - 60, reason=1)
    known = {"copied": ("ann", "x"), "new": ("cid", "x"), "unknown": (None, None)}
    for since, extra in ((now - DAY, {}), (now - 6 * DAY, {"gone quiet": ("bob", "x")})):
        for view in ("post_minutes_between", "post_metrics_between"):
            asked = f"{view}(since = {since}, until = {now})"
            answer = client.select(f"SELECT post_id, author_id, channel FROM {asked}")
            assert {post: facts for post, *facts in zip(*answer, strict=True)} == {
                post: list(facts) for post, facts in (known | extra).items()
            }, asked
        columns = "post_id, minute, likes, author_id, channel, hour, day"
        panes = f"SELECT {columns} FROM {{}} ORDER BY post_id"
        assert client.select(panes.format(f"post_minutes_between(since = {since}, until = {now})")) == client.select(
            panes.format(f"(SELECT * FROM post_minutes_v WHERE minute >= {since} AND minute < {now})")
        )


def test_what_is_active_is_found_without_all_posts(client: ClickHouse, now: int) -> None:
    client.execute(
        "INSERT INTO posts (post_id, author_id, channel, version) "
        f"SELECT concat('idle', toString(number)), 'ann', 'x', 1 FROM numbers({IDLE})"
    )
    _store(client, "copied", "ann", now - 3600)
    copy_facts(client)
    for view in ("post_minutes_between", "post_metrics_between"):
        asked = f"SELECT post_id, author_id FROM {view}(since = {now - DAY}, until = {now})"
        assert client.select(asked) == [["copied"], ["ann"]]
        query = client._client.last_query
        assert query is not None
        assert query.progress.rows < 20, view

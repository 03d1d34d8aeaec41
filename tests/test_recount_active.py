"""The recount finds and mends each way in which the copy of active posts can differ; what workers write is none."""

import time
from collections.abc import Iterator

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from processors.engagement.recount_active import recount_active
from tests.copied_facts import copy_facts

DAY = 86_400


@pytest.fixture
def client(tables: Settings) -> Iterator[ClickHouse]:
    with ClickHouse(tables) as client:
        now = int(time.time())
        posts = [f"p{number}" for number in range(6)]
        ends = [now, now - DAY, now - 2 * DAY + 600, now - 2 * DAY - 600, now - 4 * DAY, now + 300]
        client.insert("post_metrics", {"post_id": posts, "as_of": ends, "likes": range(6), "version": [5] * 6})
        yield client


def test_a_copy_agrees(client: ClickHouse) -> None:
    assert client.select("SELECT count() FROM post_metrics_active") == [[5]]
    assert recount_active(client, check=True, wait=0) == []


@pytest.mark.parametrize(
    ("done", "post", "column"),
    [
        ("ALTER TABLE post_metrics_active DELETE WHERE post_id = 'p1' SETTINGS mutations_sync = 2", "p1", "row"),
        ("INSERT INTO post_metrics_active (post_id, as_of, version) SELECT 'forged', now(), 9", "forged", "row"),
        ("INSERT INTO post_metrics_active (post_id, as_of, version) SELECT 'p0', now(), 9", "p0", "version"),
        (
            "ALTER TABLE post_metrics_active UPDATE likes = 7 WHERE post_id = 'p2' SETTINGS mutations_sync = 2",
            "p2",
            "values",
        ),
    ],
)
def test_a_difference_is_found_and_mended(client: ClickHouse, done: str, post: str, column: str) -> None:
    client.execute(done)
    [found] = recount_active(client, check=True, wait=0)
    said = "values" if column == "likes" else column
    assert (found.table, found.key, found.column) == ("post_metrics_active", (post,), said)
    assert len(recount_active(client, check=False, wait=0)) == 1
    assert recount_active(client, check=True, wait=0) == []
    [posts, likes] = client.select("SELECT post_id, likes FROM post_metrics_active_v ORDER BY post_id")
    assert dict(zip(posts, likes, strict=True)) == {"p0": 0, "p1": 1, "p2": 2, "p5": 5}


def test_what_a_worker_writes_meanwhile_is_no_difference(client: ClickHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    client.execute("ALTER TABLE post_metrics_active DELETE WHERE post_id = 'p1' SETTINGS mutations_sync = 2")

    def write(seconds: float) -> None:
        client.insert("post_metrics", {"post_id": ["p1"], "as_of": [int(time.time())], "version": [6]})

    monkeypatch.setattr("processors.engagement.recount_active.time.sleep", write)
    assert recount_active(client, check=True) == []


FACTS = "post_id, author_id, version"


def test_facts_agree_with_posts(client: ClickHouse) -> None:
    """The feed copies later versions: facts of a post that changed after it was copied are the new ones."""
    for post, author, made, seen in (("p0", "ann", "now()", 1), ("p1", "bob", "now()", 1), ("p1", "cid", "now()", 2)):
        client.execute(
            f"INSERT INTO posts ({FACTS}, created_at) SELECT '{post}', '{author}', {seen} * 67108864, {made}"
        )
        if seen == 1:
            copy_facts(client)
    assert client.select("SELECT post_id, author_id FROM posts_active FINAL ORDER BY post_id") == [
        ["p0", "p1"],
        ["ann", "cid"],
    ]
    assert recount_active(client, check=True, wait=0) == []


def test_facts_of_posts_that_become_active_again(client: ClickHouse) -> None:
    """A post that has no facts beside it is looked up in posts at once, and copied by the next refresh."""
    copy_facts(client)
    client.execute(f"INSERT INTO posts ({FACTS}, created_at) SELECT 'p1', 'ann', 67108864, now() - 9 * 86400")
    asked = "SELECT author_id FROM post_metrics_active_v WHERE post_id = 'p1'"
    assert client.select("SELECT count() FROM posts_active") == [[0]]
    assert client.select(asked) == [["ann"]]
    copy_facts(client)
    assert client.select("SELECT post_id, author_id FROM posts_active FINAL") == [["p1"], ["ann"]]
    assert client.select(asked) == [["ann"]]


@pytest.mark.parametrize(
    ("done", "column"),
    [
        (f"INSERT INTO posts_active ({FACTS}) SELECT 'forged', 'ann', 9", "row"),
        (f"INSERT INTO posts_active ({FACTS}) SELECT 'p0', 'ann', 603979776", "version"),
        ("ALTER TABLE posts_active UPDATE author_id = 'x' WHERE post_id = 'p0' SETTINGS mutations_sync = 2", "values"),
    ],
)
def test_other_facts_are_found_and_mended(client: ClickHouse, done: str, column: str) -> None:
    client.execute(f"INSERT INTO posts ({FACTS}, created_at) SELECT 'p0', 'bob', 67108864, now()")
    copy_facts(client)
    client.execute(done)
    [found] = recount_active(client, check=True, wait=0)
    assert (found.table, found.column) == ("posts_active", column)
    assert len(recount_active(client, check=False, wait=0)) == 1
    assert recount_active(client, check=True, wait=0) == []
    assert client.select("SELECT author_id FROM post_metrics_active_v WHERE post_id = 'p0'") == [["bob"]]

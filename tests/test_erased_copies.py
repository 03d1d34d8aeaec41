"""A refresh of posts_active that has read the posts before an erasure brings no fact back."""

import time

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.errors import CheckFailed
from pipeline.settings import Settings
from processors.erasure.deletion import Deletion, noted
from processors.erasure.log import ERASED_POSTS
from processors.erasure.posts import COPYING_VIEW, delete_copies

SLOW = (
    "SELECT post_id, author_id, channel, created_at, url, followers, deleted_at, labels, version FROM posts "
    "WHERE sleepEachRow(2) = 0 SETTINGS function_sleep_max_microseconds_per_block = 60000000"
)


def test_facts_that_a_refresh_still_copies_leave_too(tables: Settings, migrated: list[str]) -> None:
    migrated.clear()  # The view stays slow: later tests have a database of their own.
    with ClickHouse(tables) as client:
        client.execute(f"ALTER TABLE {COPYING_VIEW} MODIFY QUERY {SLOW}")
        client.insert("posts", {"post_id": ["p", "q", "r"], "author_id": ["ann", "bob", "cid"], "version": [1] * 3})
        client.execute(f"SYSTEM REFRESH VIEW {COPYING_VIEW}")
        running = (
            f"SELECT count() FROM system.view_refreshes WHERE view = '{COPYING_VIEW}' AND database = currentDatabase() "
        )
        until = time.monotonic() + 30
        while client.select(f"{running} AND status = 'Running'") == [[0]]:
            assert time.monotonic() < until
        deletion = Deletion(client, tables)
        deletion.begin()
        deletion.add(ERASED_POSTS, [("p", "")])
        deletion.delete("posts", noted(ERASED_POSTS, ["post_id"]))
        assert client.select("SELECT count() FROM posts_active") == [[0]], "the refresh has yet to write"
        with pytest.raises(
            CheckFailed, match=f"the refresh of {COPYING_VIEW} has not ended after 0.2 s.* SYSTEM CANCEL VIEW"
        ):
            deletion.wait_for_refreshes(COPYING_VIEW, 0.2)
        delete_copies(deletion)
        deletion.end()
        client.execute(f"SYSTEM WAIT VIEW {COPYING_VIEW}")
        assert client.select("SELECT author_id FROM posts_active ORDER BY post_id") == [["bob", "cid"]]

"""The roles of deploy/clickhouse/users.sql and the reader of compose, on a real server that has them in its
configuration: each role does its work and nothing else, and a reader lifts no limit."""

import http.client
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from deploy.clickhouse.views import all_views
from deploy.grafana.expansion import DASHBOARDS, as_the_data_source_sends_it, sql_of
from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate, verify_tables
from pipeline.embedded.state import StackState
from pipeline.errors import Exhausted, Refused
from processors.erasure.deletion import Deletion
from processors.erasure.log import ERASED_POSTS
from processors.erasure.posts import delete_copies
from processors.retention.policy import RetentionPolicy
from processors.retention.retention import Retention, Retired
from schemas.tables import TABLES
from tests.roles_server import as_user, profile_of_compose, profile_of_embedded, profile_of_sql, roles_server
from tests.rolled_days import roll_days

READERS = ["reader", "compose", "embedded"]
CHOSEN = {"post": "p", "author": "a", "channel": "bluesky", "conversation": "hashtag:acme"} | {
    "spike": "s",
    "search": "",
    "find": "",
    "label": "every label",
    "kind": "all",
    "severity": "info",
}

WRITES = [
    "INSERT INTO posts (post_id) VALUES ('x')",
    "ALTER TABLE posts DELETE WHERE 1",
    "DELETE FROM posts WHERE 1",
    "ALTER TABLE posts UPDATE url = '' WHERE 1",
    "ALTER TABLE posts ADD COLUMN x UInt8",
    "TRUNCATE TABLE posts",
    "DROP TABLE posts",
    "DROP VIEW posts_v",
    "CREATE TABLE x (a UInt8) ENGINE = Memory",
    "CREATE VIEW x AS SELECT 1",
    "CREATE OR REPLACE VIEW posts_v AS SELECT 1",
    "RENAME TABLE posts TO x",
    "OPTIMIZE TABLE posts",
    "CREATE DATABASE x",
    "CREATE FUNCTION x AS (a) -> a",
    "CREATE USER x",
    "GRANT SELECT ON *.* TO reader",
    "SYSTEM STOP MERGES posts",
]

ELSEWHERE = [
    "SELECT * FROM other.secrets",
    "SELECT * FROM system.users",
    "SELECT * FROM system.processes",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a UInt8')",
    "SELECT * FROM remote('127.0.0.1', 'other', 'secrets')",
]
"""Reads of what no role was granted."""

LIFTED = {
    "max_execution_time": ["0", "-1", "0.5", "71", "100000"],
    "max_memory_usage": ["0", "4000000001", "18446744073709551615"],
    "max_rows_to_read": ["0", "10000000001"],
    "max_untracked_memory": ["4194305", "100000000000"],
    "distributed_product_mode": ["deny", "local", "allow"],
    "timeout_overflow_mode": ["break"],
    "read_overflow_mode": ["break"],
    "readonly": ["0", "1"],
}
"""Setting -> values that would lift a limit, 0 among them, which means none."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackState]:
    """A server with the roles, on which `engagement init` has run as the role for it."""
    with roles_server(tmp_path_factory.mktemp("roles")) as state:
        migrate(as_user(state, "admin"))
        with ClickHouse(as_user(state, "default")) as client:
            client.execute("CREATE DATABASE other")
            client.execute("CREATE TABLE other.secrets (a UInt8) ENGINE = MergeTree ORDER BY a")
        yield state


def test_every_reader_has_the_bounds_of_the_role() -> None:
    assert profile_of_compose() == profile_of_embedded() == profile_of_sql()
    assert {name for name, (_, bounds) in profile_of_sql().items() if not bounds} == {"readonly"}


def test_the_admin_runs_init_again_and_recount_may_delete(server: StackState) -> None:
    assert not migrate(as_user(server, "admin"))
    with ClickHouse(as_user(server, "admin")) as client:
        client.execute("ALTER TABLE posts DELETE WHERE post_id = 'nobody' SETTINGS mutations_sync = 2")
        for statement in ELSEWHERE:
            # A migration that moves rows waits for inserts, so the admin sees which run.
            if statement != "SELECT * FROM system.processes":
                with pytest.raises(Refused, match="Not enough privileges"):
                    client.select(statement)


def test_the_admin_runs_retention_and_the_writer_only_where_it_may(server: StackState) -> None:
    policy = RetentionPolicy(posts_days=30, conversations_days=30, history_days=30, quiet_seconds=0, grace_seconds=0)
    tables = ("events", "post_minutes", "post_history", "conversation_posts", "conversation_minutes")

    def run(user: str, post_id: str) -> Retired:
        with ClickHouse(as_user(server, user)) as client:
            row = {"post_id": [post_id], "version": [1]}
            client.insert("events", row | {"kind": [1], "action": [1], "event_id": [post_id]})
            client.insert("post_metrics", row | {"as_of": [60], "age_minutes": [1]})
            client.insert("conversation_minutes", {"conversation": ["c"], "minute": [60], "version": [1]})
            roll_days(client, int(time.time()) // 86_400)
            return Retention(client, as_user(server, user), policy).run(time.time(), lambda seconds: True)

    assert run("admin", "r1").gone == 1
    with pytest.raises(Refused, match="Not enough privileges"):
        run("writer", "r2")
    with ClickHouse(as_user(server, "admin")) as client:
        assert client.select("SELECT post_id, state FROM retired_posts FINAL WHERE post_id = 'r1'") == [
            ["r1"],
            ["gone"],
        ]
        for table in tables:
            condition = "minute < 100" if table == "conversation_minutes" else "post_id = 'r1'"
            assert client.select(f"SELECT count() FROM {table} WHERE {condition}")[0][0] == int(table == tables[-1])


def test_the_admin_may_do_what_an_erasure_needs(server: StackState) -> None:
    settings = as_user(server, "admin")
    with ClickHouse(settings) as client:
        client.insert("posts_active", {"post_id": ["e1", "e2"], "version": [1, 1]})
        deletion = Deletion(client, settings)
        deletion.begin()
        deletion.add(ERASED_POSTS, [("e1", "")])
        delete_copies(deletion)
        deletion.purge()
        deletion.end()
        assert client.select("SELECT post_id FROM posts_active WHERE post_id LIKE 'e_'") == [["e2"]]


def test_the_writer_checks_tables_adds_rows_and_reads_them(server: StackState) -> None:
    with ClickHouse(as_user(server, "writer")) as client:
        verify_tables(client)
        client.insert("posts", {"post_id": ["p"] * 50, "author_id": ["a"] * 50, "version": list(range(1, 51))})
        client.insert("post_metrics", {"post_id": ["p"], "as_of": [60], "likes": [3], "version": [1]})
        client.insert_missing("conversation_closed", {"conversation": ["c"], "minute": [60]})
        wanted = {"wanted": ("post_id String", [("p",), ("q",)])}
        query = "SELECT author_id FROM posts FINAL WHERE post_id IN (SELECT post_id FROM wanted)"
        assert client.select(query, tables=wanted) == [["a"]]
        assert client.select("SELECT likes FROM post_history WHERE post_id = 'p'") == [[3]]
        assert client.select("SELECT count() > 0 FROM system.disks") == [[1]]


@pytest.mark.parametrize("statement", [s for s in WRITES if not s.startswith("INSERT")] + ELSEWHERE)
def test_the_writer_does_nothing_else(server: StackState, statement: str) -> None:
    with ClickHouse(as_user(server, "writer")) as client, pytest.raises(Refused, match="Not enough privileges"):
        client.execute(statement)


@pytest.mark.parametrize("user", READERS)
def test_a_reader_sees_each_view_and_each_panel_of_the_dashboards(server: StackState, user: str) -> None:
    with ClickHouse(as_user(server, user)) as client:
        for view in all_views():
            if view.name.endswith("_v"):
                client.select(f"SELECT * FROM {view.name} LIMIT 1")
        client.select("SELECT * FROM post_metrics_at(t = '2026-01-01T12:00:00Z')")
        client.select("SELECT * FROM share_of_voice(since = '2026-01-01', until = '2026-01-02')")
        asked = [query for dashboard in DASHBOARDS.values() for query in sql_of(dashboard).values()]
        for query in asked:
            client.select(as_the_data_source_sends_it(query, CHOSEN, 1_767_225_600, 1_767_229_200))
        assert len(asked) > 45


@pytest.mark.parametrize("user", READERS)
def test_a_reader_lists_each_view_once_and_no_table(server: StackState, user: str) -> None:
    views = sorted(view.name for view in all_views())
    with ClickHouse(as_user(server, user)) as client:
        listed = client.select("SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name")
        assert listed == [views]
        described = "SELECT DISTINCT table FROM system.columns WHERE database = currentDatabase() ORDER BY table"
        assert client.select(described) == [[name for name in views if name.endswith("_v")]]
        for table in TABLES:
            with pytest.raises(Refused, match="Not enough privileges"):
                client.select(f"SELECT count() FROM {table.name}")


@pytest.mark.parametrize("user", READERS)
def test_a_reader_sees_the_sizes_of_the_tables_of_its_database_alone(server: StackState, user: str) -> None:
    with ClickHouse(as_user(server, "default")) as client:
        client.execute("INSERT INTO other.secrets VALUES (1)")
        client.execute("INSERT INTO engagement.posts (post_id, version) VALUES ('sized', 1)")
    with ClickHouse(as_user(server, user)) as client:
        rows = dict(zip(*client.select("SELECT table_name, rows FROM storage_v"), strict=True))
        assert rows["posts"] >= 1
        assert "secrets" not in rows
        assert {table.name for table in TABLES} <= rows.keys()
        assert client.select("SELECT count() FROM merges_v WHERE table_name = 'secrets'") == [[0]]


@pytest.mark.parametrize("user", READERS)
@pytest.mark.parametrize(
    "statement", [*WRITES, *ELSEWHERE, "SELECT * FROM system.parts", "CREATE TEMPORARY TABLE x (a UInt8)"]
)
def test_a_reader_writes_nothing_and_reads_nothing_else(server: StackState, user: str, statement: str) -> None:
    with ClickHouse(as_user(server, user)) as client, pytest.raises(Refused, match=r"Not enough privileges|READONLY"):
        client.execute(statement)


@pytest.mark.parametrize("user", READERS)
@pytest.mark.parametrize(("setting", "value"), [(name, value) for name, values in LIFTED.items() for value in values])
def test_a_reader_lifts_no_limit(server: StackState, user: str, setting: str, value: str) -> None:
    given = f"'{value}'" if value.isalpha() else value
    session = f"{user}{setting}{value}"
    before = _ask(server, user, f"SELECT getSetting('{setting}')")
    for said in (
        _ask(server, user, f"SELECT 1 SETTINGS {setting} = {given}"),
        _ask(server, user, "SELECT 1", **{setting: value}),
        _ask(server, user, f"SET {setting} = {given}", session_id=session),
        _ask(server, user, f"SET profile = 'default', {setting} = {given}", session_id=session),
    ):
        assert "SETTING_CONSTRAINT_VIOLATION" in said or "READONLY" in said
    assert _ask(server, user, f"SELECT getSetting('{setting}')", session_id=session) == before


@pytest.mark.parametrize("user", READERS)
def test_a_reader_gains_nothing_by_another_profile(server: StackState, user: str) -> None:
    for profile in ("default", "loose"):
        session = f"{user} {profile}"
        _ask(server, user, f"SET profile = '{profile}'", session_id=session)
        assert _ask(server, user, "SELECT getSetting('max_execution_time')", session_id=session) == "60"
        assert "VIOLATION" in _ask(server, user, "SET max_execution_time = 1000", session_id=session)


@pytest.mark.parametrize("user", READERS)
def test_limits_hold_and_what_drivers_ask_for_is_allowed(server: StackState, user: str) -> None:
    with ClickHouse(as_user(server, user)) as client:
        with pytest.raises(Refused, match="Limit for rows"):
            client.select("SELECT sum(number) FROM numbers(10000000001)")
        with pytest.raises(Exhausted):
            client.select("SELECT sleepEachRow(1) FROM numbers(10) SETTINGS max_execution_time = 1, max_block_size = 1")
        with pytest.raises(Exhausted):
            client.select(
                "SELECT length(groupArray(number)) FROM numbers(100000000) SETTINGS max_memory_usage = 10000000"
            )
        for setting in (
            "max_execution_time = 65",
            "max_threads = 2",
            "max_result_rows = 5",
            "date_time_input_format = 'best_effort'",
        ):
            assert client.select(f"SELECT 1 SETTINGS {setting}") == [[1]]


def _ask(server: StackState, user: str, query: str, **settings: str) -> str:
    """The answer over HTTP, or the error's text."""
    connection = http.client.HTTPConnection("127.0.0.1", server.clickhouse_http, timeout=30)
    try:
        connection.request("POST", "/?" + urlencode({"user": user, "database": "engagement", **settings}), body=query)
        return connection.getresponse().read().decode().strip()
    finally:
        connection.close()

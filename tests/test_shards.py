"""Tables that are spread over two shards: two real servers, of which each knows the other.

The same events give the same answers as on one server, rows of a post stay together, and a shard that is away is waited
for.
"""

import json
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from deploy.clickhouse.drafting import View
from deploy.clickhouse.views import all_views
from pipeline.cli import engagement as command
from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.ddl import render
from pipeline.clickhouse.migrations import Changes, migrate, pending_migrations, undurable_tables, verify_tables
from pipeline.clickhouse.sharded_schema import spread_by
from pipeline.clickhouse.shards import for_stored, is_for_shards, shards_of
from pipeline.embedded.clickhouse import DATABASE
from pipeline.embedded.endpoints import StackEndpoints
from pipeline.embedded.stack import Stack
from pipeline.errors import Refused, SchemaDrift, SettingsError, Unavailable
from pipeline.kafka.publisher import open_publisher
from pipeline.settings import Settings, load_settings
from processors.retention.policy import RetentionPolicy
from processors.retention.retention import Retention, Retired
from schemas.tables import TABLES, TOMBSTONE_VERSION
from tests.end_to_end.checks import engagement, environment_of
from tests.end_to_end.workers import Workers, wait_until
from tests.rolled_days import roll_days
from tests.sharded_clickhouse import CLUSTER, ShardedClickHouse

SPREAD: Final = {"clickhouse_cluster": CLUSTER, "clickhouse_sharded": True}
FED: Final = ("known_posts", "post_history", "post_metrics_active", "posts_active")
EVENTS: Final = 3000
WHO: Final = "did:plc:forgotten7xyz"

BY_THE_CLOCK: Final = ("stored_seconds_ago", "asked_at")
"""Columns of views that change from one query to the next; others as of now change with the minute."""

OF_A_SERVER: Final = ("storage_v", "merges_v")
"""Views of the parts that a server has; each shard's own are in its stored database."""

HOW: Final = (
    "SETTINGS distributed_product_mode = 'global', max_ast_elements = 1000000, max_expanded_ast_elements = 5000000"
)
GIVEN: Final = {
    "t": "2026-03-01 18:00:00",
    "since": "2026-03-01 00:00:00",
    "until": "2026-03-02 00:00:00",
    "channel": "x",
    "author": "a",
}
"""What views with parameters are asked for."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShardedClickHouse]:
    cluster = ShardedClickHouse(tmp_path_factory.mktemp("shards"))
    try:
        cluster.up(0, 1)
        yield cluster
    finally:
        cluster.down()


@pytest.fixture
def spread(servers: ShardedClickHouse, stack: Stack, addresses: StackEndpoints) -> Iterator[Settings]:
    """Settings of an empty database over both shards, by way of the first, and topics of this test alone."""
    name = f"s{uuid.uuid4().hex[:12]}"
    its = servers.settings(0, name, kafka=addresses.kafka, topic_prefix=name, **SPREAD)
    migrate(its)
    yield its
    for index in (0, 1):
        with ClickHouse(servers.settings(index), database="default") as client:
            for database in (name, f"shard_of_{name}", f"{name}_one"):
                client.execute(f"DROP DATABASE IF EXISTS {database}")


def _environment(settings: Settings) -> dict[str, str]:
    sharded = {"ENGAGEMENT_CLICKHOUSE_CLUSTER": CLUSTER, "ENGAGEMENT_CLICKHOUSE_SHARDED": "true"}
    return environment_of(settings, os.environ) | (sharded if settings.clickhouse_sharded else {})


# ---------------------------------------------------------------- schema


def test_init_makes_tables_and_views_on_each_shard(servers: ShardedClickHouse, spread: Settings) -> None:
    assert migrate(spread) == Changes()
    name = spread.clickhouse_url.database
    for index in (0, 1):
        with ClickHouse(servers.settings(index, name)) as client:
            verify_tables(client)
            assert pending_migrations(client) == []
            assert sorted(undurable_tables(client)) == sorted(table.name for table in TABLES)
            engines = dict(
                zip(
                    *client.select("SELECT name, engine FROM system.tables WHERE database = currentDatabase()"),
                    strict=True,
                )
            )
            assert {engines[table.name] for table in TABLES} == {"Distributed"}
            assert {view.name for view in all_views()} <= engines.keys()
        assert servers.select(index, f"SELECT count() FROM shard_of_{name}.events") == [[0]]


def test_a_shard_that_was_altered_is_named_with_the_cure(servers: ShardedClickHouse, spread: Settings) -> None:
    stored = f"shard_of_{spread.clickhouse_url.database}"
    with ClickHouse(servers.settings(1, stored)) as second, ClickHouse(spread) as client:
        second.execute("CREATE OR REPLACE TABLE posts AS posts ENGINE = ReplacingMergeTree(stored_at) ORDER BY post_id")
        with pytest.raises(SchemaDrift, match="posts has version column stored_at, it has to be version"):
            verify_tables(client)


def test_a_distributed_table_that_was_dropped_or_lacks_a_column_is_made_again(spread: Settings) -> None:
    with ClickHouse(spread) as client:
        client.execute("DROP TABLE carry_over")
        client.execute(
            f"CREATE OR REPLACE TABLE posts (post_id String) ENGINE = Distributed('{CLUSTER}', "
            f"'shard_of_{spread.clickhouse_url.database}', 'posts')"
        )
        with pytest.raises(SchemaDrift):
            verify_tables(client)
        migrate(spread)
        verify_tables(client)


def test_wrong_clusters_are_refused(servers: ShardedClickHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    with ClickHouse(servers.settings(0), database="default") as client:
        with pytest.raises(Refused, match=r"has no cluster 'other'.*remote_servers"):
            shards_of(client, "other")
        assert [shard.number for shard in shards_of(client, CLUSTER)] == [1, 2]
    monkeypatch.setenv("ENGAGEMENT_CLICKHOUSE_SHARDED", "true")
    with pytest.raises(SettingsError, match="set ENGAGEMENT_CLICKHOUSE_CLUSTER too"):
        load_settings()


def test_rows_of_a_key_are_on_one_shard() -> None:
    """FINAL on each shard is FINAL of the whole only if the hash is a function of the sorting key."""
    for table in TABLES:
        hashed = spread_by(table).removeprefix("cityHash64(").removesuffix(")").split(", ")
        assert set(hashed) <= set(table.order_by), table.name
    by = {table.name: spread_by(table) for table in TABLES}
    for name in ("events", "known_posts", "posts", "post_minutes", "post_metrics", "post_history"):
        assert by[name] == "cityHash64(post_id)", "what feeds a table lies where that table's row belongs"


def test_statements_for_shards() -> None:
    settings = Settings(clickhouse=SecretStr("clickhouse://h/engagement"), **SPREAD)  # type: ignore[arg-type]
    assert render("ALTER TABLE {database}.posts {cluster} DELETE", settings).split() == [
        "ALTER",
        "TABLE",
        "engagement.posts",
        "DELETE",
    ]
    assert for_stored("DELETE FROM `engagement`.posts WHERE url = 'https://engagement.example'", settings) == (
        "DELETE FROM shard_of_engagement.posts WHERE url = 'https://engagement.example'"
    )
    assert for_stored("ALTER TABLE posts DELETE WHERE t IN (SELECT 'a engagement.x')", settings).startswith(
        "ALTER TABLE posts"
    )
    changing = ("ALTER TABLE a", " delete from a", "OPTIMIZE TABLE a FINAL", "TRUNCATE TABLE a")
    assert all(map(is_for_shards, changing))
    assert not any(map(is_for_shards, ("CREATE TABLE a", "SELECT 1", "INSERT INTO a", "DROP VIEW a", "ALTER USER a")))


# ---------------------------------------------------------------- worker, views, recount


def test_a_worker_fills_both_and_answers_are_those_of_one_server(
    servers: ShardedClickHouse, spread: Settings, tmp_path: Path
) -> None:
    environment = _environment(spread)
    engagement(environment, "init")
    sent = _send(environment, 1)
    with Workers(tmp_path, environment) as workers:
        workers.catch_up()
    assert "0 differences" in engagement(environment, "recount", "--check")
    name = spread.clickhouse_url.database
    with ClickHouse(spread) as client:
        assert client.select("SELECT uniqExact(post_id, kind, action, event_id) FROM events") == [[sent]]
    by_shard = [servers.select(i, f"SELECT DISTINCT post_id FROM shard_of_{name}.events")[0] for i in (0, 1)]
    assert min(map(len, by_shard)) > 20
    assert not set(by_shard[0]) & set(by_shard[1])

    one = servers.settings(0, f"{name}_one")
    migrate(one)
    with ClickHouse(one) as client:
        for table in TABLES:
            if table.name not in FED:
                columns = ", ".join(f"`{column.name}`" for column in table.columns)
                client.execute(f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {name}.{table.name} FINAL")
        [author], [channel] = client.select("SELECT author_id, channel FROM posts ORDER BY post_id LIMIT 1")
        asked = {view.name: _call(view, GIVEN | {"author": author, "channel": channel}) for view in all_views()}
        filled = [name for name, call in asked.items() if client.select(f"SELECT count() FROM {call}") != [[0]]]
        assert len(filled) >= 15, "most views have rows, so there is something to compare"
    differing = {}
    for view, call in asked.items():
        # Asked again where a minute ended between the two questions.
        for _ in range(0 if view in OF_A_SERVER else 3):
            if not (found := _differing_columns(servers, call, name, f"{name}_one")):
                differing.pop(view, None)
                break
            differing[view] = found
    assert differing == {}, "columns that differ between two shards and one server"
    other = servers.settings(1, name, **SPREAD)
    with ClickHouse(spread) as first, ClickHouse(other) as second:
        for table in TABLES:
            counted = f"SELECT count(), sum(cityHash64({', '.join(table.order_by)})) FROM {table.name} FINAL"
            assert first.select(counted) == second.select(counted), table.name


def _call(view: View, given: Mapping[str, str]) -> str:
    """How SQL asks a view, with values for its parameters."""
    wanted = sorted(set(re.findall(r"\{(\w+):", view.sql)))
    return f"{view.name}({', '.join(f'{name} = {given[name]!r}' for name in wanted)})" if wanted else view.name


def _differing_columns(servers: ShardedClickHouse, call: str, spread: str, one: str) -> list[str]:
    """The columns of a view whose values, as a multiset, differ; "rows" where only whole rows do."""
    names, types, *_ = servers.select(0, f"DESCRIBE (SELECT * FROM {one}.{call})")
    # Sums of floats depend on the order of the addends.
    shown = {
        str(name): f"round(`{name}`, 6)" if re.fullmatch(r"(Nullable\()?Float64\)?", str(type_)) else f"`{name}`"
        for name, type_ in zip(names, types, strict=True)
        if name not in BY_THE_CLOCK
    }
    hashes = ", ".join(f"sum(sipHash64({column}))" for column in [*shown.values(), ", ".join(shown.values())])
    a, b = (servers.select(0, f"SELECT count(), {hashes} FROM {database}.{call} {HOW}") for database in (spread, one))
    return [name for name, left, right in zip(["count", *shown, "rows"], a, b, strict=True) if left != right]


def test_a_reader_asks_each_view_on_each_shard(servers: ShardedClickHouse) -> None:
    spread = servers.settings(0, DATABASE, **SPREAD)
    migrate(spread)
    posts = [f"p{n}" for n in range(100)]
    try:
        with ClickHouse(spread) as client:
            client.insert(
                "posts", {"post_id": posts, "author_id": ["a"] * 100, "channel": ["x"] * 100, "version": [1] * 100}
            )
            client.insert("post_metrics", {"post_id": posts, "as_of": [1_700_000_000] * 100, "version": [1] * 100})
        for index in (0, 1):
            with ClickHouse(servers.reader(index)) as reader:
                for view in all_views():
                    reader.select(f"SELECT * FROM {_call(view, GIVEN)} LIMIT 1")
                assert reader.select("SELECT count(), uniqExact(author_id) FROM post_metrics_v") == [[100], [1]]
                with pytest.raises(Refused):
                    reader.select("SELECT count() FROM posts")
    finally:
        for index in (0, 1):
            with ClickHouse(servers.settings(index), database="default") as client:
                client.execute(f"DROP DATABASE IF EXISTS shard_of_{DATABASE}")
                client.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
                client.execute(f"CREATE DATABASE {DATABASE}")


def test_recount_mends_rows_on_each_shard(servers: ShardedClickHouse, spread: Settings, tmp_path: Path) -> None:
    environment = _environment(spread)
    engagement(environment, "init")
    _send(environment, 2, events=400, posts=60)
    with Workers(tmp_path, environment) as workers:
        workers.catch_up()
    with ClickHouse(spread) as client:
        # Rows that claim more than the log has: recount must delete them where they lie.
        posts = client.select("SELECT post_id FROM post_metrics FINAL ORDER BY post_id LIMIT 10")[0]
        client.insert(
            "post_metrics",
            {"post_id": posts, "as_of": [1_700_000_000] * 10, "likes": [7] * 10, "version": [1 << 62] * 10},
        )
        roll_days(client, int(time.time()) // 86_400)
        days = "SELECT * FROM conversation_days_v ORDER BY conversation, day"
        rolled = client.select(days)
        assert set(rolled[-2]) == {1}, "all days are closed"
        forged = f"SELECT conversation, day, 99, {1 << 62} FROM conversation_days FINAL ORDER BY conversation LIMIT 40"
        client.insert_answer("conversation_days", ("conversation", "day", "likes", "version"), forged)
        assert client.select("SELECT count() FROM conversation_days FINAL WHERE likes = 99") == [[40]]
    lied = [
        servers.select(
            i,
            f"SELECT count() FROM shard_of_{spread.clickhouse_url.database}.post_metrics WHERE version = {1 << 62}",
        )
        for i in (0, 1)
    ]
    assert all(count != [[0]] for count in lied), "forged rows on both shards"
    engagement(environment, "recount")
    assert "0 differences" in engagement(environment, "recount", "--check")
    with ClickHouse(spread) as client:
        assert client.select(days) == rolled


# ---------------------------------------------------------------- erasure, retention


def test_a_person_leaves_both_shards(servers: ShardedClickHouse, spread: Settings, tmp_path: Path) -> None:
    environment = _environment(spread) | {"ENGAGEMENT_ERASURE_KEY": "0123456789abcdef" * 2}
    engagement(environment, "init")
    _send(environment, 5)
    name = spread.clickhouse_url.database
    with Workers(tmp_path, environment) as workers:
        worker = workers.start()
        worker.wait_until_ready()
        engagement(environment, "recount", "--check", "--wait", "180", "--json")
        with ClickHouse(spread) as client:
            # A shorter account is not looked for in files.
            most = "SELECT author_id FROM posts WHERE length(author_id) > 4 GROUP BY 1 ORDER BY count() DESC LIMIT 1"
            [[author]] = client.select(most)
            [others] = client.select(f"SELECT post_id FROM posts FINAL WHERE author_id != '{author}'")
        _comment(spread, WHO, [WHO, *others])
        engagement(environment, "recount", "--check", "--wait", "180", "--json")
        who = ["--actor", WHO, "--actor", author]
        comments = [_of_shard(servers, i, name, f"actor_id = '{WHO}' AND post_id != '{WHO}'") for i in (0, 1)]
        assert sum(comments) == len(others)
        assert min(comments) > 20
        done = json.loads(engagement(environment, "forget", *who, "--json"))
        assert done["posts"] > 1
        assert done["refolded"] >= len(others)
        left = json.loads(engagement(environment, "forget", *who, "--check", "--json"))
        assert left["flaws"] == []
        assert left["files_searched"] > 100
        assert worker.end() == 0, worker.tail
    with ClickHouse(spread) as client:
        late = f"SELECT count() FROM conversation_spikes WHERE endsWith(conversation, '/{author}')"
        assert client.select(late) == [[0]], "an open spike that the worker resolves later"
    for index in (0, 1):
        stand = f"version >= {TOMBSTONE_VERSION} AND event_id LIKE 'reply%'"
        assert _of_shard(servers, index, name, stand) == comments[index]
        assert servers.select(
            index, f"SELECT count() FROM system.tables WHERE database LIKE '%{name}' AND name LIKE 'erasing%'"
        ) == [[0]]
    assert "0 differences" in engagement(environment, "recount", "--check")


def _comment(settings: Settings, actor: str, posts: Sequence[str]) -> None:
    """Sends a post by the actor, whose id is the first, and a comment by the actor on each of the others."""
    with open_publisher(settings) as publisher:
        for number, post_id in enumerate(posts):
            kind, event_id = ("comment", f"reply{number}") if number else ("post", post_id)
            event = {"kind": kind, "post_id": post_id, "event_id": event_id, "actor_id": actor}
            told = json.dumps(event | {"occurred_at": "2026-03-01T12:00:00Z"})
            publisher.send(settings.topics.of(kind), post_id.encode(), told.encode())


def _of_shard(servers: ShardedClickHouse, index: int, name: str, condition: str) -> int:
    """The number of events of one shard."""
    [[count]] = servers.select(
        index, f"SELECT uniqExact(post_id, event_id) FROM shard_of_{name}.events WHERE {condition}"
    )
    return int(str(count))


def test_old_posts_leave_both_shards(servers: ShardedClickHouse, spread: Settings, tmp_path: Path) -> None:
    environment = _environment(spread)
    engagement(environment, "init")
    _send(environment, 6)
    with Workers(tmp_path, environment) as workers:
        workers.catch_up()
    name, now = spread.clickhouse_url.database, time.time()
    with ClickHouse(spread) as client:
        [[middle]] = client.select("SELECT toUnixTimestamp(quantileExact(0.5)(as_of)) FROM post_metrics FINAL")
        [[old]] = client.select(f"SELECT count() FROM post_metrics FINAL WHERE as_of < toDateTime({middle}, 'UTC')")
        days = (now - middle) / 86_400
        policy = RetentionPolicy(posts_days=days, conversations_days=days, quiet_seconds=0, grace_seconds=0)
        retention = Retention(client, spread, policy)
        preview = retention.preview(now)
        retired = retention.run(now, lambda seconds: True)
        assert preview.gone == retired.gone == old > 50
        assert retired.conversation_minutes > 0
        assert retention.run(now, lambda seconds: True) == Retired()
        # Deleted rows are more than a tenth of each table, so the server has written its parts again, on each shard.
        for index in (0, 1):
            stored = f"database = 'shard_of_{name}' AND active AND table = 'events'"
            [[hidden]] = servers.select(index, f"SELECT sum(has_lightweight_delete) FROM system.parts WHERE {stored}")
            assert hidden == 0
            [[kept]] = servers.select(index, f"SELECT uniqExact(post_id) FROM shard_of_{name}.events")
            assert kept > 20
    assert "0 differences" in engagement(environment, "recount", "--check")


# ---------------------------------------------------------------- a shard away


def test_a_shard_away_is_waited_for(servers: ShardedClickHouse, spread: Settings, tmp_path: Path) -> None:
    environment = _environment(spread)
    engagement(environment, "init")
    sent = _send(environment, 3)
    name = spread.clickhouse_url.database
    try:
        with Workers(tmp_path, environment) as workers:
            worker = workers.start(flush_seconds=0.1, flush_events=200, test_pause=0.15)
            wait_until(lambda: _stored(servers, name) > 0, 90, "nothing is stored", lambda: worker.tail)
            servers.kill(1)
            with ClickHouse(spread) as client, pytest.raises(Unavailable):
                client.select("SELECT count() FROM events")
            wait_until(lambda: "cannot now" in worker.log or "does not answer" in worker.log, 90, "nobody says so")
            assert worker.alive, worker.tail
            sent += _send(environment, 4)
            servers.up(1)
            wait_until(lambda: _unread(environment) == 0, 180, "not all is read", lambda: worker.tail)
            assert worker.end(60) == 0, worker.tail
            workers.catch_up()
    finally:
        if servers.is_down(1):
            servers.up(1)
    with ClickHouse(spread) as client:
        assert client.select("SELECT uniqExact(post_id, kind, action, event_id) FROM events") == [[sent]]
    assert "0 differences" in engagement(environment, "recount", "--check")


def _stored(servers: ShardedClickHouse, name: str) -> int:
    [[rows]] = servers.select(0, f"SELECT count() FROM shard_of_{name}.events")
    return int(str(rows))


def _unread(environment: dict[str, str]) -> int:
    done = CliRunner().invoke(command, ["recount", "--json", "--check"], env=environment)
    return sum(json.loads(done.stdout)["unread"].values())


def _send(environment: dict[str, str], seed: int, events: int = EVENTS, posts: int = 200) -> int:
    """Sends a simulation and returns how many events there are in it."""
    words = ["simulate", "--events", str(events), "--posts", str(posts), "--seed", str(seed), "--json"]
    said = engagement(environment, *words, "--start", "2026-03-01T00:00:00Z")
    return int(json.loads(said)["total"])

"""Migrations: applied once, refused when changed; and the real tables are those that schemas/tables.py declares."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from deploy.clickhouse.views import all_views
from pipeline.clickhouse import migrations
from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.compression import GROWING, codec_of, uncoded_columns, uncompressed_tables
from pipeline.clickhouse.ddl import render
from pipeline.clickhouse.migrations import (
    BASELINE,
    Changes,
    Migration,
    all_migrations,
    migrate,
    pending_migrations,
    undurable_tables,
    verify_tables,
)
from pipeline.clickhouse.views import WRITTEN, pending_views
from pipeline.errors import SchemaDrift
from pipeline.settings import Settings
from schemas.tables import TABLES, Table

CLUSTERED = Settings(clickhouse="clickhouse://h/other_name", clickhouse_cluster="main")


@pytest.fixture
def client(settings: Settings) -> Iterator[ClickHouse]:
    migrate(settings)
    with ClickHouse(settings) as client:
        yield client


def test_applied_once(settings: Settings) -> None:
    names = [migration.name for migration in all_migrations()]
    assert names == sorted(names)
    assert names[0] == BASELINE
    views = tuple(view.name for view in all_views())
    assert migrate(settings) == Changes(migrations=tuple(names), views=views)
    assert migrate(settings) == Changes()


def test_makes_the_database(settings: Settings) -> None:
    with ClickHouse(settings, database="") as client:
        client.execute(f"DROP DATABASE {settings.clickhouse_url.database}")
    assert migrate(settings)


def test_two_at_once_end_in_the_same_tables(settings: Settings) -> None:
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(migrate, settings) for _ in range(4)]:
            future.result()
    with ClickHouse(settings) as client:
        verify_tables(client)
        assert not pending_migrations(client)
        assert not pending_views(client, settings)
    assert not migrate(settings)


def test_a_file_that_was_cut_off_is_run_again(settings: Settings) -> None:
    first = all_migrations()[0].statements(settings)[:3]
    with ClickHouse(settings) as client:
        for statement in first:
            client.execute(statement)
    assert migrate(settings).migrations == tuple(migration.name for migration in all_migrations())


def test_a_further_migration_is_applied_and_then_views_are_written(
    client: ClickHouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter = "ALTER TABLE {database}.posts {cluster} ADD COLUMN IF NOT EXISTS more UInt8"
    further = Migration("9999_further.sql", alter)
    known = all_migrations()
    monkeypatch.setattr(migrations, "all_migrations", lambda: [*known, further])
    client.execute("DROP VIEW posts_v")
    assert migrate(settings) == Changes(migrations=(further.name,), views=("posts_v",))
    assert client.select("SELECT more FROM posts") == [[]]
    assert not migrate(settings)


def test_durable_tables_sync_each_insert_and_can_go_back(settings: Settings) -> None:
    durable = settings.model_copy(update={"durable": True})
    synced = []
    with ClickHouse(settings) as client:
        for each in (settings, durable, settings):
            migrate(each)
            before = _syncs(client)
            client.insert("posts", {"post_id": ["p"], "version": [1]})
            synced.append(_syncs(client) > before)
            assert bool(undurable_tables(client)) is not each.durable
    assert synced == [False, True, False]


def test_tables_are_compressed_unless_somebody_chose_otherwise(client: ClickHouse, settings: Settings) -> None:
    client.execute("ALTER TABLE events RESET SETTING default_compression_codec")
    client.execute("ALTER TABLE posts MODIFY SETTING default_compression_codec = 'ZSTD(9)'")
    assert uncompressed_tables(client) == ["events"]
    migrate(settings)
    names, engines = client.select(
        "SELECT name, extract(engine_full, 'default_compression_codec = \\'([^\\']+)') FROM system.tables "
        "WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
    )
    codecs = dict(zip(names, engines, strict=True))
    assert [codecs[table.name] for table in TABLES if table.name != "posts"] == ["ZSTD(1)"] * (len(TABLES) - 1)
    assert codecs["posts"] == "ZSTD(9)"


def test_columns_of_growing_tables_have_cheap_codecs_unless_somebody_chose_otherwise(
    client: ClickHouse, settings: Settings
) -> None:
    client.execute("ALTER TABLE post_minutes MODIFY COLUMN likes REMOVE CODEC, MODIFY COLUMN shares CODEC(NONE)")
    assert uncoded_columns(client) == {"post_minutes": {"likes": "T64, LZ4"}}
    migrate(settings)
    tables, names, found = client.select(
        "SELECT table, name, compression_codec FROM system.columns WHERE database = currentDatabase()"
    )
    codecs = dict(zip(zip(tables, names, strict=True), found, strict=True))
    for table in GROWING:
        for column in table.columns:
            wanted = "NONE" if (table.name, column.name) == ("post_minutes", "shares") else codec_of(table, column)
            if wanted:
                assert codecs[table.name, column.name] == f"CODEC({wanted})", column.name
    assert codecs["events", "occurred_at"] == codecs["events", "version"] == "CODEC(T64, LZ4)"


def test_a_changed_file_is_refused(client: ClickHouse, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *rest = all_migrations()
    monkeypatch.setattr(migrations, "all_migrations", lambda: [Migration(first.name, first.sql + "-- more"), *rest])
    with pytest.raises(SchemaDrift, match=f"{first.name} was changed after it had been applied: restore the file"):
        migrate(settings)


def test_a_newer_database_is_refused(client: ClickHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    older = all_migrations()[:-1]
    monkeypatch.setattr(migrations, "all_migrations", lambda: older)
    with pytest.raises(SchemaDrift, match=f"{all_migrations()[-1].name}, which this version does not know"):
        pending_migrations(client)


def test_tables_are_as_declared_to_the_letter(client: ClickHouse) -> None:
    """Names, order, types, defaults, comments, keys, engines, comments of tables."""
    rows = client.select(
        "SELECT table, name, type, comment, default_expression FROM system.columns "
        "WHERE database = currentDatabase() ORDER BY table, position"
    )
    real: dict[str, list[tuple[str, ...]]] = {}
    for table, *column in zip(*rows, strict=True):
        real.setdefault(table, []).append(tuple(column))
    for table in TABLES:
        assert real[table.name] == [(c.name, c.type, c.comment, c.default or "") for c in table.columns]
    shapes = client.select(
        "SELECT name, comment, engine, sorting_key, partition_key FROM system.tables "
        "WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
    )
    found = {name: tuple(shape) for name, *shape in zip(*shapes, strict=True)}
    found.pop(migrations.APPLIED)
    found.pop(WRITTEN)
    assert found.keys() == {table.name for table in TABLES}
    for table in TABLES:
        comment, engine, sorting, partition = found[table.name]
        assert (comment, engine) == (table.comment, "ReplacingMergeTree")
        assert sorting.strip("()") == ", ".join(table.order_by).strip("()")
        assert partition == (table.partition_by or "")


def test_fed_tables_hold_what_they_are_fed(client: ClickHouse) -> None:
    client.insert(
        "events", {"post_id": ["p", "p", "q"], "kind": [1, 2, 2], "action": [1] * 3, "event_id": ["a", "b", "a"]}
    )
    assert client.select("SELECT post_id FROM known_posts ORDER BY post_id") == [["p", "q"]]
    for seen in (1, 2):
        row = {"as_of": [60 * seen], "age_minutes": [seen], "likes": [seen], "version": [seen]}
        client.insert("post_metrics", {"post_id": ["p"], **row})
    assert client.select("SELECT likes FROM post_metrics FINAL") == [[2]]
    assert client.select("SELECT likes FROM post_history FINAL ORDER BY as_of") == [[1, 2]]
    assert client.select("SELECT count() FROM post_metrics_active") == [[0]], "old rows are let pass by"
    client.execute(
        "INSERT INTO post_metrics (post_id, as_of, likes, version) SELECT 'p', now(), number, number FROM numbers(5)"
    )
    assert client.select("SELECT post_id, likes FROM post_metrics_active FINAL") == [["p"], [4]]


@pytest.mark.parametrize(
    ("altered", "said"),
    [
        ("ALTER TABLE post_minutes MODIFY COLUMN likes UInt64", "post_minutes.likes is UInt64, it has to be UInt32"),
        ("ALTER TABLE posts DROP COLUMN links", r"posts.links is missing.*undo what altered it"),
        ("DROP TABLE carry_over", "no table carry_over: run `engagement init`"),
        (
            "CREATE OR REPLACE TABLE known_posts (post_id String) ENGINE = MergeTree ORDER BY post_id",
            "known_posts has engine MergeTree, it has to be ReplacingMergeTree: move it away",
        ),
        (
            "CREATE OR REPLACE TABLE posts AS posts ENGINE = ReplacingMergeTree(stored_at) ORDER BY post_id",
            "posts has version column stored_at, it has to be version",
        ),
        (
            "CREATE OR REPLACE TABLE posts AS posts ENGINE = ReplacingMergeTree(version) ORDER BY (post_id, channel)",
            "posts has ORDER BY post_id, channel, it has to be post_id",
        ),
    ],
)
def test_an_altered_table_is_named_with_the_cure(client: ClickHouse, altered: str, said: str) -> None:
    client.execute("DROP VIEW posts_v")
    verify_tables(client)
    client.execute(altered)
    with pytest.raises(SchemaDrift, match=said):
        verify_tables(client)


def test_a_further_column_of_somebody_else_is_let_be(client: ClickHouse) -> None:
    client.execute("ALTER TABLE post_metrics ADD COLUMN ours UInt8")
    verify_tables(client)
    client.insert("post_metrics", {"post_id": ["p"], "version": [1]})
    assert client.select("SELECT count() FROM post_history") == [[1]]


def test_placeholders_are_all_filled_in() -> None:
    for statement in _clustered():
        assert "other_name." in statement
        assert not re.search(r"\{(database|cluster|replacing)", statement)
        # Rows are inserted on one replica, and replicated by their table.
        assert "ON CLUSTER 'main'" in statement or statement.startswith("INSERT INTO")


def test_tables_on_a_cluster_are_replicated() -> None:
    assert render("{replacing(version)}", CLUSTERED) == (
        "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/other_name/{table}', '{replica}', version)"
    )
    assert render("{replacing()}", Settings()) == "ReplacingMergeTree"
    assert render("{replacing(version)}", Settings()) == "ReplacingMergeTree(version)"


def test_the_server_can_parse_what_a_cluster_gets(client: ClickHouse) -> None:
    """Only parsed: the embedded server has no keeper."""
    for statement in _clustered():
        [tree] = client.select("EXPLAIN AST " + statement)
        assert tree[0].split(" ")[0] in ("CreateQuery", "AlterQuery", "DropQuery", "InsertQuery")


def test_a_replicated_table_passes_the_same_check() -> None:
    posts = next(table for table in TABLES if table.name == "posts")
    engine = "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/e/posts', '{replica}', version) ORDER BY post_id"
    _shape(posts, engine)
    with pytest.raises(SchemaDrift, match="version column none"):
        _shape(posts, engine.replace(", version", ""))


def _clustered() -> Iterator[str]:
    """Every statement of `engagement init` on a cluster."""
    for migration in all_migrations():
        yield from migration.statements(CLUSTERED)
    yield from (render(view.sql, CLUSTERED) for view in all_views())


def _syncs(client: ClickHouse) -> int:
    """Calls of fsync on this server so far."""
    return int(client.select("SELECT sum(value) FROM system.events WHERE event IN ('FileSync', 'DirectorySync')")[0][0])


def _shape(table: Table, engine: str) -> None:
    migrations._verify_shape(table, engine, ", ".join(table.order_by), table.partition_by or "")

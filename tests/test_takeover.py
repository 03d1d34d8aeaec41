"""A database that migrations 0001 to 0005 made, with data in every table, is taken over by `init` without loss.

Their SQL is in tests/fixtures alone, and is run here as the versions of then ran it.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from deploy.clickhouse.views import all_views
from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import BASELINE, BEFORE_BASELINE, all_migrations, migrate
from pipeline.commands import check, init
from pipeline.errors import CheckFailed, SchemaDrift
from pipeline.settings import Settings
from schemas.tables import POST_HISTORY, TABLES

OLD = sorted((Path(__file__).parent / "fixtures/migrations_0001_to_0005").glob("*.sql"))
OLD_RECORD = """\
CREATE TABLE IF NOT EXISTS schema_migrations (
    `name` String COMMENT 'File of deploy/clickhouse/migrations',
    `checksum` String COMMENT 'SHA-256 of its text',
    `applied_at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When its last statement was done'
) ENGINE = ReplacingMergeTree(applied_at) ORDER BY name COMMENT 'Migrations that this database has had'"""
ROWS = 20

LATER = tuple(migration.name for migration in all_migrations() if migration.name != BASELINE)
"""What is left to apply to a database that was taken over."""


@pytest.fixture
def old(settings: Settings) -> Iterator[ClickHouse]:
    """A connection to a database as the versions before the baseline made it, with rows in every table."""
    with ClickHouse(settings) as client:
        apply_old(client, settings, [path.name for path in OLD])
        _fill(client)
        yield client


@pytest.fixture
def fresh(settings: Settings) -> Iterator[Settings]:
    """Settings with a second, empty database."""
    name = f"t{uuid.uuid4().hex[:12]}"
    url = settings.clickhouse.get_secret_value().rpartition("/")[0]
    yield settings.model_copy(update={"clickhouse": SecretStr(f"{url}/{name}")})
    with ClickHouse(settings) as client:
        client.execute(f"DROP DATABASE IF EXISTS {name}")


def test_no_row_is_lost_and_all_is_as_in_a_fresh_database(old: ClickHouse, settings: Settings, fresh: Settings) -> None:
    columns = _kept(_columns(old))
    before = _contents(old, columns)
    assert before.keys() >= {"events", "known_posts", "posts", "post_minutes", "post_metrics", "post_history"}
    assert len(before) == 15
    assert all(rows > ROWS / 2 for rows, _ in before.values()), before

    changes = migrate(settings)
    assert changes.taken_over == (BASELINE,)
    assert changes.migrations == LATER
    assert changes.views == tuple(view.name for view in all_views())
    assert changes.dropped_views == ()
    assert _contents(old, columns) == before

    migrate(fresh)
    with ClickHouse(fresh) as client:
        statements = _statements(client, fresh)
    assert _statements(old, settings) == statements
    assert statements.keys() >= {table.name for table in TABLES} | {view.name for view in all_views()}


def test_a_second_init_changes_nothing(old: ClickHouse, settings: Settings) -> None:
    migrate(settings)
    before = _identities(old)
    assert not migrate(settings)
    assert _identities(old) == before


def test_feeds_go_on(old: ClickHouse, settings: Settings) -> None:
    migrate(settings)
    old.insert("events", {"post_id": ["new post"], "kind": [1], "action": [1], "event_id": ["new post"]})
    old.insert(
        "post_metrics", {"post_id": ["new post"], "as_of": [60], "age_minutes": [1], "likes": [3], "version": [1]}
    )
    assert old.select("SELECT count() FROM known_posts WHERE post_id = 'new post'") == [[1]]
    assert old.select("SELECT likes FROM post_history_v WHERE post_id = 'new post'") == [[3]]


def test_four_at_once(old: ClickHouse, settings: Settings, fresh: Settings) -> None:
    before = _contents(old, columns := _kept(_columns(old)))
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(migrate, settings) for _ in range(4)]:
            future.result()
    assert _contents(old, columns) == before
    migrate(fresh)
    with ClickHouse(fresh) as client:
        assert _statements(old, settings) == _statements(client, fresh)
    migrate(settings)
    assert not migrate(settings)


def test_a_view_of_then_that_is_not_defined_any_more_is_dropped_and_one_of_somebody_else_stays(
    old: ClickHouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    old.execute("CREATE VIEW mine_v AS SELECT 1 AS one")
    monkeypatch.setattr(
        "pipeline.clickhouse.views.all_views", lambda: [view for view in all_views() if view.name != "authors_v"]
    )
    assert migrate(settings).dropped_views == ("authors_v",)
    names = old.select("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View'")[0]
    assert sorted(names) == sorted([*(view.name for view in all_views() if view.name != "authors_v"), "mine_v"])
    assert not migrate(settings)


def test_views_of_then_may_be_missing(settings: Settings) -> None:
    """Where 0005_views.sql was cut off, or was not there yet, all tables are what they have to be."""
    with ClickHouse(settings) as client:
        apply_old(client, settings, [path.name for path in OLD if path.name != "0005_views.sql"])
    assert migrate(settings).taken_over == (BASELINE,)
    assert not migrate(settings)


def test_a_database_without_all_tables_of_then_is_refused_with_the_cure(settings: Settings) -> None:
    with ClickHouse(settings) as client:
        apply_old(client, settings, [path.name for path in OLD[:3]])
        with pytest.raises(SchemaDrift, match=r"has had migration 0003_views.sql, but not 0004_.* of the version that"):
            migrate(settings)
        assert client.select("SHOW TABLES LIKE 'conversation_marks'") == [[]]


def test_another_file_of_then_is_refused_with_the_cure(old: ClickHouse, settings: Settings) -> None:
    old.execute("INSERT INTO schema_migrations (name, checksum) SELECT '0001_tables.sql', 'other'")
    with pytest.raises(SchemaDrift, match=r"had another migration 0001_tables.sql than the one that 0005_baseline.sql"):
        migrate(settings)


def test_check_asks_for_init_which_says_what_it_did(
    old: ClickHouse, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        if name.startswith("ENGAGEMENT_"):
            monkeypatch.setenv(name, value)
    runner = CliRunner()
    result = runner.invoke(check)
    assert isinstance(result.exception, CheckFailed)
    assert re.search(r"tables lack the migrations .*0006_row_settings.*: run `engagement init`", result.output)
    said = runner.invoke(init, catch_exceptions=False).output
    assert f"took over the database of migrations before {BASELINE}: its tables stay as they are\n" in said
    assert f"applied migration {BASELINE}" not in said
    assert json.loads(runner.invoke(check, ["--json"]).stdout)
    assert runner.invoke(init).stdout == "all is there: nothing to do\n"


def test_the_old_files_are_those_that_the_baseline_stands_for() -> None:
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in OLD} == BEFORE_BASELINE


def apply_old(client: ClickHouse, settings: Settings, names: list[str]) -> None:
    """Applies old migrations and records them, as the versions of then did, without a cluster."""
    client.execute(OLD_RECORD)
    for path in OLD:
        if path.name in names:
            sql = path.read_text().replace("{database}", settings.clickhouse_url.database).replace("{cluster}", "")
            sql = re.sub(r"\{replacing\((\w*)\)\}", r"ReplacingMergeTree(\1)", sql)
            for statement in re.split(r";[ \t]*(?:\n|$)", re.sub(r"^\s*--.*$", "", sql, flags=re.MULTILINE)):
                if statement.strip():
                    client.execute(statement)
            client.execute(
                "INSERT INTO schema_migrations (name, checksum) SELECT %(name)s, %(checksum)s",
                {"name": path.name, "checksum": hashlib.sha256(path.read_bytes()).hexdigest()},
            )


def _fill(client: ClickHouse) -> None:
    """Inserts random rows into every table; what events and post_metrics feed has theirs too then."""
    for table, columns in _columns(client).items():
        structure = ", ".join(f"`{name}` {type_}" for name, type_ in columns.items())
        client.execute(
            f"INSERT INTO {table} SELECT * FROM generateRandom(%(structure)s, 1, 10, 3) LIMIT {ROWS}",
            {"structure": structure},
        )


def _columns(client: ClickHouse) -> dict[str, dict[str, str]]:
    """Table -> column -> type."""
    found: dict[str, dict[str, str]] = {}
    for table, name, type_ in zip(
        *client.select(
            "SELECT table, name, type FROM system.columns WHERE database = currentDatabase() AND table IN "
            "(SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree') "
            "AND table NOT LIKE 'schema_%' ORDER BY table, position"
        ),
        strict=True,
    ):
        found.setdefault(table, {})[name] = type_
    return found


def _kept(columns: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Leaves out the columns that post_history has no more, or with fewer digits."""
    now = {column.name: column.type for column in POST_HISTORY.columns}
    history = {name: type_ for name, type_ in columns["post_history"].items() if now.get(name) == type_}
    assert {"post_id", "as_of", "likes", "unanswered"} <= history.keys()
    return columns | {"post_history": history}


def _contents(client: ClickHouse, columns: dict[str, dict[str, str]]) -> dict[str, tuple[int, int]]:
    """Table -> rows and a checksum of the values in these columns, in whatever order the rows stand."""
    found = {}
    for table, names in columns.items():
        row = ", ".join(f"`{name}`" for name in names)
        [[rows], [checksum]] = client.select(
            f"SELECT count(), sum(sipHash64(toString(tuple({row})))) FROM (SELECT DISTINCT {row} FROM {table})"
        )
        found[table] = rows, checksum
    return found


def _statements(client: ClickHouse, settings: Settings) -> dict[str, str]:
    """Table or view -> the statement that the server keeps of it, without the database's name."""
    names, statements = client.select(
        "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()"
    )
    database = settings.clickhouse_url.database
    return {name: said.replace(database, "db") for name, said in zip(names, statements, strict=True)}


def _identities(client: ClickHouse) -> dict[str, str]:
    """Table or view -> its UUID, which changes when it is made or replaced."""
    names, uuids = client.select("SELECT name, toString(uuid) FROM system.tables WHERE database = currentDatabase()")
    return dict(zip(names, uuids, strict=True))

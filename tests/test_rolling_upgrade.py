"""A worker of an earlier release goes on after `init` of this one has changed the tables: all columns that the worker
sends and reads are still there."""

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.settings import Settings
from tests.test_takeover import OLD, apply_old

FED = ("known_posts", "post_history")
"""Tables that materialized views fill from others: no worker sends rows to them."""

ROWS = 20

Sent = dict[str, dict[str, str]]
"""Table -> column -> type, of the columns that a worker sends."""


def test_an_old_worker_goes_on_after_init(settings: Settings) -> None:
    """The first release's tables, with the migrations of this one: each old INSERT is taken, its values are read back
    by their old names, and further columns get their defaults."""
    with ClickHouse(settings) as client:
        apply_old(client, settings, [path.name for path in OLD])
        sent = _sent(client)
        assert len(sent) >= 10
        migrate(settings)
        for table, columns in sent.items():
            _insert_and_read_back(client, table, columns)
        # What is fed from rows of an old worker is fed still.
        for fed, of in zip(FED, ("events", "post_metrics"), strict=True):
            [[missing]] = client.select(f"SELECT count() FROM {of} WHERE post_id NOT IN (SELECT post_id FROM {fed})")
            assert missing == 0, fed


def test_the_check_would_see_a_column_that_was_taken_away(settings: Settings) -> None:
    with ClickHouse(settings) as client:
        apply_old(client, settings, [path.name for path in OLD])
        sent = _sent(client)
        client.execute("DROP VIEW IF EXISTS posts_v")
        client.execute("ALTER TABLE posts DROP COLUMN url")
        with pytest.raises(Exception, match="url"):
            _insert_and_read_back(client, "posts", sent["posts"])


def _insert_and_read_back(client: ClickHouse, table: str, columns: dict[str, str]) -> None:
    client.execute(f"TRUNCATE TABLE {table}")
    structure = ", ".join(f"`{name}` {type_}" for name, type_ in columns.items())
    names = ", ".join(f"`{name}`" for name in columns)
    made = (
        f"SELECT {names} FROM generateRandom('{structure.replace(chr(39), chr(92) + chr(39))}', 7, 10, 3) LIMIT {ROWS}"
    )
    client.execute(f"INSERT INTO {table} ({names}) SETTINGS optimize_on_insert = 0 {made}")
    # As the old version reads a column: by its own type, where a later one is wider.
    back = ", ".join(f"CAST(`{name}` AS {type_}) AS `{name}`" for name, type_ in columns.items())
    compared = client.select(
        f"SELECT count(), countIf(row NOT IN (SELECT tuple({names}) FROM ({made}))) "
        f"FROM (SELECT tuple({names}) AS row FROM (SELECT {back} FROM {table}))"
    )
    rows, missing = (column[0] for column in compared)
    assert (rows, missing) == (ROWS, 0), table


def _sent(client: ClickHouse) -> Sent:
    found: Sent = {}
    for table, name, type_ in zip(
        *client.select(
            "SELECT table, name, type FROM system.columns WHERE database = currentDatabase() AND default_kind = '' "
            "AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE "
            "'%MergeTree') AND table NOT LIKE 'schema_%' ORDER BY table, position"
        ),
        strict=True,
    ):
        if table not in FED:
            found.setdefault(table, {})[name] = type_
    return found

"""Rows move into another sorting key without loss: while workers write, after crashes at any step, by two at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from pipeline.clickhouse import migrations, moves
from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.ddl import render
from pipeline.clickhouse.migrations import all_migrations, migrate, verify_tables
from pipeline.clickhouse.moves import LOCK, MOVES, table_to_be
from pipeline.errors import Refused, Unavailable
from pipeline.settings import Settings

MIGRATION = "0011_days.sql"
TABLES = MOVES[MIGRATION].tables
ROWS = 30_000
DAY = 86_400
FIRST_DAY = 20_400
"""In 2025. The rows span two years, so several partitions before and many after."""

CELL = "concat('hashtag:', toString(number % 90)), {minute}"
SOURCES = {
    "post_minutes": "(post_id, minute, likes, version) "
    "SELECT concat('p', toString(number % 700)), {minute}, number, {v}",
    "conversation_posts": "(conversation, minute, post_id, voices, version) "
    f"SELECT {CELL}, concat('p', toString(number % 700)), [number], {{v}}",
    "conversation_minutes": f"(conversation, minute, likes, version) SELECT {CELL}, number, {{v}}",
    "conversation_closed": f"(conversation, minute, count) SELECT {CELL}, 7",
}


@pytest.fixture
def old(settings: Settings) -> Iterator[ClickHouse]:
    """A connection to a database of the migrations before, with rows in the tables that are moved."""
    with ClickHouse(settings) as client:
        client.execute(
            render(f"CREATE TABLE {{database}}.{migrations.APPLIED} ({migrations.APPLIED_COLUMNS}) ", settings)
            + "ENGINE = ReplacingMergeTree(applied_at) ORDER BY name COMMENT 'Migrations that this database has had'"
        )
        for migration in all_migrations():
            if migration.name < MIGRATION:
                migrations._apply(migration, client, settings)
        for version in (1, 2):
            for table in TABLES:
                _fill(client, table, version)
        yield client


def test_no_row_is_lost_and_days_are_sorted(old: ClickHouse, settings: Settings) -> None:
    before = _contents(old)
    assert all(rows > ROWS / 2 for rows, _ in before.values())
    assert MIGRATION in migrate(settings).migrations
    assert _contents(old) == before
    verify_tables(old)
    assert _leftovers(old) == []
    assert not migrate(settings)


def test_a_query_reads_the_days_of_its_range_alone(old: ClickHouse, settings: Settings) -> None:
    """The condition on `minute` is all that a reader writes, also through the view."""
    migrate(settings)
    for source in ("post_minutes_v", "conversation_minutes_v", "conversation_posts_v", "conversation_closed_v"):
        day = f"toDateTime({(FIRST_DAY + 200) * DAY}, 'UTC')"
        where = f"FROM {source} WHERE minute >= {day} AND minute < {day} + {DAY}"
        [[rows]] = old.select(f"SELECT count() {where}")
        assert rows > 0
        # A day has 41 rows of a version, so they are in one granule of each part.
        [[most]] = old.select(
            "SELECT sum(parts) * 2048 FROM (SELECT count() AS parts FROM system.parts WHERE active "
            "AND database = currentDatabase() AND table = %(table)s GROUP BY partition ORDER BY parts DESC LIMIT 1)",
            {"table": source.removesuffix("_v")},
        )
        assert _rows_read(old, f"SELECT * {where}") <= min(most, ROWS / 3)


def test_what_workers_write_meanwhile_is_there(old: ClickHouse, settings: Settings) -> None:
    """Workers of the version before write through the move, and their inserts never fail."""
    done = Event()

    def write(number: int) -> list[str]:
        written = []
        with ClickHouse(settings) as client:
            while not done.is_set() or len(written) < 3:
                post_id = f"w{number}-{len(written)}"
                client.insert(
                    "post_minutes",
                    {
                        "post_id": [post_id, "shared"],
                        "minute": [60 * len(written)] * 2,
                        "likes": [1, 1],
                        "version": [1, 1],
                    },
                )
                client.insert_missing(
                    "conversation_closed", {"conversation": [post_id], "minute": [0], "count": [1], "closed_at": [0]}
                )
                written.append(post_id)
        return written

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, number) for number in range(2)]
        try:
            migrate(settings)
        finally:
            done.set()
        written = {post_id for writer in writers for post_id in writer.result()}
    assert written == set(old.select("SELECT DISTINCT post_id FROM post_minutes WHERE startsWith(post_id, 'w')")[0])
    closed = old.select("SELECT conversation FROM conversation_closed WHERE startsWith(conversation, 'w')")[0]
    assert sorted(closed) == sorted(written)


def test_a_crash_after_any_statement(old: ClickHouse, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _contents(old)
    execute, left, crashes = ClickHouse.execute, 0, 0

    def execute_or_crash(self: ClickHouse, sql: str, params: Any = None) -> None:
        nonlocal left
        # A client that dies leaves its lock behind.
        if left <= 0 and not (LOCK in sql and sql.startswith("DROP")):
            raise Unavailable("the client has died")
        left -= 1
        execute(self, sql, params)

    monkeypatch.setattr(moves, "STALE_SECONDS", -1)
    monkeypatch.setattr(ClickHouse, "execute", execute_or_crash)
    for crashes in range(200):
        left = crashes
        try:
            migrate(settings)
            break
        except Unavailable:
            assert {table: rows for table, (rows, _) in _contents(old).items()} == {
                table: rows for table, (rows, _) in before.items()
            }
    assert crashes > 20
    assert _contents(old) == before
    assert _leftovers(old) == []


def test_a_client_waits_for_the_lock_of_another_one_and_then_goes_on(
    old: ClickHouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = next(each for each in all_migrations() if each.name == MIGRATION)
    with moves._locked(old, settings):
        with pytest.raises(Refused, match=f"{LOCK} already exists"):
            migrations._apply(migration, old, settings)
        assert _is_by_day(old) == [0, 0, 0, 0]
        monkeypatch.setattr(moves, "STALE_SECONDS", -1)
        migrations._apply(migration, old, settings)
    assert _is_by_day(old) == [1, 1, 1, 1]
    assert _leftovers(old) == []


def test_two_at_once_lose_nothing(old: ClickHouse, settings: Settings) -> None:
    before = _contents(old)
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(migrate, settings) for _ in range(2)]:
            future.result()
    assert _contents(old) == before
    verify_tables(old)
    migrate(settings)
    assert _leftovers(old) == []


def _fill(client: ClickHouse, table: str, version: int) -> None:
    minute = f"toDateTime({FIRST_DAY * DAY} + 60 * ((number * 35) % {730 * 1440}), 'UTC')"
    source = SOURCES[table].format(minute=minute, v=version)
    client.execute(f"INSERT INTO {table} {source} FROM numbers({ROWS}) SETTINGS max_partitions_per_insert_block = 0")


def _contents(client: ClickHouse) -> dict[str, tuple[int, int]]:
    """Table -> number of current rows, and a checksum of all columns."""
    found = {}
    for table in TABLES:
        [[rows], [checksum]] = client.select(f"SELECT count(), sum(cityHash64(*)) FROM {table} FINAL")
        found[table] = rows, checksum
    return found


def _is_by_day(client: ClickHouse) -> list[int]:
    """1 for each table whose names have been changed."""
    [found] = client.select(
        "SELECT startsWith(sorting_key, 'toDate(minute)') FROM system.tables "
        "WHERE database = currentDatabase() AND name IN %(names)s",
        {"names": TABLES},
    )
    return list(found)


def _leftovers(client: ClickHouse) -> list[str]:
    """Tables and feeds of a move that are still there."""
    names = [table_to_be(table, MIGRATION) for table in TABLES]
    answer = client.select(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND name IN %(names)s",
        {"names": [*names, *(f"{name}_feed" for name in names), LOCK]},
    )
    return list(answer[0]) if answer else []


def _rows_read(client: ClickHouse, sql: str) -> int:
    client.select(sql)
    query = client._client.last_query
    return sum(progress.rows for progress in [query.progress])

"""A database whose rows an older fold version wrote is moved over by `recount`, while a worker runs.

Truth is plain Python over what was sent.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import Settings
from producers.simulation.policy import SimulationPolicy
from producers.simulation.records import simulated_records
from schemas.metrics import FOLD_VERSION
from tests.end_to_end.checks import assert_exact, assert_recounted, engagement, environment_of
from tests.end_to_end.group import Group
from tests.end_to_end.inputs import Input
from tests.end_to_end.test_slow_owners import counts_of
from tests.end_to_end.workers import Workers, wait_until

OLD = f"bitOr(bitShiftLeft(toUInt64({FOLD_VERSION - 1}), 56), bitShiftLeft(seen.events_seen, 26))"
"""An older fold version counted all events of the post in the version of each of its rows."""

TABLES = ("post_minutes", "posts", "carry_over", "conversation_posts")


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[Workers]:
    migrate(settings)
    ensure_topics(settings)
    with Workers(tmp_path, environment_of(settings, os.environ)) as workers:
        yield workers


def test_rows_of_an_older_fold_version_are_moved_over_while_a_worker_runs(settings: Settings, workers: Workers) -> None:
    policy = SimulationPolicy(events=8_000, posts=300, hours=6, seed=11, retractions=0.03)
    events = [json.loads(record.value or b"") for record in simulated_records(policy)]
    half = len(events) // 2
    Input(events[:half]).send(settings)
    workers.catch_up()
    with ClickHouse(settings) as client:
        _make_old(client)
        assert min(_old_rows(client)) > 0
    worker = workers.start()
    worker.wait_for("partitions of conversations", 60)
    environment = environment_of(settings, os.environ)
    group = Group(settings)
    try:
        for start in range(half, len(events), 1000):
            Input(events[start : start + 1000]).send(settings)
            if start == half:  # while events come
                engagement(environment, "recount")
        wait_until(lambda: group.committed() == len(events), 60, "events are left", lambda: worker.tail)
    finally:
        group.close()
    counts = counts_of(events)
    with ClickHouse(settings) as client:

        def rows() -> dict[tuple[str, int], int]:
            names, minutes, found = client.select(
                "SELECT conversation, intDiv(toUnixTimestamp(minute), 60), greatest(toInt64(posts) + comments, 0) "
                "FROM conversation_minutes FINAL"
            )
            return dict(zip(zip(names, minutes, strict=True), found, strict=True))

        wait_until(lambda: rows() == counts, 60, "minutes of conversations are wrong", lambda: worker.tail)
        assert max(_old_rows(client)) == 0
    assert worker.end() == 0, worker.tail
    assert_exact(settings, Input(events).truth)
    assert_recounted(environment)


def _old_rows(client: ClickHouse) -> list[int]:
    """How many rows of each derived table an older fold version has written."""
    old = f"FINAL WHERE bitShiftRight(version, 56) < {FOLD_VERSION}"
    tables = (*TABLES, "post_metrics", "conversation_minutes")
    return [client.select(f"SELECT count() FROM {table} {old}")[0][0] for table in tables]


def _make_old(client: ClickHouse) -> None:
    """Gives every row the version that the older code gave it; one pane and its cells are wrong, as they could be."""
    client.execute("CREATE TABLE seen ENGINE = Memory AS SELECT post_id, events_seen FROM post_metrics FINAL")
    for table in TABLES:
        wrong = "0 AS likes, " if table == "post_minutes" else ""
        _rewrite(client, table, f"SELECT old.* REPLACE ({wrong}{OLD} AS version) FROM old JOIN seen USING (post_id)")
    _rewrite(client, "post_metrics", f"SELECT old.* REPLACE ({OLD} AS version) FROM old JOIN seen USING (post_id)")
    whole = f"bitOr(bitShiftLeft(toUInt64({FOLD_VERSION - 1}), 56), bitShiftLeft(toUInt64(1000000000), 1))"
    _rewrite(client, "conversation_minutes", f"SELECT old.* REPLACE (0 AS comments, {whole} AS version) FROM old")
    client.execute("DROP TABLE seen")
    client.execute("TRUNCATE TABLE row_settings")


def _rewrite(client: ClickHouse, table: str, select: str) -> None:
    client.execute(f"CREATE TABLE old ENGINE = Memory AS SELECT * FROM {table} FINAL")
    client.execute(f"TRUNCATE TABLE {table}")
    names = client.select(
        "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = %(table)s ORDER BY position",
        {"table": table},
    )[0]
    columns = ", ".join(f"`{name}`" for name in names)
    client.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM ({select})")
    client.execute("DROP TABLE old")

"""post_history: a row a step, and steps that grow with the age of the post."""

from collections.abc import Iterator

import pytest

from deploy.clickhouse.feeds import post_history_query
from pipeline.clickhouse import migrations
from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.ddl import render
from pipeline.clickhouse.migrations import all_migrations, migrate
from pipeline.settings import Settings

CREATED = 29_000_001
"""Minute of the post."""


@pytest.fixture
def client(settings: Settings) -> Iterator[ClickHouse]:
    migrate(settings)
    with ClickHouse(settings) as client:
        yield client


def end_of_step(age: int) -> int:
    """The age at which the step ends that has this age: steps of 1 up to 16, of 2 up to 32, of 4 up to 64, ..."""
    upper, length = 16, 1
    while age > upper:
        upper, length = upper * 2, length * 2
    return -(-age // length) * length


def test_a_step_is_an_eighth_of_the_age_and_its_newest_row_wins(client: ClickHouse) -> None:
    ages = [*range(1, 70), 100, 127, 128, 129, 500, 1440, 10_000, 10_001, 10_240, 43_200, 500_000]
    client.insert(
        "post_metrics",
        {
            "post_id": ["p"] * len(ages),
            "as_of": [60 * (CREATED + age) for age in ages],
            "age_minutes": ages,
            "likes": ages,
            "version": ages,
        },
    )
    rows = client.select(
        "SELECT toUInt32(age_minutes), likes, intDiv(toUnixTimestamp(as_of), 60) FROM post_history FINAL ORDER BY as_of"
    )
    newest: dict[int, int] = {}
    for age in ages:
        newest[end_of_step(age)] = age
    assert list(zip(*rows, strict=True)) == [(end, likes, CREATED + end) for end, likes in newest.items()]
    assert sum(end <= 64 for end in newest) == 32
    assert (end_of_step(1440), end_of_step(10_000), end_of_step(10_241)) == (1536, 10_240, 11_264)


def test_an_unknown_age_has_steps_of_a_quarter_of_an_hour_or_so(client: ClickHouse) -> None:
    minutes = [16 * 1_800_000 + offset for offset in (0, 1, 15, 16, 17)]
    client.insert(
        "post_metrics",
        {"post_id": ["p"] * 5, "as_of": [60 * minute for minute in minutes], "likes": range(5), "version": range(5)},
    )
    rows = client.select("SELECT intDiv(toUnixTimestamp(as_of), 60) % 64, likes FROM post_history FINAL ORDER BY as_of")
    assert rows == [[0, 16, 32], [0, 3, 4]]
    assert client.select("SELECT DISTINCT age_minutes FROM post_history_v") == [[None]]


def test_a_step_that_is_not_over_is_shown_as_of_now(client: ClickHouse) -> None:
    [[now]] = client.select("SELECT toUnixTimestamp(toStartOfMinute(now())) AS now")
    client.insert(
        "post_metrics",
        {"post_id": ["p", "q"], "as_of": [now - 600] * 2, "age_minutes": [9001, 9], "likes": [2, 3], "version": [1, 1]},
    )
    rows = client.select(
        "SELECT post_id, toUnixTimestamp(as_of), likes, score_default FROM post_history_v ORDER BY post_id"
    )
    [p, q] = zip(*rows, strict=True)
    assert now <= p[1] <= now + 120
    assert (q[1], q[2:]) == (now - 600, (3, 3.0))


def test_the_feed_of_the_migrations_is_the_one_that_tables_need(client: ClickHouse, settings: Settings) -> None:
    """A column that was added to the history is in the feed, too."""
    [[made]] = client.select(
        "SELECT as_select FROM system.tables WHERE name = 'post_history_feed' AND database = currentDatabase()"
    )
    [[wanted]] = client.select("SELECT formatQuerySingleLine(%(sql)s)", {"sql": render(post_history_query(), settings)})
    [[shown]] = client.select("SELECT formatQuerySingleLine(%(sql)s)", {"sql": made})
    assert shown == wanted


def test_a_history_of_before_keeps_its_rows(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    every = all_migrations()
    old = [migration for migration in every if migration.name < "0014"]
    with ClickHouse(settings) as client:
        for statement in (statement for migration in old for statement in migration.statements(settings)):
            client.execute(statement)
        client.execute(
            "INSERT INTO post_metrics (post_id, as_of, likes, reproduction, score_default, version) "
            "SELECT 'p', toDateTime(60 * number, 'UTC'), number, number / 4, number, number FROM numbers(1, 100)"
        )
        monkeypatch.setattr(migrations, "verify_tables", lambda client: None)
        migrate(settings)
        shown = "toUnixTimestamp(as_of), likes, reproduction, score_default, age_minutes"
        rows = client.select(f"SELECT {shown} FROM post_history_v WHERE post_id = 'p' ORDER BY as_of")
        assert list(zip(*rows, strict=True)) == [(60 * n, n, n / 4, n, None) for n in range(1, 101)]
        client.insert(
            "post_metrics", {"post_id": ["q"], "as_of": [7200], "age_minutes": [33], "likes": [5], "version": [1]}
        )
        assert client.select("SELECT toUnixTimestamp(as_of), likes FROM post_history_v WHERE post_id = 'q'") == [
            [7200 + 180],
            [5],
        ]

"""Views between two times against plain Python over random rows; and that they read their range alone."""

import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from tests.rolled_days import roll_days

DAY = 86_400
START = 20_454 * DAY
"""A day of 2026. Rows span 60 days."""

AUTHORS = (("x", "ana"), ("x", "ben/c"), ("", "cem"))
POSTS = {f"p{number}": AUTHORS[number % 3] for number in range(9)}
TAGS = ("hashtag:a", "hashtag:b")
COUNTS = ("posts", "likes", "shares", "comments")

Cell = tuple[str, int, str, int, int, int, int, tuple[int, ...], str]
"""Conversation, minute in seconds, post, the COUNTS, voices, channel."""


@pytest.fixture
def client(tables: Settings) -> Iterator[ClickHouse]:
    with ClickHouse(tables) as client:
        yield client


@pytest.fixture(params=range(3))
def cells(request: pytest.FixtureRequest, client: ClickHouse) -> list[Cell]:
    """Random cells, stored as cells, as minutes of conversations and as panes, each with an outdated row before."""
    chance = random.Random(request.param)
    made: dict[tuple[str, int, str], Cell] = {}
    for _ in range(400):
        post = chance.choice(list(POSTS))
        channel, author = POSTS[post]
        minute = START + 60 * chance.choice((0, 1, 1439, 1440, chance.randrange(60 * 1440)))
        counts = (chance.randrange(2), chance.randrange(-2, 5), chance.randrange(3), chance.randrange(3))
        voices = tuple(chance.sample(range(1, 40), chance.randrange(4)))
        if not any(counts) and not voices:
            continue
        for key in (f"thread:{post}", f"author:{channel}/{author}", chance.choice(TAGS)):
            made[key, minute, post] = (key, minute, post, *counts, voices, channel or "-")
    rows = list(made.values())
    # The cells of a thread and of its author are those of the same panes.
    panes = {(post, minute): cell for (key, minute, post), cell in made.items() if key.startswith("thread:")}
    rows = [cell for cell in rows if cell[0] in TAGS or cell[3:] == panes[cell[2], cell[1]][3:]]
    _store(client, rows, panes)
    return rows


def _store(client: ClickHouse, rows: list[Cell], panes: dict[tuple[str, int], Cell]) -> None:
    client.insert(
        "posts",
        {
            "post_id": list(POSTS),
            "channel": [channel for channel, _ in POSTS.values()],
            "author_id": [author for _, author in POSTS.values()],
            "version": [1] * len(POSTS),
        },
    )
    minutes: dict[tuple[str, int], list[Cell]] = defaultdict(list)
    for cell in rows:
        minutes[cell[0], cell[1]].append(cell)
    for version in (1, 2):
        wrong = version == 1
        client.insert(
            "conversation_posts",
            {
                "conversation": [cell[0] for cell in rows],
                "minute": [cell[1] for cell in rows],
                "post_id": [cell[2] for cell in rows],
                "voices": [[99] if wrong else list(cell[7]) for cell in rows],
                "channels": [["wrong"] if wrong else [cell[8]] for cell in rows],
                "voices_exact": [1] * len(rows),
                "version": [version] * len(rows),
            },
        )
        client.insert(
            "conversation_minutes",
            {
                "conversation": [key for key, _ in minutes],
                "minute": [minute for _, minute in minutes],
                "voices": [1] * len(minutes),
                **{
                    name: [77 if wrong else max(sum(cell[place] for cell in each), -2) for each in minutes.values()]
                    for place, name in enumerate(COUNTS, 3)
                },
                "version": [version] * len(minutes),
            },
        )
        client.insert(
            "post_minutes",
            {
                "post_id": [post for post, _ in panes],
                "minute": [minute for _, minute in panes],
                "likes": [77 if wrong else max(cell[4], 0) for cell in panes.values()],
                "likes_retracted": [max(-cell[4], 0) for cell in panes.values()],
                "shares": [cell[5] for cell in panes.values()],
                "comments": [cell[6] for cell in panes.values()],
                "version": [version] * len(panes),
            },
        )


RANGES = [(0, 60 * DAY), (60, DAY), (DAY - 60, DAY), (DAY, 2 * DAY), (30, 7 * DAY + 1), (40 * DAY, 40 * DAY)]


@pytest.mark.parametrize("rolled", [0, 3, 70])
@pytest.mark.parametrize(("since", "until"), RANGES)
def test_conversations_and_authors(client: ClickHouse, cells: list[Cell], since: int, until: int, rolled: int) -> None:
    roll_days(client, START // DAY + rolled)
    truth: dict[str, dict[str, Any]] = {}
    for key in {cell[0] for cell in cells}:
        mine = [cell for cell in cells if cell[0] == key and _starts(since) <= cell[1] < _starts(until)]
        by_minute: dict[int, list[Cell]] = defaultdict(list)
        for cell in mine:
            by_minute[cell[1]].append(cell)
        if mine:
            truth[key] = {
                **{
                    name: sum(max(sum(cell[place] for cell in each), -2) for each in by_minute.values())
                    for place, name in enumerate(COUNTS, 3)
                },
                "voices": len({voice for cell in mine for voice in cell[7]}),
                "voices_error": 0,
                "channels": len({cell[8] for cell in mine}),
                "toUnixTimestamp(first_minute)": min(by_minute),
                "toUnixTimestamp(as_of)": max(by_minute) + 60,
            }
    found = _rows(client, "conversation", "conversations_between", since, until, next(iter(truth.values()), {}))
    assert found == truth
    authors = _rows(
        client,
        "concat('author:', channel, '/', author_id)",
        "authors_between",
        since,
        until,
        next(iter(truth.values()), {}),
    )
    assert authors == {key: row for key, row in truth.items() if key.startswith("author:")}


@pytest.mark.parametrize(("since", "until"), RANGES)
def test_posts(client: ClickHouse, cells: list[Cell], since: int, until: int) -> None:
    truth = {}
    for post, (channel, author) in POSTS.items():
        mine = [c for c in cells if c[0] == f"thread:{post}" and _starts(since) <= c[1] < _starts(until)]
        likes, shares, comments = (sum(cell[place] for cell in mine) for place in (4, 5, 6))
        if any(any(cell[4:7]) for cell in mine):
            truth[post] = {
                "likes": likes,
                "shares": shares,
                "comments": comments,
                "score_default": likes + 2 * shares + 3 * comments,
                "voices": len({voice for cell in mine for voice in cell[7]}),
                "channel": channel or None,
                "author_id": author,
            }
    found = _rows(client, "post_id", "post_metrics_between", since, until, next(iter(truth.values()), {"likes": 0}))
    assert found == truth


def test_a_range_reads_its_days_alone(client: ClickHouse) -> None:
    """Of 60 days with 2,000 rows each, a day is read: not more than two, with granules at its ends."""
    for table, columns in (
        ("post_minutes", "(post_id, minute, likes, version)"),
        ("conversation_posts", "(conversation, minute, voices_exact, version)"),
        ("conversation_minutes", "(conversation, minute, likes, version)"),
    ):
        client.execute(
            f"INSERT INTO {table} {columns} SELECT concat('hashtag:', toString(number % 50)), "
            f"toDateTime({START} + (number * 43) % {60 * 1440} * 60, 'UTC'), 1, 1 FROM numbers(120000) "
            "SETTINGS max_partitions_per_insert_block = 0"
        )
        client.execute(f"OPTIMIZE TABLE {table} FINAL")
    for view in ("conversations_between", "post_metrics_between"):
        assert client.select(f"SELECT count() FROM {_asked(view, 20 * DAY, 21 * DAY)}")[0][0] == 50
        query = client._client.last_query
        assert query is not None
        assert query.progress.rows < 3 * 2 * 2_000 + 8_192, view
    [[minutes]] = client.select("SELECT count() FROM conversation_minutes")
    roll_days(client, START // DAY + 70)
    for view in ("conversations_between", "share_of_voice"):
        client.select(f"SELECT count() FROM {_asked(view, 60, 60 * DAY - 60)}")
        query = client._client.last_query
        assert query is not None
        assert query.progress.rows < 3 * 2 * 2_000 + 8_192 + minutes / 10, "the edges, and the days between"


@pytest.mark.parametrize("rolled", [0, 3, 70])
def test_days_of_conversations_authors_and_posts(client: ClickHouse, cells: list[Cell], rolled: int) -> None:
    roll_days(client, START // DAY + rolled)
    truth: dict[tuple[str, int], dict[str, Any]] = {}
    for key, day in {(cell[0], cell[1] // DAY) for cell in cells}:
        by_minute: dict[int, list[Cell]] = defaultdict(list)
        for cell in cells:
            if (cell[0], cell[1] // DAY) == (key, day):
                by_minute[cell[1]].append(cell)
        mine = [cell for each in by_minute.values() for cell in each]
        truth[key, day] = {
            **{
                name: sum(max(sum(cell[place] for cell in each), -2) for each in by_minute.values())
                for place, name in enumerate(COUNTS, 3)
            },
            "voices": len({voice for cell in mine for voice in cell[7]}),
            "voices_error": 0,
            "channels": len({cell[8] for cell in mine}),
            "minutes": len(by_minute),
            "toUnixTimestamp(first_minute)": min(by_minute),
            "toUnixTimestamp(as_of)": max(by_minute) + 60,
            "is_final": int(day < START // DAY + rolled),
        }
    names = next(iter(truth.values())).keys()
    for view, key, prefix in (
        ("conversation_days_v", "conversation", ""),
        ("author_days_v", "concat('author:', channel, '/', author_id)", "author:"),
        ("post_days_v", "concat('thread:', post_id)", "thread:"),
    ):
        shown = [name for name in names if (view, name) != ("post_days_v", "posts")]
        rows = zip(*client.select(f"SELECT {key}, toUInt16(day), {', '.join(shown)} FROM {view}"), strict=True)
        assert {(row[0], row[1]): dict(zip(shown, row[2:], strict=True)) for row in rows} == {
            at: {name: row[name] for name in shown} for at, row in truth.items() if at[0].startswith(prefix)
        }
    of_posts = dict(
        zip(*client.select("SELECT post_id, (ifNull(channel, ''), author_id) FROM post_days_v"), strict=True)
    )
    assert of_posts == POSTS


def _starts(seconds: int) -> int:
    """Returns the first minute that begins at or after START + seconds: minutes are whole, times may be within."""
    return START + -(-seconds // 60) * 60


def _asked(view: str, since: int, until: int) -> str:
    return f"{view}(since = '{START + since}', until = '{START + until}')"


def _rows(
    client: ClickHouse, key: str, view: str, since: int, until: int, wanted: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Key -> the wanted columns."""
    found = client.select(f"SELECT {', '.join((key, *wanted))} FROM {_asked(view, since, until)}")
    return {row[0]: dict(zip(wanted, row[1:], strict=True)) for row in zip(*found, strict=True)}

"""Views against brute force over random panes, values at the very edges of windows included; and what they declare."""

import math
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from schemas.metrics import MEASURES, WEIGHT_SETS, WINDOWS
from schemas.tables import CARRY_OVER, CONVERSATION_DAYS, POST_METRICS, POST_METRICS_ACTIVE, TABLES

Pane = tuple[int, ...]
Panes = dict[tuple[str, int], Pane]
"""(post, minute in seconds) -> likes, shares, comments, and the same retracted."""

COMPUTED = {
    *("authors_v", "over_performance_v", "share_of_voice_v"),
    *("conversations_v", "conversations_active_v"),
    *("author_days_v", "post_days_v", "post_totals_v", "post_forecasts_v"),
    *("freshness_v", "storage_v", "merges_v"),
}
"""Views that stand beside no table."""

COUNTS = (*MEASURES, *(f"{measure}_retracted" for measure in MEASURES))
T = 1_450_000_020
"""A whole minute of 2015."""


@pytest.fixture
def client(tables: Settings) -> Iterator[ClickHouse]:
    with ClickHouse(tables) as client:
        yield client


def test_every_table_has_a_view_with_plain_types_and_a_comment_on_each_column(client: ClickHouse) -> None:
    rows = client.select(
        "SELECT table, name, type, comment FROM system.columns "
        "WHERE database = currentDatabase() AND endsWith(table, '_v')"
    )
    views: dict[str, dict[str, tuple[str, str]]] = {}
    for view, name, type_, comment in zip(*rows, strict=True):
        views.setdefault(view, {})[name] = type_, comment
    assert views.keys() == {f"{table.name}_v" for table in TABLES} | COMPUTED
    for table in TABLES:
        shown = views[f"{table.name}_v"]
        hidden = {"version"} if table in (POST_METRICS, POST_METRICS_ACTIVE) else {"version", "stored_at"}
        # What carries a message no more is not shown.
        hidden |= {"is_current"} if table is CARRY_OVER else set()
        # A day shows the end of its last minute, and how exact its voices are.
        hidden |= {"last_minute", "voices_below"} if table is CONVERSATION_DAYS else set()
        assert {column.name for column in table.columns} - hidden <= shown.keys()
        assert "version" not in shown
    for shown in views.values():
        for name, (type_, comment) in shown.items():
            assert len(comment) > 3, name
            assert "NaN" not in comment
            assert not any(word in type_ for word in ("LowCardinality", "Enum")), name
    comments = client.select("SELECT comment FROM system.tables WHERE database = currentDatabase() AND engine = 'View'")
    assert all(comments[0])


def test_only_the_newest_row_is_shown_as_plain_values(client: ClickHouse) -> None:
    for version, kind in ((2, 3), (1, 2)):
        columns = {"post_id": ["p"], "kind": [kind], "action": [1], "event_id": ["e"], "actor_id": [str(version)]}
        client.insert("events", columns | {"version": [version]})
        client.insert("posts", {"post_id": ["p"], "author_id": [str(version)], "version": [version]})
    assert client.select("SELECT actor_id, kind, action FROM events_v WHERE kind = 'share'") == [
        ["2"],
        ["share"],
        ["add"],
    ]
    assert client.select("SELECT author_id FROM posts_v") == [["2"]]


def test_several_values_are_also_one_text(client: ClickHouse) -> None:
    keys = ["hashtag:a", "brand:it's"]
    columns = {"post_id": ["p", "q"], "conversations": [keys, []], "labels": [["campaign", "spring", "x", "1"], []]}
    client.insert("posts", columns | {"version": [1, 1]})
    client.insert("post_metrics", {"post_id": ["p"], "as_of": [60], "share_levels": [[3, 1]], "version": [1]})
    told = client.select("SELECT conversations_text, labels_text, links_text FROM posts_v ORDER BY post_id")
    assert told == [["hashtag:a, brand:it's", ""], ["campaign=spring, x=1", ""], ["", ""]]
    assert client.select("SELECT share_levels_text, labels_text FROM post_metrics_v") == [
        ["3, 1"],
        ["campaign=spring, x=1"],
    ]


def test_a_pane_has_the_author_and_the_channel_of_its_post_and_its_hour_and_day(client: ClickHouse) -> None:
    client.insert(
        "post_minutes", {"post_id": ["p", "q"], "minute": [90_060, 7_260], "likes": [1, 2], "version": [1, 1]}
    )
    client.insert("posts", {"post_id": ["p"], "author_id": ["ana"], "channel": ["bluesky"], "version": [1]})
    rows = client.select(
        "SELECT post_id, author_id, channel, toUnixTimestamp(hour), toString(day), likes FROM post_minutes_v "
        "WHERE minute >= toDateTime(0, 'UTC') ORDER BY post_id"
    )
    assert list(zip(*rows, strict=True)) == [
        ("p", "ana", "bluesky", 90_000, "1970-01-02", 1),
        ("q", None, None, 7_200, "1970-01-01", 2),
    ]


@pytest.mark.parametrize("of", ["_posts", "_minutes", "_closed", "s", "_spikes"])
def test_views_of_conversations_tell_the_kind(client: ClickHouse, of: str) -> None:
    keys = ["hashtag:a:b", "author:bluesky/ana", "label:campaign=spring", "thread:p"]
    minutes = {"conversation": keys, "minute": [60] * len(keys)}
    client.insert("conversation_posts", minutes | {"post_id": ["p"] * 4, "posts": [1] * 4, "version": [1] * 4})
    client.insert("conversation_minutes", minutes | {"posts": [1] * 4, "version": [1] * 4})
    client.insert("conversation_closed", minutes)
    client.insert("conversation_spikes", {"spike_id": keys, "conversation": keys, "version": [1] * 4})
    kinds = dict(zip(*client.select(f"SELECT conversation, kind FROM conversation{of}_v"), strict=True))
    assert kinds == dict(zip(keys, ["hashtag", "author", "label", "thread"], strict=True))


def test_a_pane_of_zeros_is_none(client: ClickHouse) -> None:
    columns = {"post_id": ["p", "p"], "minute": [60, 120], "likes": [1, 2]}
    client.insert("post_minutes", columns | {"version": [1, 1]})
    client.insert("post_minutes", {"post_id": ["p"], "minute": [60], "version": [2]})
    assert client.select("SELECT likes FROM post_minutes_v") == [[2]]
    assert client.select("SELECT likes FROM post_metrics_at(t = '1970-01-01 00:10:00')") == [[2]]
    assert client.select("SELECT likes FROM post_metrics_at(t = '1970-01-01 00:02:00')") == [[]]


@pytest.mark.parametrize("seed", range(3))
def test_windows_at_any_time_equal_brute_force(client: ClickHouse, seed: int) -> None:
    chance = random.Random(seed)
    panes = _random_panes(chance, T)
    _store(client, panes, chance)
    names = _names(client, f"post_metrics_at(t = '{_utc(T)}')")
    for t in (T, T - 60, T + 1, T + 59, T + 60, T + 300, T + 3600, T + 86_400, T - 200_000):
        end = -(-t // 60) * 60
        truth = {post: _expected(panes, post, end) for post, minute in panes if minute < end}
        truth = {post: row for post, row in truth.items() if row is not None}
        found = _rows(client, f"SELECT * FROM post_metrics_at(t = '{_utc(t)}')", names)
        assert found.keys() == truth.keys()
        for post, row in truth.items():
            _assert_equal(found[post], row)
            assert found[post]["windows_at"].timestamp() == end
        _assert_active_at(client, t, panes, found)


def _assert_active_at(client: ClickHouse, t: int, panes: Panes, everything: dict[str, dict[str, Any]]) -> None:
    """Compares post_metrics_active_at(t) with the rows of post_metrics_at of posts with a pane in the two days before
    t."""
    end = -(-t // 60) * 60
    active = {post for (post, minute), counts in panes.items() if end - 172_800 <= minute < end and any(counts)}
    view = f"post_metrics_active_at(t = '{_utc(t)}')"
    found = _rows(client, f"SELECT * FROM {view}", _names(client, view))
    assert found.keys() == active
    for post, row in found.items():
        assert {name: everything[post][name] for name in row} == row


def test_only_posts_with_an_event_in_the_last_two_days_are_active(client: ClickHouse) -> None:
    """Also of rows that were active once, and whichever of its rows was written last."""
    now = int(time.time()) // 60 * 60
    day = 86_400
    ends = {"new": now, "day": now - day, "edge": now - 2 * day + 300, "gone": now - 2 * day - 60, "old": now - 9 * day}
    for version, shift in ((2, 0), (1, -day)):
        client.insert(
            "post_metrics",
            {
                "post_id": list(ends),
                "as_of": [end + shift for end in ends.values()],
                "likes": [version] * len(ends),
                "version": [version] * len(ends),
            },
        )
    assert client.select("SELECT DISTINCT post_id FROM post_metrics_active WHERE post_id = 'old'") in ([], [[]])
    [posts, likes] = client.select("SELECT post_id, likes FROM post_metrics_active_v ORDER BY post_id")
    assert dict(zip(posts, likes, strict=True)) == {"new": 2, "day": 2, "edge": 2}
    assert len(client.select("SELECT post_id FROM post_metrics_v")[0]) == len(ends)


def test_windows_as_of_now_equal_brute_force(client: ClickHouse) -> None:
    chance = random.Random(7)
    made = int(time.time()) // 60 * 60 + 60
    panes = _random_panes(chance, made)
    _store(client, panes, chance)
    posts = sorted({post for post, _ in panes} | {"without panes"})
    client.insert(
        "post_metrics",
        {
            "post_id": posts,
            "as_of": [made - 60] * len(posts),
            "events_seen": [9] * len(posts),
            "likes": [4] * len(posts),
            "score_default": [4.5] * len(posts),
            "likes_5m": [99] * len(posts),
            "hot_6h": [made / 21_600 + 3] * len(posts),
            "channel_entropy": [math.nan] * len(posts),
            "version": [1] * len(posts),
        },
    )
    found = _rows(client, "SELECT * FROM post_metrics_v", _names(client, "post_metrics_v"))
    assert found.keys() == set(posts)
    active = _rows(client, "SELECT * FROM post_metrics_active_v", _names(client, "post_metrics_active_v"))
    assert active.keys() == found.keys()
    ages = {"stored_seconds_ago", "windows_at"}
    if active["without panes"]["windows_at"] == found["without panes"]["windows_at"]:
        for post, row in found.items():
            assert {name: value for name, value in active[post].items() if name not in ages} == {
                name: value for name, value in row.items() if name not in ages
            }
    for view in ("post_totals_v", "post_forecasts_v"):
        part = _rows(client, f"SELECT * FROM {view}", _names(client, view))
        assert part.keys() == found.keys()
        for post, row in part.items():
            assert {name: row[name] for name in row.keys() - ages} == {
                name: found[post][name] for name in row.keys() - ages
            }
    # The minute may have ended meanwhile: one query has one time, which it tells.
    [end] = {int(row["windows_at"].timestamp()) for row in found.values()}
    assert end % 60 == 0
    assert made <= end <= time.time() + 60
    for post in posts:
        truth = _expected(panes, post, end) or _expected({(post, 0): (0,) * 6}, post, end, absent_is_zero=True)
        assert truth is not None
        stored = {"likes": 4, "shares": 0, "comments": 0, "score_default": 4.5, "score_plain": 0}
        _assert_equal(found[post], truth | stored)
        assert found[post]["hot_6h_now"] == pytest.approx(2 ** (3 - (end - made) / 21_600))
        assert found[post]["channel_entropy"] is None
        assert 0 <= found[post]["stored_seconds_ago"] < 600


def test_facts_of_the_post_stand_beside_its_metrics(client: ClickHouse) -> None:
    client.insert("post_metrics", {"post_id": ["known", "new"], "hot_6h": [1.0, math.nan], "version": [1, 1]})
    client.insert(
        "posts",
        {
            "post_id": ["known", "other"],
            "author_id": ["a", "b"],
            "channel": ["bluesky", ""],
            "created_at": [10**15, 10**15],
            "deleted_at": [None, 5],
            "version": [1, 1],
        },
    )
    names = _names(client, "post_metrics_v")
    for setting in (0, 1):
        found = _rows(client, f"SELECT * FROM post_metrics_v SETTINGS join_use_nulls = {setting}", names)
        assert found.keys() == {"known", "new"}
        facts = [[found[post][name] for name in ("author_id", "channel", "url", "deleted_at")] for post in found]
        assert sorted(facts, key=str) == [["a", "bluesky", None, None], [None] * 4]
        asked = "SELECT author_id, channel, url, deleted_at, created_at IS NULL FROM post_totals_v ORDER BY post_id"
        totals = client.select(f"{asked} SETTINGS join_use_nulls = {setting}")
        assert list(zip(*totals, strict=True)) == [("a", "bluesky", None, None, 0), (None, None, None, None, 1)]
        assert found["known"]["created_at"].timestamp() == 10**9
        assert found["new"]["created_at"] is None
        assert found["new"]["hot_6h_now"] is None
        assert found["new"]["likes_5m"] == 0


@pytest.mark.parametrize(
    "where", ["post_id = 'p'", "post_id IN ('p', 'q')", "post_id IN (SELECT arrayJoin(['p', 'q']))"]
)
def test_a_condition_on_the_post_reaches_every_table(client: ClickHouse, where: str) -> None:
    """Else each look at a post would read all posts."""
    for view in (
        "post_metrics_v",
        "post_metrics_active_v",
        "post_totals_v",
        "post_forecasts_v",
        "post_metrics_at(t = '2026-01-01 00:00:00')",
        "post_minutes_v",
        "post_history_v",
    ):
        client.insert(
            "post_minutes", {"post_id": ["p"], "minute": [int(time.time()) // 60 * 60], "likes": [1], "version": [1]}
        )
        client.insert("post_minutes", {"post_id": ["p"], "minute": [60], "likes": [1], "version": [1]})
        client.insert("post_metrics", {"post_id": ["p"], "version": [1]})
        client.insert("posts", {"post_id": ["p"], "version": [1]})
        [plan] = client.select(f"EXPLAIN indexes = 1 SELECT * FROM {view} WHERE {where}")
        reads = "\n".join(plan).split("ReadFromMergeTree")[1:]
        assert reads
        assert all("Condition: " in read and "(post_id in " in read for read in reads), "\n".join(plan)


def _random_panes(chance: random.Random, end: int) -> Panes:
    """Panes of some posts, each edge of each window and the minutes beside it among them, and the future."""
    edges = [minutes * factor for minutes in WINDOWS.values() for factor in (1, 2)]
    back = [edge + beside for edge in edges for beside in (-1, 0, 1)] + [-3, -1, 0, 1, 2, 5000, 600_000]
    panes = {}
    for post in [f"post-{number}'s" for number in range(6)]:
        for ago in chance.sample(back, chance.randrange(1, len(back))):
            panes[post, end - ago * 60] = tuple(chance.choice((0, 0, 1, 2, 5)) for _ in COUNTS)
    return panes


def _store(client: ClickHouse, panes: Panes, chance: random.Random) -> None:
    """Every pane twice, the older version last."""
    for version in (2, 1):
        counts = [pane if version == 2 else tuple(chance.randrange(9) for _ in COUNTS) for pane in panes.values()]
        columns: dict[str, Any] = dict(zip(COUNTS, map(list, zip(*counts, strict=True)), strict=True))
        columns |= {"post_id": [post for post, _ in panes], "minute": [minute for _, minute in panes]}
        client.insert("post_minutes", columns | {"version": [version] * len(panes)})


def _expected(panes: Panes, post: str, end: int, *, absent_is_zero: bool = False) -> dict[str, Any] | None:
    own = {minute: pane for (name, minute), pane in panes.items() if name == post and minute < end and any(pane)}
    if not own and not absent_is_zero:
        return None

    def net(measure: int, since: int, until: int) -> int:
        return sum(pane[measure] - pane[measure + 3] for minute, pane in own.items() if since <= minute < until)

    row: dict[str, Any] = {}
    for number, measure in enumerate(MEASURES):
        row[measure] = net(number, 0, end)
        for window, w in WINDOWS.items():
            new, old = net(number, end - w * 60, end), net(number, end - 2 * w * 60, end - w * 60)
            row[f"{measure}_{window}"] = new
            row[f"{measure}_velocity_{window}"] = new / w
            row[f"{measure}_acceleration_{window}"] = (new - old) / w**2
            row[f"{measure}_z_{window}"] = (new - old) / math.sqrt(new + old) if new + old > 0 else None
    for name, weights in WEIGHT_SETS.items():
        for suffix in ("", *(f"_{window}" for window in WINDOWS)):
            row[f"score_{name}{suffix}"] = sum(
                w * row[m + suffix] for w, m in zip(weights.weights, MEASURES, strict=True)
            )
    return row


def _assert_equal(found: dict[str, Any], truth: dict[str, Any]) -> None:
    for name, value in truth.items():
        assert found[name] == (value if value is None else pytest.approx(value, rel=1e-12)), name


def _names(client: ClickHouse, view: str) -> list[str]:
    """The view's columns, in order."""
    names: list[str] = client.select(f"DESCRIBE (SELECT * FROM {view})")[0]
    return names


def _rows(client: ClickHouse, sql: str, names: list[str]) -> dict[str, dict[str, Any]]:
    """Post -> column -> value."""
    return {row[0]: dict(zip(names, row, strict=True)) for row in zip(*client.select(sql), strict=True)}


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def test_freshness_has_one_row_also_of_nothing(client: ClickHouse) -> None:
    sql = "SELECT changed_at IS NULL, toUnixTimestamp(as_of), toUnixTimestamp(final_until) FROM freshness_v"
    assert client.select(sql) == [[1], [None], [None]]
    client.insert("post_metrics", {"post_id": ["a", "b"], "as_of": [T, T + 60], "version": [1, 1]})
    client.insert(
        "conversation_marks",
        {"partition": [0, 0, 1], "closed_until": [T, T + 300, T + 120]},
    )
    assert client.select(sql) == [[0], [T + 60], [T + 120]]
    assert client.select("SELECT asked_at >= changed_at FROM freshness_v") == [[1]]

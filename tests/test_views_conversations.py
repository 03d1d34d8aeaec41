"""Views of conversations and of messages that were carried over, against what was counted by hand."""

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from tests.rolled_days import roll_days

START = 1_767_225_600
"""2026-01-01."""

TAG, OURS, THEIRS = "hashtag:snow's", "brand:ours", "brand:theirs"


@pytest.fixture
def client(tables: Settings) -> Iterator[ClickHouse]:
    with ClickHouse(tables) as client:
        yield client


@pytest.fixture
def now() -> int:
    """The start of this minute, some seconds of which are left."""
    while time.time() % 60 > 45:
        time.sleep(0.5)
    return int(time.time()) // 60 * 60


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _insert(client: ClickHouse, table: str, names: str, *rows: tuple[Any, ...]) -> None:
    columns = dict(zip(names.split(), map(list, zip(*rows, strict=True)), strict=True))
    client.insert(table, columns | {"version": [1] * len(rows)})


def _row(client: ClickHouse, names: str, asked: str) -> dict[str, Any]:
    found = client.select(f"SELECT {names} FROM {asked}")
    assert [len(column) for column in found] == [1] * len(found)
    return dict(zip(names.split(", "), (column[0] for column in found), strict=True))


@pytest.mark.parametrize("rolled", [False, True])
def test_a_conversation_in_all_and_as_of_now(client: ClickHouse, now: int, rolled: bool) -> None:
    _insert(
        client,
        "conversation_minutes",
        "conversation minute posts likes shares comments voices is_final",
        (TAG, now, 1, 2, 3, 4, 4, 0),
        (TAG, now - 240, 0, 1, -1, 0, 1, 1),
        (TAG, now - 300, 1, 1, 1, 1, 2, 1),
        (TAG, now - 3540, 2, 0, 0, 5, 3, 1),
        (TAG, now - 86_340, 0, 0, 1, 0, 1, 1),
        (TAG, now - 86_400, 0, 9, 0, 0, 0, 1),
        (TAG, now - 90_000, 0, 0, 0, 0, 0, 1),
        (TAG, now + 540, 0, 0, 0, 7, 1, 0),
        (OURS, START, 1, 0, 0, 0, 1, 1),
    )
    _insert(
        client,
        "conversation_posts",
        "conversation minute post_id posts comments channels voices voices_exact",
        (TAG, now, "p", 1, 3, ["x"], [1, 2, 3], 1),
        (TAG, now, "q", 0, 1, ["x", "y"], [3, 4], 1),
        (TAG, now - 300, "p", 0, 1, ["z"], [4, 5], 1),
        (TAG, now - 86_400, "p", 0, 0, [], [6], 1),
        (TAG, now - 90_000, "left", 0, 0, [], [], 1),
        (TAG, now + 540, "p", 0, 7, ["x"], [7], 1),
    )
    if rolled:
        roll_days(client, now // 86_400)
    names = "minutes, is_final, posts, likes, shares, comments, posts_5m, likes_5m, shares_5m, comments_5m, "
    names += "comments_1h, posts_24h, shares_24h, likes_24h, voices, voices_5m, voices_1h, voices_24h, voices_error, "
    names += "voices_5m_error, channels"
    assert _row(client, names, f"conversations_v WHERE conversation = {quoted(TAG)}") == {
        "minutes": 7,
        "is_final": 0,
        "posts": 4,
        "likes": 13,
        "shares": 4,
        "comments": 17,
        "posts_5m": 1,
        "likes_5m": 3,
        "shares_5m": 2,
        "comments_5m": 4,
        "comments_1h": 10,
        "posts_24h": 4,
        "shares_24h": 4,
        "likes_24h": 4,
        "voices": 7,
        "voices_5m": 4,
        "voices_1h": 5,
        "voices_24h": 5,
        "voices_error": 0,
        "voices_5m_error": 0,
        "channels": 3,
    }
    times = "toUnixTimestamp(as_of), toUnixTimestamp(first_minute), toUnixTimestamp(windows_at)"
    assert list(_row(client, times, "conversations_v WHERE posts = 4").values()) == [now + 600, now - 86_400, now + 60]
    # What no row of conversation_posts says yet.
    assert _row(
        client, "posts, is_final, voices, channels, voices_error", f"conversations_v WHERE conversation = '{OURS}'"
    ) == {"posts": 1, "is_final": 1, "voices": 0, "channels": 0, "voices_error": 0}


def test_a_minute_is_final_once_it_is_closed_whoever_wrote_its_row(client: ClickHouse, now: int) -> None:
    """An owner may write a row of a minute that another one closes meanwhile; both partitions have passed it."""
    _insert(
        client,
        "conversation_minutes",
        "conversation minute comments is_final",
        *((TAG, now - 60 * minutes, 1, int(minutes == 9)) for minutes in (0, 1, 2, 9)),
    )
    names = "groupArray(is_final)"
    shown = f"(SELECT is_final FROM conversation_minutes_v WHERE conversation = {quoted(TAG)} ORDER BY minute)"
    assert _row(client, names, shown) == {names: [1, 0, 0, 0]}
    client.insert("conversation_marks", {"partition": [0, 1], "closed_until": [now - 60, now]})
    assert _row(client, names, shown) == {names: [1, 1, 0, 0]}
    client.insert("conversation_marks", {"partition": [0, 0], "closed_until": [now + 60, now - 600]})
    assert _row(client, names, shown) == {names: [1, 1, 1, 0]}
    whole = f"conversations_v WHERE conversation = {quoted(TAG)}"
    assert _row(client, "is_final", whole) == {"is_final": 0}
    client.insert("conversation_marks", {"partition": [1], "closed_until": [now + 60]})
    assert _row(client, "is_final", whole) == {"is_final": 1}


def test_voices_beyond_what_is_kept_are_estimated_within_their_error(client: ClickHouse, now: int) -> None:
    chance = random.Random(5)
    hashes = [chance.randrange(2**64) for _ in range(30_000)]
    # Three posts that overlap, the third with few voices, all of which are kept.
    parts = [hashes[:20_000], hashes[10_000:], hashes[:100]]
    rows = [(TAG, now, f"p{number}", sorted(part)[:256], int(len(part) <= 256)) for number, part in enumerate(parts)]
    _insert(client, "conversation_posts", "conversation minute post_id voices voices_exact", *rows)
    _insert(client, "conversation_minutes", "conversation minute comments voices", (TAG, now, 50_000, 30_000))
    found = _row(client, "voices, voices_error, voices_24h", "conversations_v")
    theta = min(max(row[3]) for row in rows[:2])
    kept = len({voice for row in rows for voice in row[3] if voice < theta})
    assert found["voices"] == found["voices_24h"] == round(kept / theta * 2**64)
    assert found["voices_error"] == pytest.approx(((1 - theta / 2**64) / kept) ** 0.5)
    assert abs(found["voices"] / 30_000 - 1) < 3 * found["voices_error"] < 0.25


@pytest.mark.parametrize("view", ["share_of_voice_v", "share_of_voice"])
def test_share_of_voice(client: ClickHouse, now: int, view: str) -> None:
    end = now if view == "share_of_voice_v" else START
    _insert(
        client,
        "conversation_minutes",
        "conversation minute posts likes shares comments voices",
        (OURS, end, 1, 50, 9, 3, 2),
        (OURS, end - 86_340, 0, 0, 0, 2, 1),
        (OURS, end - 86_400, 99, 0, 0, 99, 9),
        (THEIRS, end - 60, 4, 0, 0, 15, 5),
        (THEIRS, end - 120, 0, 0, 0, -1, 0),
        (TAG, end, 99, 99, 99, 99, 9),
        ("brand:quiet", end, 0, 3, 0, 0, 0),
        ("brand:gone", end, 0, 0, 0, 0, 0),
    )
    _insert(
        client,
        "conversation_posts",
        "conversation minute post_id voices voices_exact",
        (OURS, end, "p", [1, 2], 1),
        (OURS, end - 86_340, "p", [2], 1),
        (OURS, end - 86_400, "p", [9], 1),
        (THEIRS, end - 60, "q", [1, 2, 3, 4, 5, 6], 1),
    )
    since, until = client.select(
        "SELECT toString(toDateTime(%(a)s, 'UTC')), toString(toDateTime(%(b)s, 'UTC'))",
        {"a": end + 60 - 86_400, "b": end + 60},
    )
    asked = view if view.endswith("_v") else f"{view}(since = '{since[0]}', until = '{until[0]}')"
    found = client.select(
        "SELECT brand, conversation, posts, likes, comments, count, share, voices, voices_share, voices_error "
        f"FROM {asked} ORDER BY brand"
    )
    assert list(zip(*found, strict=True)) == [
        ("ours", OURS, 1, 50, 5, 6, 0.25, 2, 0.25, 0),
        ("quiet", "brand:quiet", 0, 3, 0, 0, 0, 0, 0, 0),
        ("theirs", THEIRS, 4, 0, 14, 18, 0.75, 6, 0.75, 0),
    ]


PAGE = "url:https://example.com/a"
POSTS = {
    # post: channel, seconds after START, net engagement
    "first": ("bluesky", 60, 10),
    "second": ("mastodon", 90.5, 4),
    "third": ("mastodon", 660, 2),
    "fourth": ("bluesky", 700, 0),
    "quote": ("x", 1000, 24),
    "alone": ("x", 5, 7),
    "old": ("x", 1, 1000),
    "quoted": ("y", 30, 0),
    "its quote": ("y", 40, 0),
}


@pytest.fixture
def carried(client: ClickHouse) -> ClickHouse:
    """Four posts with one address, of which one is quoted; one that carried it; a post that is quoted; one alone."""
    rows = [(PAGE, post, 1) for post in ("second", "first", "third", "fourth")]
    rows += [(PAGE, "old", 0), ("url:https://example.com/b", "alone", 1), ("post:third", "quote", 1)]
    rows += [("post:quoted", "its quote", 1), ("post:unknown", "alone", 1), ("post:alone", "fourth", 0)]
    _insert(
        client,
        "carry_over",
        "message post_id channel created_at is_current",
        *((message, post, POSTS[post][0], _ticks(post), current) for message, post, current in rows),
    )
    _insert(client, "posts", "post_id channel created_at", *((post, POSTS[post][0], _ticks(post)) for post in POSTS))
    measured = [(post, engagement - 1, 0, 1) for post, (_, _, engagement) in POSTS.items() if engagement]
    _insert(client, "post_metrics", "post_id likes shares comments", *measured)
    return client


def _ticks(post: str) -> int:
    return int((START + POSTS[post][1]) * 1_000_000)


def test_where_a_message_began_and_what_it_brought_elsewhere(carried: ClickHouse) -> None:
    names = "post_id, is_origin, lag_seconds, channel_lag_seconds, engagement"
    found = carried.select(f"SELECT {names} FROM carry_over_v WHERE message = '{PAGE}' ORDER BY created_at")
    assert list(zip(*found, strict=True)) == [
        ("first", 1, 0, 0, 10),
        ("second", 0, 30.5, 30.5, 4),
        ("third", 0, 600, 30.5, 2),
        ("fourth", 0, 640, 0, 0),
        # It quotes a post that carries the address.
        ("quote", 0, 940, 940, 24),
    ]
    of_message = "origin_post_id, origin_channel, toUnixTimestamp(origin_created_at), posts, channels, "
    of_message += "message_engagement, born_elsewhere"
    found = carried.select(f"SELECT DISTINCT {of_message} FROM carry_over_v WHERE message = '{PAGE}'")
    assert [column[0] for column in found] == ["first", "bluesky", START + 60, 5, 3, 40, 0.75]
    assert [len(column) for column in found] == [1] * 7


def test_what_is_quoted_is_the_origin_and_one_post_is_no_message(carried: ClickHouse) -> None:
    found = carried.select(
        "SELECT message, origin_post_id, post_id, lag_seconds, channels, born_elsewhere FROM carry_over_v "
        "WHERE startsWith(message, 'post:') ORDER BY message, created_at"
    )
    assert list(zip(*found, strict=True)) == [
        ("post:quoted", "quoted", "quoted", 0, 1, None),
        ("post:quoted", "quoted", "its quote", 10, 1, None),
        ("post:third", "third", "third", 0, 2, pytest.approx(24 / 26)),
        ("post:third", "third", "quote", 340, 2, pytest.approx(24 / 26)),
    ]
    [messages] = carried.select("SELECT DISTINCT message FROM carry_over_v ORDER BY message")
    assert messages == ["post:quoted", "post:third", PAGE]


def test_equally_old_posts_have_one_origin(client: ClickHouse) -> None:
    rows = [(PAGE, post, channel, START * 1_000_000, 1) for post, channel in (("b", "x"), ("a", "y"), ("c", "w"))]
    _insert(client, "carry_over", "message post_id channel created_at is_current", *rows)
    found = client.select("SELECT post_id, is_origin, origin_post_id, origin_channel, lag_seconds FROM carry_over_v")
    assert sorted(zip(*found, strict=True)) == [("a", 1, "a", "y", 0), ("b", 0, "a", "y", 0), ("c", 0, "a", "y", 0)]


@pytest.mark.parametrize(
    ("view", "column"),
    [
        ("conversations_v", "conversation"),
        ("conversation_minutes_v", "conversation"),
        ("carry_over_v", "message"),
    ],
)
def test_a_condition_reaches_every_table_that_has_the_key(client: ClickHouse, view: str, column: str) -> None:
    """Else each look at a conversation would read all of them."""
    tables = {"conversations_v": 2, "conversation_minutes_v": 1, "carry_over_v": 3}[view]
    _insert(client, "conversation_minutes", "conversation minute posts", (TAG, START, 1))
    _insert(client, "conversation_posts", "conversation minute post_id posts", (TAG, START, "p", 1))
    _insert(client, "carry_over", "message post_id is_current", (PAGE, "p", 1), ("post:p", "q", 1))
    _insert(client, "posts", "post_id channel", ("p", "x"))
    [plan] = client.select(f"EXPLAIN indexes = 1 SELECT * FROM {view} WHERE {column} = 'hashtag:a'")
    reads = "\n".join(plan).split("ReadFromMergeTree")[1:]
    keyed = [read for read in reads if f"({column} in " in read]
    assert len(keyed) >= tables, "\n".join(plan)

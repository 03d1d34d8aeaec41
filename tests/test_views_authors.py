"""Views of authors: rates by hand, over-performance against the formula in Python, and what ten thousand posts cost."""

import random
import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest
from scipy.stats import t as students_t

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings

AGES = (15, 60, 300, 1440, 10_080)
DAY = 86_400
START = 1_767_225_600
"""2026-01-01."""

NAMES = "actual_{0}, expected_{0}, over_performance_{0}, over_performance_{0}_low, over_performance_{0}_high"


@pytest.fixture
def client(tables: Settings) -> Iterator[ClickHouse]:
    with ClickHouse(tables) as client:
        yield client


def test_rates_of_an_author(client: ClickHouse) -> None:
    posts = [
        # post, author, channel, created, followers, deleted, likes, shares, comments
        ("1", "a", "x", START, 1000, None, 10, 4, 2),
        ("2", "a", "x", START + 60, 3000, None, 30, 0, 4),
        ("3", "a", "x", START + 120, None, None, 20, 2, 0),
        ("4", "a", "x", START + 180, None, START + 200, 900, 9, 9),
        ("5", "a", "y", START, None, None, 1, 1, 1),
        ("6", "b", "x", START, 0, START + 1, 7, 7, 7),
        ("7", "", "x", START, 5, None, 7, 7, 7),
        ("8", "c", "x", START, 500, None, 0, 0, 0),
    ]
    _insert_posts(client, [post[:4] for post in posts], [post[4] for post in posts], [post[5] for post in posts])
    measured = [post for post in posts if post[0] != "8"]
    columns = {name: [post[number] for post in measured] for name, number in (("post_id", 0), ("likes", 6))}
    columns |= {"shares": [post[7] for post in measured], "comments": [post[8] for post in measured]}
    client.insert("post_metrics", columns | {"version": [1] * len(measured)})
    found = client.select(
        "SELECT author_id, channel, posts, posts_deleted, followers, likes, shares, comments, "
        "applause, amplification, conversation, "
        "applause_per_1000_followers, amplification_per_1000_followers, conversation_per_1000_followers "
        "FROM authors_v ORDER BY author_id, channel"
    )
    assert list(zip(*found, strict=True)) == [
        ("a", "x", 3, 1, 3000, 60, 6, 6, 20, 2, 2, 10, 1, 1.5),
        ("a", "y", 1, 0, None, 1, 1, 1, 1, 1, 1, None, None, None),
        ("b", "x", 0, 1, 0, 0, 0, 0, None, None, None, None, None, None),
        ("c", "x", 1, 0, 500, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    ]


@pytest.mark.parametrize("read", ["over_performance_v", "over_performance"])
@pytest.mark.parametrize("seed", [1, 2])
def test_over_performance_is_the_published_formula(client: ClickHouse, read: str, seed: int) -> None:
    chance = random.Random(seed)
    now = int(time.time())
    posts: list[tuple[str, str, str, int]] = []
    panes: dict[str, dict[int, tuple[int, ...]]] = {}
    for author, channel, count in (("a", "x", 130), ("a", "y", 11), ("b's", "x", 14)):
        for number in range(count):
            # Some at the same moment; the newest ones too young for the later ages.
            created = now - 600 - (count - number) // 2 * chance.choice((3600, 7200)) - chance.randrange(3) * 20
            post = f"{author}-{channel}-{number}"
            posts.append((post, author, channel, created))
            quiet = chance.random() < 0.2
            ages = [-1, 0, 14, 15, 59, 60, 299, 300, 1439, 1440, 10_079, 10_080, chance.randrange(20_000)]
            panes[post] = {} if quiet else {age: _pane(chance) for age in chance.sample(ages, 6)}
    _insert_posts(client, posts, [None] * len(posts), [None] * len(posts))
    gone = ("gone", "a", "x", now - 90 * DAY)
    _insert_posts(client, [gone], [None], [now])
    _insert_panes(client, posts, panes)
    asked = "over_performance_v WHERE author_id = 'a' AND channel = 'x'"
    if read == "over_performance":
        asked = "over_performance(author = 'a', channel = 'x')"
    found = client.select(
        f"SELECT post_id, age, posts_compared, reason, {NAMES.format('plain')}, {NAMES.format('default')} FROM {asked}"
    )
    rows = {row[:2]: row[2:] for row in zip(*found, strict=True)}
    truth = _truth([post for post in posts if post[1:3] == ("a", "x")], panes, now)
    assert rows.keys() == truth.keys()
    for key, row in truth.items():
        assert rows[key][:2] == row[:2], key
        for found_value, value in zip(rows[key][2:], row[2:], strict=True):
            # Quantiles have eight decimals.
            close = found_value == value if value is None else found_value == pytest.approx(value, rel=1e-6, abs=1e-9)
            assert close, (key, rows[key], row)
    said = {row[1] for row in truth.values()}
    assert {None, "not enough posts yet"} <= said
    made = sorted(created for _, author, channel, created in posts if (author, channel) == ("a", "x"))
    for since, until in ((made[0], made[40]), (made[20], made[21]), (made[120], now), (made[0] - DAY, made[0])):
        of_range = f"over_performance_between(author = 'a', channel = 'x', since = {since}, until = {until})"
        within = f"created_at >= toDateTime({since}) AND created_at < toDateTime({until})"
        columns = f"post_id, age, posts_compared, reason, {NAMES.format('default')}"
        whole = client.select(
            f"SELECT {columns} FROM {asked} {'AND' if 'WHERE' in asked else 'WHERE'} {within} ORDER BY 1, 2"
        )
        assert client.select(f"SELECT {columns} FROM {of_range} ORDER BY 1, 2") == whole
        assert bool(whole[0]) == (until > made[0])


def test_examples_by_hand(client: ClickHouse) -> None:
    """Ten posts of 1 to 10 likes: the middle six, 3 to 8, have a mean of 5.5."""
    posts = [(f"{number}", "a", "x", START + number * 60) for number in range(10)]
    posts += [(name, "a", "x", START + DAY) for name in ("more", "none", "some")]
    panes = {f"{number}": {0: (number + 1, 0, 0, 0, 0, 0)} for number in range(10)}
    panes |= {"more": {5: (11, 0, 0, 0, 0, 0)}, "some": {5: (2, 1, 0, 1, 0, 0)}}
    for name in ("more", "none", "some"):
        client.execute("TRUNCATE TABLE posts")
        client.execute("TRUNCATE TABLE post_minutes")
        chosen = [post for post in posts if post[0] in (name, *map(str, range(10)))]
        _insert_posts(client, chosen, [None] * 11, [None] * 11)
        _insert_panes(client, chosen, panes)
        found = client.select(
            "SELECT posts_compared, actual_plain, expected_plain, over_performance_plain, over_performance_default "
            f"FROM over_performance(author = 'a', channel = 'x') WHERE post_id = '{name}' AND age = 60"
        )
        assert [column[0] for column in found] == {
            "more": [10, 11, 5.5, 2, 2],
            "none": [10, 0, 5.5, -11, -11],
            "some": [10, 2, 5.5, -2.75, pytest.approx(-5.5 / 3)],
        }[name]


def test_rates_per_follower_need_followers(client: ClickHouse) -> None:
    """One follower and 75 likes in two posts would be 37,500 a post and 1,000 followers."""
    posts = [
        # post, author, followers, deleted, likes
        ("1", "one", 1, None, 25),
        ("2", "one", 1, None, 50),
        ("3", "just under", 99, None, 9),
        ("4", "enough", 100, None, 9),
        ("5", "grown", 3, None, 900),
        ("6", "grown", 2000, None, 40),
        ("7", "grown", None, None, 700),
        ("8", "silent", None, None, 5),
        ("9", "gone", 5000, START + 1, 5),
        ("10", "was many", 5000, START + 1, 5),
        ("11", "was many", 0, None, 5),
    ]
    _insert_posts(
        client,
        [(post, author, "x", START) for post, author, *_ in posts],
        [post[2] for post in posts],
        [post[3] for post in posts],
    )
    likes = {"post_id": [post[0] for post in posts], "likes": [post[4] for post in posts]}
    client.insert("post_metrics", likes | {"version": [1] * len(posts)})
    found = client.select("SELECT author_id, applause_per_1000_followers, per_1000_followers_reason FROM authors_v")
    assert {author: row for author, *row in zip(*found, strict=True)} == {
        "one": [None, "under 100 followers"],
        "just under": [None, "under 100 followers"],
        "enough": [90, None],
        "grown": [20, None],
        "silent": [None, "followers are not known"],
        "gone": [None, "no posts that stand"],
        "was many": [None, "under 100 followers"],
    }


@pytest.mark.parametrize(
    ("earlier", "reason"),
    [
        ([(0, 0, 0)] * 8 + [(100, 0, 0)] * 2, "the middle half of these posts had nothing at this age"),
        ([(0, 0, 0)] * 10, "the middle half of these posts had nothing at this age"),
        ([(-3, 0, 1)] * 10, "the middle half of these posts had nothing at this age"),
        ([(-1, 0, 1)] * 10, "the middle half of these posts had nothing at this age, by weights plain"),
        ([(100, 0, 0)] * 9, "not enough posts yet"),
        ([(0, 0, 0)] * 2 + [(100, 0, 0)] * 8, None),
    ],
)
def test_the_reason_is_true(client: ClickHouse, earlier: list[tuple[int, int, int]], reason: str | None) -> None:
    """Of ten posts two had 100: the mean of the middle half is 0, and yet these posts had something."""
    posts = [(str(number), "a", "x", START + 60 * number) for number in range(len(earlier) + 1)]
    nets = [*earlier, (5, 0, 0)]
    panes = {
        str(number): {0: (*(max(net, 0) for net in post), *(max(-net, 0) for net in post))}
        for number, post in enumerate(nets)
    }
    _insert_posts(client, posts, [None] * len(posts), [None] * len(posts))
    _insert_panes(client, posts, panes)
    columns = client.select(
        "SELECT reason, over_performance_plain, over_performance_default FROM over_performance(author = 'a', channel = "
        f"'x') WHERE post_id = '{len(earlier)}' AND age = 60"
    )
    assert columns[0] == [reason]
    assert (columns[1] == [None]) == (reason is not None)
    assert (columns[2] == [None]) == (reason is not None and "plain" not in reason)


def test_ten_thousand_posts_of_an_author_are_read_twice_at_most(client: ClickHouse) -> None:
    """10,000 posts, 200,000 panes, among a million: each table is read at most twice. What it costs, benchmarks say."""
    client.execute(
        "INSERT INTO posts (post_id, author_id, channel, created_at, version) SELECT "
        "concat('post-', toString(number)), "
        f"if(number < 10000, 'busy', toString(number % 400)), 'x', toDateTime64({START - 400 * DAY}, 6, 'UTC') + "
        "toIntervalMinute(number * 57 % 570000), 1 FROM numbers(50000)"
    )
    client.execute(
        "INSERT INTO post_minutes (post_id, minute, likes, shares, comments, version) SELECT "
        "concat('post-', toString(intDiv(number, 20))), toStartOfMinute(toDateTime("
        f"{START - 400 * DAY}, 'UTC') + toIntervalMinute(intDiv(number, 20) * 57 % 570000 + number % 20 + "
        "toUInt32(pow(1.6, number % 20)))), cityHash64(number, 1) % 9, cityHash64(number, 2) % 3, "
        "cityHash64(number, 3) % 2, 1 FROM numbers(1000000)"
    )
    asked = f"SELECT {', '.join(f'sum({name})' for name in NAMES.format('plain').split(', '))}, "
    asked += f"{', '.join(f'sum({name})' for name in NAMES.format('default').split(', '))}, count() "
    asked += "FROM over_performance(author = 'busy', channel = 'x')"
    asked += f" SETTINGS max_rows_to_read = {2 * (1_000_000 + 50_000)}"
    assert client.select(asked)[-1] == [50_000]


def _pane(chance: random.Random) -> tuple[int, ...]:
    return tuple(chance.choice((0, 1, 3, 20)) for _ in range(3)) + tuple(chance.choice((0, 0, 1)) for _ in range(3))


def _truth(
    posts: list[tuple[str, str, str, int]], panes: dict[str, dict[int, tuple[int, ...]]], now: int
) -> dict[tuple[str, int], tuple[Any, ...]]:
    """By (post, age): posts compared, reason, and by set of weights what the view shows."""
    ordered = sorted(posts, key=lambda post: (post[3], post[0]))
    rows = {}
    for number, post in enumerate(ordered):
        for age in AGES:
            if post[3] // 60 * 60 + age * 60 > now:
                continue
            before = [each[0] for each in ordered[max(number - 100, 0) : number]]
            row: list[Any] = []
            usual = []
            for weights in ((1, 1, 1), (1, 2, 3)):
                actual = _engagement(panes[post[0]], age, weights)
                shown, expected = _compared(actual, sorted(_engagement(panes[each], age, weights) for each in before))
                row += shown
                usual.append(expected)
            reason = "not enough posts yet" if len(before) < 10 else None
            without = [name for name, expected in zip(("plain", "default"), usual, strict=True) if expected <= 0]
            if reason is None and without:
                reason = "the middle half of these posts had nothing at this age"
                reason += f", by weights {without[0]}" if len(without) == 1 else ""
            rows[post[0], age] = (len(before), reason, *row)
    return rows


def _engagement(panes: dict[int, tuple[int, ...]], age: int, weights: tuple[int, ...]) -> int:
    nets = [pane[measure] - pane[measure + 3] for at, pane in panes.items() if at < age for measure in range(3)]
    return max(sum(net * weights[number % 3] for number, net in enumerate(nets)), 0)


def _compared(actual: float, others: list[int]) -> tuple[list[Any], float]:
    n, k = len(others), len(others) // 4
    if n < 10:
        return [actual, None, None, None, None], 0
    middle = others[k : n - k]
    expected = statistics.fmean(middle)
    winsorized = [middle[0]] * k + middle + [middle[-1]] * k
    error = statistics.stdev(winsorized) / (len(middle) / n * n**0.5) * float(students_t.ppf(0.95, len(middle) - 1))
    return [actual, expected, *(_score(actual, e) for e in (expected, expected + error, expected - error))], expected


def _score(actual: float, expected: float) -> float | None:
    if expected <= 0:
        return None
    if actual == 0:
        return -2 * expected
    return actual / expected if actual >= expected else -expected / actual


def _insert_posts(client: ClickHouse, posts: list[Any], followers: list[Any], deleted: list[Any]) -> None:
    ids, authors, channels, created = map(list, zip(*posts, strict=True))
    client.insert(
        "posts",
        {
            "post_id": ids,
            "author_id": authors,
            "channel": channels,
            "created_at": [at * 1_000_000 for at in created],
            "followers": followers,
            "deleted_at": [None if at is None else at * 1_000_000 for at in deleted],
            "version": [1] * len(ids),
        },
    )


def _insert_panes(client: ClickHouse, posts: list[Any], panes: dict[str, dict[int, tuple[int, ...]]]) -> None:
    rows = [
        (post, created // 60 * 60 + 60 * age, *pane)
        for post, _, _, created in posts
        for age, pane in panes.get(post, {}).items()
    ]
    names = ("post_id", "minute", "likes", "shares", "comments")
    names += ("likes_retracted", "shares_retracted", "comments_retracted")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    client.insert("post_minutes", columns | {"version": [1] * len(rows)})

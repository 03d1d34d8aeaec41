"""R_t and the forecast of the next hour as readers of the views get them, long after the last share, on ClickHouse.

The posts: 25 shares in the first 50 minutes, 2, 12 and 29 days ago, beside one whose shares double every 20 minutes.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from processors.engagement.fold.fold import Fold
from processors.engagement.rows.spread import Spreading
from processors.virality.parameters import load_parameters
from tests.folding import Event, learn, like, take
from tests.hawkes import expected_shares, still_to_come
from tests.truth import truth_of

DAY = 1440
DEAD = {"dead-2d": 2 * DAY, "dead-12d": 12 * DAY, "dead-29d": 29 * DAY}
LIVE_AGE = 120
SHARES = {name: [2 * n for n in range(25)] for name in DEAD} | {
    "live": [int(20 * np.log2(n + 1)) for n in range(1, 2 ** (LIVE_AGE // 20))],
    "hush": [2 * n for n in range(25)],
    "early": [0, 1],
    "quiet": [],
}
"""Post -> minutes after the post in which it was shared."""

AGES = DEAD | {"live": LIVE_AGE, "hush": 100, "early": 4, "quiet": 60}
NAMES = ("reproduction", "reproduction_low", "reproduction_high", "spread_reason", "forecast_shares_next_1h")


@pytest.fixture
def client(tables: Settings) -> Iterator[ClickHouse]:
    with ClickHouse(tables) as client:
        yield client


@pytest.fixture
def minute() -> int:
    """The minute in which the test begins, since 1970."""
    return int(time.time()) // 60


@pytest.mark.parametrize("is_rewritten", [True, False], ids=["written as ages doubled", "as the newest event left it"])
def test_dead_posts_say_so_and_stand_behind_a_live_one(client: ClickHouse, minute: int, is_rewritten: bool) -> None:
    _store(client, minute, is_rewritten)
    shown = _shown(client, "post_metrics_v", *NAMES)
    for name in DEAD:
        assert shown[name][:4] == (None, None, None, "faded")
        assert 0 < shown[name][4] < 0.03
    assert shown["live"][0] > 2
    assert shown["live"][3] is None
    assert shown["early"][3] == "too few shares to tell"
    assert shown["quiet"] == (None, None, None, "no shares", None)
    [ranked] = client.select(
        "SELECT post_id FROM post_metrics_v WHERE shares >= 20 ORDER BY forecast_shares_next_1h DESC"
    )
    assert list(ranked) == ["live", "hush", "dead-2d", "dead-12d", "dead-29d"]


def test_history_and_table_say_it_at_their_own_time(client: ClickHouse, minute: int) -> None:
    _store(client, minute, True)
    for source in ("post_history_v", "post_metrics_v"):
        shown = _shown(client, source, "reproduction", "spread_reason")
        assert {shown[name] for name in DEAD} == {(None, "faded")}
    columns = client.select(
        "SELECT post_id, isNaN(reproduction), toUInt8(spread_reason), forecast_shares_next_1h FROM post_metrics FINAL"
    )
    stored = {post_id: row for post_id, *row in zip(*columns, strict=True)}
    for name in DEAD:
        assert stored[name][:2] == [1, 3]
        assert 0 < stored[name][2] < 0.03
    assert stored["early"][:2] == [1, 4]


@pytest.mark.parametrize("is_rewritten", [True, False], ids=["written as ages doubled", "as the newest event left it"])
def test_numbers_as_of_now_are_those_of_the_process(client: ClickHouse, minute: int, is_rewritten: bool) -> None:
    _store(client, minute, is_rewritten)
    columns = client.select(
        f"SELECT post_id, toUnixTimestamp(windows_at), toUnixTimestamp(spread_as_of), {', '.join(NAMES)}, "
        "toUnixTimestamp(reproduction_as_of) FROM post_metrics_v WHERE shares > 0"
    )
    for post_id, windows_at, spread_as_of, r, low, high, _, expected, r_at in zip(*columns, strict=True):
        age = windows_at // 60 - (minute - AGES[post_id])
        stored_at = spread_as_of // 60 - (minute - AGES[post_id])
        nodes = np.array([0, *SHARES[post_id]]) + 0.5
        half = max(stored_at / 2, 5)
        new = (nodes[1:] > stored_at - half).sum()
        due = _due(nodes, stored_at - half, stored_at) + still_to_come(nodes, stored_at) - still_to_come(nodes, age)
        truth = expected_shares(nodes, age, min((1 + new) / (1.5 + due), 2.0))
        assert expected == pytest.approx(truth, rel=1e-3), post_id
        window = min(max(age / 2, 5), 120)
        is_silent = stored_at <= age - window
        assert r_at == (windows_at if is_silent else spread_as_of), post_id
        if is_silent and (due := _due(nodes, age - window, age)) >= 0.8:
            assert r == pytest.approx(1 / (0.2 + due)), post_id
            assert (low, high) == pytest.approx((-np.log(0.95) * r, -np.log(0.05) * r)), post_id
        elif is_silent:
            assert r is None, post_id


def test_a_row_of_an_older_fold_version_is_shown_as_stored(client: ClickHouse, minute: int) -> None:
    old = {"post_id": ["p"], "as_of": [minute * 60], "spread_as_of": [minute * 60 - 9000], "reproduction": [1.5]}
    client.insert("post_metrics", old | {"version": [1]})
    assert _shown(client, "post_metrics_v", "reproduction", "spread_reason", "forecast_shares_next_1h") == {
        "p": (1.5, None, None)
    }


def _store(client: ClickHouse, minute: int, is_rewritten: bool) -> None:
    """Stores the rows that a worker has written by now: each as the newest event left it, or also at the doublings of
    the age since then."""
    events = [event for name in SHARES for event in _events(name, minute - AGES[name])]
    fold = Fold()
    take(fold, [event for event in events if event["kind"] != "post"])
    fold.add([name for name, shares in SHARES.items() if not shares], np.zeros(1, np.uint16))
    learn(fold, truth_of(events))
    posts = np.arange(len(fold))
    created = {name: (minute - AGES[name]) * 60_000_000 for name in SHARES}
    client.insert(
        "posts",
        {"post_id": list(created), "created_at": list(created.values()), "version": [1] * len(created)},
    )
    spreading = Spreading(load_parameters())
    for mark in (0, minute) if is_rewritten else (0,):
        at = Spreading.times(fold, posts, mark)
        client.insert("post_metrics", spreading.rows(fold, posts, np.maximum(at, minute - 60 * DAY)))


def _events(post_id: str, created: int) -> list[Event]:
    def at(after: int) -> str:
        return datetime.fromtimestamp((created + after) * 60, UTC).isoformat()

    post = like(post_id, at(0), kind="post", post_id=post_id)
    return [post] + [
        like(f"{post_id}-{number}", at(after), kind="share", post_id=post_id)
        for number, after in enumerate(SHARES[post_id])
    ]


def _due(nodes: Any, since: float, until: float) -> float:
    """Returns the shares due between two ages at one a node."""
    old = nodes[nodes <= since]
    return float((len(nodes) - still_to_come(nodes, until)) - (len(old) - still_to_come(old, since)))


def _shown(client: ClickHouse, view: str, *names: str) -> dict[str, tuple[Any, ...]]:
    columns = client.select(f"SELECT post_id, {', '.join(names)} FROM {view}")
    return {row[0]: row[1:] for row in zip(*columns, strict=True)}

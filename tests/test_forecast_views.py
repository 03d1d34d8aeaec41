"""The forecast that views compute for active posts is that of all posts, whatever they leave out on the way."""

import time
from collections.abc import Iterator

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from schemas.spread import KERNEL, PARAMETER_WIDTHS
from tests.copied_facts import copy_facts

AUTHORS = {"copied": "ann", "copied too": "bob", "of nobody known": "", "not copied yet": "cid"}
HABIT = 0.7


@pytest.fixture
def client(tables: Settings) -> Iterator[ClickHouse]:
    with ClickHouse(tables) as client:
        yield client


def _parameters() -> list[float]:
    """Makes parameters by which a habit counts as it is: a correction of 0 for all else, within wide bounds."""
    of = {name: [0.0] * width for name, width in PARAMETER_WIDTHS.items()}
    of["scale"] = [1.0] * PARAMETER_WIDTHS["scale"]
    of["correction"][-1] = 1.0
    of["bounds"] = [-9.0, 9.0]
    of["double"] = [0.5]
    return [number for numbers in of.values() for number in numbers]


def _store(client: ClickHouse, now: int, posts: list[str]) -> None:
    authors = [AUTHORS[post] for post in posts]
    count = len(posts)
    client.insert(
        "posts",
        {
            "post_id": posts,
            "author_id": authors,
            "channel": ["x"] * count,
            "created_at": [(now - 2 * 3600) * 1_000_000] * count,
            "version": [1] * count,
        },
    )
    client.insert(
        "post_metrics",
        {
            "post_id": posts,
            "as_of": [now - 60] * count,
            "spread_as_of": [now - 60] * count,
            "shares": [20] * count,
            "forecast_shares": [25.0] * count,
            "spread_shape": [12.0] * count,
            "spread_rate": [9.0] * count,
            "spread_lag": [0.4] * count,
            "spread_log_lag": [-1.0] * count,
            **{f"spread_rest_{number}": [0.5] * count for number in range(1, len(KERNEL) + 1)},
            "version": [1] * count,
        },
    )


def test_habits_of_authors_of_active_posts_alone(client: ClickHouse) -> None:
    """Also of those whose post has become active a moment ago, and is not among the copied facts yet."""
    now = int(time.time())
    own = _parameters()
    client.insert(
        "forecast_versions",
        {
            "channel": ["x"],
            "holds_from": [now - 86_400],
            "step": [4],
            "age": [60.0],
            "next_age": [180.0],
            "finished": [100],
            "here": [own],
            "ahead": [own],
        },
    )
    known = ["ann", "cid", "dan", ""]
    client.insert(
        "forecast_habits",
        {
            "channel": ["x"] * len(known),
            "author_id": known,
            "holds_from": [now - 86_400] * len(known),
            "habit": [HABIT] * len(known),
        },
    )
    _store(client, now, list(AUTHORS)[:3])
    copy_facts(client)
    _store(client, now, list(AUTHORS)[3:])
    assert client.select("SELECT post_id FROM posts_active ORDER BY post_id") == [sorted(list(AUTHORS)[:3])]
    asked = "SELECT post_id, forecast_shares, forecast_shares_high, forecast_basis FROM {} ORDER BY post_id"
    found = client.select(asked.format("post_metrics_active_v"))
    for view in ("post_metrics_v", "post_forecasts_v"):
        assert found == client.select(asked.format(view))
    shares = dict(zip(*found[:2], strict=True))
    assert shares["copied"] == shares["not copied yet"] > shares["copied too"] > 20
    assert set(found[3]) == {"own, 100 posts"}

"""What views of posts say of trees, spread and threads: NULL and a word where it is not known, and what follows."""

import math
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from schemas.tables import POST_METRICS, TABLES

FLAT = "no event of this tree names a parent: all hang under the post, so its shape says little"


@pytest.fixture
def minute() -> int:
    """The start of the minute in which the test begins, as Unix time; no test is near an edge that it would notice."""
    return int(time.time()) // 60 * 60


@pytest.fixture
def waiting_since(minute: int) -> int:
    """An hour ago."""
    return minute - 3600


@pytest.fixture
def client(tables: Settings, minute: int, waiting_since: int) -> Iterator[ClickHouse]:
    with ClickHouse(tables) as client:
        for row in _rows(minute, waiting_since):
            client.insert("post_metrics", {name: [value] for name, value in row.items()} | {"version": [1]})
        yield client


def _rows(minute: int, waiting_since: int) -> list[dict[str, Any]]:
    known: dict[str, Any] = {
        "post_id": "known",
        "as_of": minute - 60,
        "age_minutes": 10,
        "share_size": 11,
        "share_depth": 3,
        "share_structural_virality": 2.5,
        "share_parents_known": 1,
        "share_levels": [4, 6, 0, 3],
        "comment_size": 1,
        "comment_structural_virality": math.nan,
        "reproduction": 1.5,
        "thread_h_index": 2,
        "brand_turns": 3,
        "audience_turns": 4,
        "unanswered": 2,
        "oldest_unanswered_at": waiting_since,
        "first_response_p50": 7.0,
    }
    unknown = known | {"post_id": "unknown", "spread_reason": 1, "thread_reason": 1, "share_parents_known": 0}
    huge = known | {"post_id": "huge", "spread_reason": 9, "thread_reason": 2, "tree_truncated": 1, "share_levels": []}
    nothing = {
        "post_id": "nothing",
        "as_of": minute - 60,
        "age_minutes": 10,
        "first_response_p50": math.nan,
        "reproduction": math.nan,
    }
    return [known, unknown, huge, nothing | {"spread_reason": 2, "share_size": 1, "share_levels": []}]


def _shown(client: ClickHouse, view: str, *names: str) -> dict[str, tuple[Any, ...]]:
    columns = client.select(f"SELECT post_id, {', '.join(names)} FROM {view}")
    return {row[0]: row[1:] for row in zip(*columns, strict=True)}


def test_trees(client: ClickHouse) -> None:
    view = "post_metrics_v"
    assert _shown(client, view, "share_size", "share_depth", "share_structural_virality", "share_note") == {
        "known": (11, 3, 2.5, None),
        "unknown": (11, 3, 2.5, FLAT),
        "huge": (None, None, None, "too many events: not known"),
        "nothing": (1, 0, 0, None),
    }
    assert _shown(client, view, "share_generations", "share_levels", "comment_note") == {
        "known": ([1.5, 0, None], [4, 6, 0, 3], None),
        "unknown": ([1.5, 0, None], [4, 6, 0, 3], None),
        "huge": ([], [], "too many events: not known"),
        "nothing": ([], [], None),
    }
    assert _shown(client, view, "comment_structural_virality")["known"] == (None,)
    assert _shown(client, "post_history_v", "share_depth", "share_structural_virality") == {
        "known": (3, 2.5),
        "unknown": (3, 2.5),
        "huge": (None, None),
        "nothing": (0, 0),
    }


@pytest.mark.parametrize("view", ["post_metrics_v", "post_history_v"])
def test_spread_and_threads_say_why_they_are_not_known(client: ClickHouse, view: str) -> None:
    assert _shown(client, view, "spread_reason", "thread_reason", "reproduction") == {
        "known": (None, None, 1.5),
        "unknown": ("the post itself has not come", "the post itself has not come", 1.5),
        "huge": ("code 9", "truncated", 1.5),
        "nothing": ("no shares", None, None),
    }
    assert _shown(client, view, "thread_h_index", "brand_turns", "unanswered", "brand_ratio", "first_response_p50") == {
        "known": (2, 3, 2, 0.75, 7),
        "unknown": (2, None, None, None, None),
        "huge": (None, None, None, None, None),
        "nothing": (0, 0, 0, None, None),
    }


def test_how_long_the_oldest_waits(client: ClickHouse, waiting_since: int) -> None:
    then = _shown(client, "post_history_v", "toUnixTimestamp(oldest_unanswered_at)", "oldest_unanswered_minutes")
    now = _shown(client, "post_metrics_v", "toUnixTimestamp(oldest_unanswered_at)", "oldest_unanswered_minutes")
    for shown in (then, now):
        assert shown["known"][0] == waiting_since
        assert [shown[post] for post in ("unknown", "huge", "nothing")] == [(None, None)] * 3
    assert then["known"][1] == 59
    assert now["known"][1] == pytest.approx((time.time() - waiting_since) / 60, abs=2)


def test_the_half_life_of_the_rate_is_as_of_now_and_then(client: ClickHouse, minute: int) -> None:
    client.insert(
        "post_minutes",
        {
            "post_id": ["known", "known", "huge"],
            "minute": [minute - 600, minute - 3600 * 2 + 600, minute - 600],
            "likes": [1, 3, 5],
            "shares": [1, 5, 0],
            "version": [1, 1, 1],
        },
    )
    now = _shown(client, "post_metrics_v", "rate_half_life_1h", "rate_half_life_5m")
    assert now == {"known": (pytest.approx(30), None), "huge": (None, None)} | dict.fromkeys(
        ("unknown", "nothing"), (None, None)
    )
    [text] = client.select("SELECT toString(toDateTime(%(t)s, 'UTC'))", {"t": minute + 60})
    then = _shown(client, f"post_metrics_at(t = '{text[0]}')", "rate_half_life_1h")
    assert then == {"known": (pytest.approx(30),), "huge": (None,)}


def test_what_was_known_then_stays(client: ClickHouse, minute: int) -> None:
    client.insert(
        "post_metrics",
        {
            "post_id": ["known"],
            "as_of": [minute],
            "age_minutes": [11],
            "likes": [5],
            "reproduction": [0.5],
            "version": [2],
        },
    )
    assert _shown(client, "post_metrics_v", "likes", "reproduction")["known"] == (5, 0.5)
    columns = client.select(
        "SELECT toUnixTimestamp(as_of), likes, reproduction FROM post_history_v WHERE post_id = 'known'"
    )
    assert sorted(zip(*columns, strict=True)) == [(minute - 60, 0, 1.5), (minute, 5, 0.5)]


def test_reasons_cover_what_the_tables_declare() -> None:
    declared = {column.name for table in TABLES for column in table.columns if column.name.endswith("_reason")}
    assert declared == {"spread_reason", "thread_reason"}
    assert all(POST_METRICS[name].reasons for name in declared)

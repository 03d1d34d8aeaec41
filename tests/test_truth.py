"""The judge itself, against sums done by hand."""

from math import log2

import pytest

from tests.truth import PostTruth, microseconds, truth_of

T0 = "2026-03-01T10:00:30Z"
MINUTE = microseconds(T0) // 60_000_000


def event(name: str, minute: int = 0, kind: str = "like", **more: object) -> dict[str, object]:
    return {
        "event_id": name,
        "kind": kind,
        "post_id": "p",
        "actor_id": name,
        "occurred_at": f"2026-03-01T{10 + minute // 60:02}:{minute % 60:02}:30Z",
        **more,
    }


def undo(target: str, minute: int = 0, kind: str = "like", **more: object) -> dict[str, object]:
    return event(f"{target}#undo", minute, kind, **{"action": "retract", "target_id": target, **more})


def post(*events: dict[str, object]) -> PostTruth:
    return truth_of(events)["p"]


def test_by_hand() -> None:
    found = post(
        event("a", 0, actor_id="x", channel="bluesky"),
        event("b", 1, actor_id="x", channel="bluesky"),
        event("c", 61, "share", actor_id="y", channel="mastodon"),
        undo("b", 62),
        undo("ghost", 63),
    )
    assert found.minutes == {
        MINUTE: (1, 0, 0, 0, 0, 0),
        MINUTE + 1: (1, 0, 0, 0, 0, 0),
        MINUTE + 61: (0, 1, 0, 0, 0, 0),
        MINUTE + 62: (0, 0, 0, 1, 0, 0),
    }
    row = found.metrics()
    assert row["as_of"] == (MINUTE + 64) * 60
    assert (row["likes"], row["shares"], row["comments"], row["actors"], row["channels"]) == (1, 1, 0, 2, 2)
    assert (row["events_seen"], row["retractions_unmatched"]) == (5, 1)
    assert (row["likes_5m"], row["shares_5m"], row["likes_1h"], row["likes_24h"]) == (-1, 1, -1, 1)
    assert row["likes_acceleration_1h"] == (-1 - 2) / 3600
    assert row["likes_z_1h"] == (-1 - 2) / 1
    assert row["likes_z_5m"] is None
    assert row["shares_velocity_5m"] == 0.2
    assert (row["score_default"], row["score_default_5m"], row["score_plain_24h"]) == (3, 1, 2)
    assert row["channel_entropy"] is None
    assert row["hot_6h"] == pytest.approx((MINUTE + 62) / 360 + log2(2 + 2 ** (-61 / 360)), rel=1e-14)


def test_six_minutes_after_the_last_like_no_likes_are_left() -> None:
    found = post(event("a", 0))
    assert [found.windows(MINUTE + after)["likes_5m"] for after in (0, 1, 5, 6)] == [0, 1, 1, 0]


def test_an_identity_counts_once_and_the_first_one_counts() -> None:
    found = post(event("a", 0, actor_id="x"), event("a", 5, actor_id="y"), event("a", 0, "share"), undo("a", 1))
    assert found.net == (0, 1, 0)
    assert found.minutes == {MINUTE: (1, 1, 0, 0, 0, 0), MINUTE + 1: (0, 0, 0, 1, 0, 0)}
    assert found.events_seen == 3


def test_of_two_retractions_the_earliest_counts() -> None:
    found = post(undo("a", 9), event("a", 0), undo("a", 3, event_id="u2"))
    assert found.minutes == {MINUTE: (1, 0, 0, 0, 0, 0), MINUTE + 3: (0, 0, 0, 1, 0, 0)}
    assert found.retractions_unmatched == 0


def test_entropy_of_two_equal_channels_is_one_bit() -> None:
    found = post(*(event(f"l{n}", channel="ab"[n % 2]) for n in range(20)))
    assert (found.entropy, found.metrics()["channels_effective"]) == (1.0, 2.0)


def test_facts() -> None:
    first = event("p", 0, "post", actor_id="ann", url="u1", hashtags=["#One"])
    newer = event(
        "p2", 1, "post", actor_id="ann", author_id="anna", hashtags=["ＴＷＯ", "two"], mentions=["@Bob"], followers=7
    )
    facts = post(first, newer, undo("p", 5, "post"), undo("else", 2, "post")).facts()
    assert facts == {
        "author_id": "anna",
        "channel": "",
        "created_at": MINUTE * 60_000_000 + 30_000_000,
        "url": "",
        "conversations": ["hashtag:two", "mention:bob", "author:/anna"],
        "mentions": ["bob"],
        "links": [],
        "quotes": "",
        "followers": 7,
        "deleted_at": (MINUTE + 5) * 60_000_000 + 30_000_000,
        "labels": [],
        "text": "",
    }
    assert post(undo("p", 0, "post")).facts() is None

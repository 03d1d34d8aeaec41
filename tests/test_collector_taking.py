"""What the collector takes of one event: absence in each spelling, folded channels, leap seconds."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from producers.collector.reading.taking import TakingRules
from schemas.events import InvalidEvent, parse_event

LIKE = {"event_id": "l", "kind": "like", "post_id": "p", "actor_id": "a", "occurred_at": "2026-01-01T00:00:00Z"}


def _take(channels: tuple[str, ...] | None, id_root: str = "", **more: Any) -> tuple[Any, bytes]:
    lone = channels[0] if channels is not None and len(channels) == 1 else None
    rules = TakingRules(channels, lone, id_root, datetime(2026, 7, 2, tzinfo=UTC), 10_000)
    event = {name: value for name, value in {**LIKE, **more}.items() if value is not ...}
    return rules.take(json.dumps(event).encode(), 3)


@pytest.mark.parametrize("absent", [..., None, ""])
def test_what_is_absent_in_any_spelling_is_filled_in(absent: Any) -> None:
    event, value = _take(("bluesky",), "root", channel=absent, event_id=absent, parent_id="", hashtags=[""])
    sent = parse_event(value)
    assert (event["channel"], event["event_id"]) == (sent["channel"], sent["event_id"]) == ("bluesky", "root:3")


@pytest.mark.parametrize("spelling", ["bluesky", "Bluesky ", "ＢＬＵＥＳＫＹ", "blue\u00adsky"])
def test_a_key_of_a_channel_sends_the_channel_in_any_spelling(spelling: str) -> None:
    assert _take(("Bluesky", "x"), channel=spelling)[0]["channel"] == spelling
    with pytest.raises(InvalidEvent, match="this key may send mastodon only"):
        _take(("mastodon",), channel=spelling)


@pytest.mark.parametrize("absent", [..., None, ""])
def test_a_key_of_two_channels_needs_one(absent: Any) -> None:
    with pytest.raises(InvalidEvent, match="channel: Field required with this key: one of bluesky, x"):
        _take(("bluesky", "x"), channel=absent)


def test_a_leap_second_is_taken_and_another_second_60_is_refused() -> None:
    event, value = _take(None, occurred_at="2026-06-30T23:59:60Z")
    assert event["occurred_at"] == datetime(2026, 6, 30, 23, 59, 59, 999_999, UTC)
    assert parse_event(value)["occurred_at"] == event["occurred_at"]
    with pytest.raises(InvalidEvent, match="second 60 is a leap second"):
        _take(None, occurred_at="2026-06-30T22:59:60Z")

"""A view with a time takes each spelling that an event's time may have, and what SQL makes, to the same moment."""

from collections.abc import Iterator

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.errors import Refused
from pipeline.settings import Settings

NOON = [
    "'2026-01-01T12:00:00Z'",
    "'2026-01-01t12:00:00z'",
    "'2026-01-01T13:00:00+01:00'",
    "'2026-01-01T06:30:00.000-05:30'",
    "'2026-01-01T12:00:00.000000Z'",
    "'2026-01-01 12:00:00Z'",
    "'2026-01-01 12:00:00'",
    "'2026-01-01 12:00'",
    "' 2026-01-01T12:00:00Z '",
    "1767268800",
    "'1767268800'",
    "toDateTime('2026-01-01 12:00:00', 'UTC')",
    "toDateTime64('2026-01-01 12:00:00', 6, 'UTC')",
    "toTimeZone(toDateTime('2026-01-01 13:00:00', 'Europe/Berlin'), 'UTC')",
    "toDate('2026-01-01') + INTERVAL 12 HOUR",
]
"""Spellings of one moment."""


@pytest.fixture
def panes(tables: Settings) -> Iterator[ClickHouse]:
    """A post with likes at 11:58 (1), 11:59 (2), 12:00 (4) and 12:01 (8)."""
    noon = 1_767_268_800
    minutes = [noon - 120, noon - 60, noon, noon + 60]
    columns = {"post_id": ["p"] * 4, "minute": minutes, "likes": [1, 2, 4, 8], "version": [1] * 4}
    spoken = {"conversation": ["brand:acme"] * 4, "minute": minutes, "posts": [1, 2, 4, 8], "version": [1] * 4}
    with ClickHouse(tables) as client:
        client.insert("post_minutes", columns)
        client.insert("conversation_minutes", spoken)
        yield client


@pytest.mark.parametrize("spelling", NOON)
def test_a_moment_in_each_spelling(panes: ClickHouse, spelling: str) -> None:
    found = panes.select(f"SELECT likes, toString(windows_at) FROM post_metrics_at(t = {spelling})")
    assert found == [[3], ["2026-01-01 12:00:00"]]
    count = f"SELECT posts FROM share_of_voice(since = {spelling}, until = '2026-01-01T12:01:00Z')"
    assert panes.select(count) == [[4]]
    count = f"SELECT posts FROM share_of_voice(since = '2026-01-01T11:59:00Z', until = {spelling})"
    assert panes.select(count) == [[2]]


@pytest.mark.parametrize(
    "spelling",
    [
        "'2026-01-01T12:00:00.000001Z'",
        "'2026-01-01T12:00:59.999999Z'",
        "'2026-01-01 12:00:30'",
        "toDateTime64('2026-01-01 12:00:00.5', 3, 'UTC')",
        "'1767268800.25'",
    ],
)
def test_a_time_within_a_minute_is_the_end_of_the_minute(panes: ClickHouse, spelling: str) -> None:
    found = panes.select(f"SELECT likes, toString(windows_at) FROM post_metrics_at(t = {spelling})")
    assert found == [[7], ["2026-01-01 12:01:00"]]
    assert panes.select(f"SELECT posts FROM share_of_voice(since = {spelling}, until = '2027-01-01')") == [[8]]
    assert panes.select(f"SELECT posts FROM share_of_voice(since = '2025-01-01', until = {spelling})") == [[7]]


def test_times_beyond_a_datetime_are_the_first_and_the_last(panes: ClickHouse) -> None:
    assert panes.select("SELECT likes FROM post_metrics_at(t = '2299-01-01T00:00:00Z')") == [[15]]
    assert panes.select("SELECT likes FROM post_metrics_at(t = '1950-01-01T00:00:00Z')") == [[]]
    assert panes.select("SELECT posts FROM share_of_voice(since = '1950-01-01', until = '2299-01-01')") == [[15]]


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "",
        "2026-13-01",
        "2026-01-01T25:00:00Z",
        "12:00",
        "01/02/2026",
        "2026",
        "now()",
        "2026-01-01T12:00:00Z x",
        "2026-02-30T00:00:00Z",
        "2026-W01-4",
        "2026-01-01T12:00:00,5Z",
        "2026-01-01T24:00:00Z",
    ],
)
def test_no_time_is_refused(panes: ClickHouse, text: str) -> None:
    with pytest.raises(Refused, match=r"\(code 395: t must be a time such as 2026-01-01T12:00:00Z"):
        panes.select(f"SELECT likes FROM post_metrics_at(t = '{text}')")

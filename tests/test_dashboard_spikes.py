"""The dashboard of spikes on the real ClickHouse: what it shows of a storm with a cause, receivers and failures, what
its variables let through, and that a hostile value in any of them stays a string."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from deploy.grafana.expansion import DASHBOARDS, Value, as_the_data_source_sends_it, sql_of
from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from tests.hostile_names import HOSTILE

FROM, TO = 1_767_225_600, 1_767_232_800
"""2026-01-01 00:00 to 02:00."""

QUERIES: Final = sql_of(DASHBOARDS["spikes"])
ALL: Final[dict[str, Value]] = {
    "search": "",
    "kind": "all",
    "severity": "info",
    "channel": "every channel",
    "spike": "a",
}

SPIKES: Final = {
    "a": ("hashtag:acme", 10, 30, "critical", 0.5, 40.0, ["author:bluesky/ana", "author:mastodon/bo"]),
    "b": ("brand:acme", 12, 30, "warning", 0.25, 20.0, ["author:bluesky/ana"]),
    "c": ("thread:p9", 70, None, "notice", 2.0, 9.0, ["author:mastodon/bo"]),
    "d": ("hashtag:weather", 90, 95, "info", 1.0, 6.0, []),
    "old": ("hashtag:acme", -600, -500, "critical", 1.0, 99.0, ["author:bluesky/ana"]),
}
"""Spike -> conversation, first and last minute after FROM, severity, usual level, level reached, authors."""

DELIVERIES: Final = [
    ("a", "team", "opened", (FROM + 11 * 60) * 1000, 1, "delivered"),
    ("a", "pager", "opened", None, 4, "HTTP 500: no"),
    ("a", "team", "resolved", (FROM + 31 * 60) * 1000, 2, "delivered"),
    ("d", "team", "opened", None, 0, "minor: info"),
]
"""Spike, receiver, state, when it was taken (ms), attempts, outcome."""


def _columns(names: str, rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    columns = dict(zip(names.split(), map(list, zip(*rows, strict=True)), strict=True))
    return columns | {"version": [1] * len(rows)}


@pytest.fixture
def client(tables: Settings) -> Iterator[ClickHouse]:
    """Two spikes of one cause, one that goes on, a minor one, and one of the day before."""
    with ClickHouse(tables) as client:
        rows = [
            (
                *(name, conversation, FROM + 60 * first, None if last is None else FROM + 60 * last),
                *("opened" if last is None else "resolved", FROM + 60 * (last or first + 5), severity, usual, level),
                *([f"{name}-1", f"{name}-2"], [30, 5], ["https://x.example/1?a=%20b", "javascript:alert(1)"]),
                *(authors, ["sudden", "many people"], 100),
            )
            for name, (conversation, first, last, severity, usual, level, authors) in SPIKES.items()
        ]
        names = "spike_id conversation started_at ended_at state as_of severity expected observed"
        names += " top_posts top_counts top_urls top_authors reasons voices"
        client.insert("conversation_spikes", _columns(names, rows))
        client.insert("spike_groups", _columns("spike_id group_id", [("a", "a"), ("b", "a")]))
        names = "spike_id receiver state delivered_at attempts outcome"
        client.insert("alert_deliveries", _columns(names, DELIVERIES))
        minutes = [("hashtag:acme", FROM + 60 * minute, 1, minute) for minute in range(8, 14)]
        client.insert("conversation_minutes", _columns("conversation minute posts comments", minutes))
        yield client


def _shown(client: ClickHouse, title: str, **variables: Value) -> list[tuple[Any, ...]]:
    query = as_the_data_source_sends_it(QUERIES[title], ALL | variables, FROM, TO, interval=60)
    return list(zip(*client.select(query), strict=True))


def _spikes(client: ClickHouse, **variables: Value) -> set[str]:
    return {row[-1] for row in _shown(client, "Spikes", **variables)}


def _at(minute: int) -> datetime:
    return datetime.fromtimestamp(FROM + 60 * minute, UTC)


@pytest.mark.stack
def test_numbers_and_openings(client: ClickHouse) -> None:
    wanted = {"Spikes": 4, "Going on": 1, "Causes": 3, "Told": 2}
    stats = {
        panel["title"]: panel["targets"][0]["rawSql"]
        for panel in DASHBOARDS["spikes"]["panels"]
        if panel["type"] == "stat" and "rawSql" in panel["targets"][0]
    }
    found = {
        title: client.select(as_the_data_source_sends_it(sql, ALL, FROM, TO))[0][0] for title, sql in stats.items()
    }
    assert found == wanted
    opened = {row[0].timestamp(): row[1:] for row in _shown(client, "Openings")}
    assert len(opened) == (TO - FROM) // 60
    assert {minute: counts for minute, counts in opened.items() if any(counts)} == {
        FROM + 600: (0, 0, 0, 1),
        FROM + 720: (0, 0, 1, 0),
        FROM + 4200: (0, 1, 0, 0),
        FROM + 5400: (1, 0, 0, 0),
    }


@pytest.mark.stack
def test_the_timeline_has_both_ends_of_each_spike(client: ClickHouse) -> None:
    edges = [(row[0].replace(tzinfo=UTC), *row[1:]) for row in _shown(client, "Timeline")]
    assert edges[:2] == [(_at(10), "hashtag:acme", "critical"), (_at(12), "brand:acme", "warning")]
    assert (_at(30), "hashtag:acme", None) in edges
    assert (_at(120), "thread:p9", None) in edges, "a spike that goes on reaches the right edge"
    assert len(edges) == 8


@pytest.mark.stack
def test_a_spike_its_cause_and_who_was_told(client: ClickHouse) -> None:
    rows = {row[-1]: row for row in _shown(client, "Spikes")}
    assert list(rows) == ["d", "c", "b", "a"]
    began, severity, state, conversation, usual, level, *_ = rows["a"]
    assert (began.replace(tzinfo=UTC), severity, state, conversation, usual, level) == (
        *(_at(10), "critical", "resolved"),
        *("hashtag:acme", 0.5, 40.0),
    )
    assert [rows[name][13] for name in "abcd"] == ["team", "team", "", ""], "a cause is told once, for all its spikes"
    assert [rows[name][16] for name in "abcd"] == ["a", "a", "c", "d"]
    assert _shown(client, "Who caused it") == [
        ("a-1", 30, "author:bluesky/ana", "https://x.example/1?a=%20b"),
        ("a-2", 5, "author:mastodon/bo", ""),
    ], "what does not lead to the web is no link"
    assert [row[0] for row in _shown(client, "Of the same cause", spike="b")] == ["hashtag:acme", "brand:acme"]
    told = _shown(client, "Who was told of it", spike="b")
    assert [(row[0], row[1], row[3], row[4], row[5]) for row in told] == [
        ("team", "opened", 60, 1, "delivered"),
        ("team", "resolved", 31 * 60 - 600, 2, "delivered"),
        ("pager", "opened", None, 4, "HTTP 500: no"),
    ]
    assert [row[:4] for row in _shown(client, "Deliveries that fail")] == [("pager", "HTTP 500: no", 1, 4)]
    [evidence] = _shown(client, "Evidence")
    assert evidence[:4] == ("hashtag:acme", "critical", 0.5, 40.0)
    assert evidence[12] == "sudden; many people"
    minutes = _shown(client, "Its conversation, a minute")
    assert [row[1:] for row in minutes] == [(1 + minute, 0.5, 40.0) for minute in range(8, 14)]


@pytest.mark.stack
def test_variables_let_through_what_they_say(client: ClickHouse) -> None:
    assert _spikes(client) == {"a", "b", "c", "d"}
    assert _spikes(client, search="ACME") == {"a", "b"}, "wherever it stands, in either case"
    assert _spikes(client, search="hashtag:") == {"a", "d"}
    assert _spikes(client, kind="hashtag") == {"a", "d"}
    assert _spikes(client, severity="warning") == {"a", "b"}
    assert _spikes(client, channel="bluesky") == {"a", "b"}
    assert _spikes(client, channel="mastodon", severity="notice") == {"a", "c"}
    assert _spikes(client, channel="blue") == set()
    assert _shown(client, "$channel") == [("every channel",), ("bluesky",), ("mastodon",)]
    assert _shown(client, "$spike", kind="thread") == [("c",)]


@pytest.mark.stack
def test_an_empty_system_shows_nothing_and_breaks_nowhere(tables: Settings) -> None:
    with ClickHouse(tables) as client:
        for title in QUERIES:
            shown = _shown(client, title)
            assert not any(any(row[1:]) for row in shown), title


@pytest.mark.stack
def test_hostile_values_are_strings_in_every_variable(client: ClickHouse) -> None:
    nobody = {title: _shown(client, title, **dict.fromkeys(ALL, "nobody")) for title in QUERIES}
    names = [name for name in HOSTILE if name]
    for name in names[:24]:
        for title in QUERIES:
            assert _shown(client, title, **dict.fromkeys(ALL, name)) == nobody[title], (title, name)
    for variable in ("search", "kind", "channel", "spike"):
        for name in names:
            if name not in ("", "all"):
                found = _spikes(client, **{variable: name})
                plain = [row[0] for row in SPIKES.values()]
                wanted = {"search": any(name.lower() in key for key in plain), "spike": True}.get(variable, False)
                assert bool(found) == wanted, (variable, name)


@pytest.mark.stack
def test_a_hostile_conversation_is_found_by_its_own_name(client: ClickHouse) -> None:
    few = [name for name in HOSTILE if name and len(name) < 200][:16]
    rows: list[tuple[Any, ...]] = [
        (f"h{number}", f"hashtag:{name}", FROM + 60, FROM + 120, "info") for number, name in enumerate(few)
    ]
    client.insert("conversation_spikes", _columns("spike_id conversation started_at as_of severity", rows))
    for number, name in enumerate(few):
        found = _spikes(client, search=f"hashtag:{name}")
        assert f"h{number}" in found
        assert not found & SPIKES.keys()

"""Owners that are slow, and partitions that are read unevenly: what others have written stays right.

Truth is plain Python over what was sent.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import Settings
from producers.simulation.policy import SimulationPolicy
from producers.simulation.records import simulated_records
from tests.cells_truth import cells_of
from tests.end_to_end.checks import assert_exact, assert_recounted, environment_of
from tests.end_to_end.group import Group
from tests.end_to_end.inputs import Input
from tests.end_to_end.workers import Workers, wait_until
from tests.tcp_proxy import TcpProxy

CLOSED = "SELECT conversation, intDiv(toUnixTimestamp(minute), 60), count FROM conversation_closed FINAL"


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[Workers]:
    migrate(settings)
    ensure_topics(settings)
    with Workers(tmp_path, environment_of(settings, os.environ)) as workers:
        yield workers


def test_minutes_close_with_all_their_cells_where_partitions_are_read_unevenly(
    settings: Settings, workers: Workers, tmp_path: Path
) -> None:
    """A live conversation agent has a backlog of many batches, in which partitions come one after the other: a mark in
    one partition says nothing of the cells of another, which it has not read."""
    policy = SimulationPolicy(events=25_000, posts=800, hours=48, seed=7, retractions=0.02)
    made = Input([json.loads(record.value or b"") for record in simulated_records(policy)])
    (held := tmp_path / "held").touch()
    live = workers.start("--hold-minutes", "--armed-by", str(held), flush_events=500, idle_seconds=20)
    live.wait_for("partitions of conversations", 60)
    made.send(settings)
    group = Group(settings)
    wait_until(lambda: group.committed() == len(made.events), 90, "events are left", lambda: live.tail)
    group.close()
    held.unlink()
    counts = counts_of(made.events)
    last = max(minute for _, minute in counts)
    with ClickHouse(settings) as client:
        floor = "SELECT count(), intDiv(toUnixTimestamp(min(at)), 60) FROM (SELECT max(closed_until) AS at FROM "
        floor += "conversation_marks GROUP BY partition)"

        def is_closed() -> bool:
            assert live.alive, live.tail
            [partitions], [minute] = client.select(floor)
            return bool(partitions == settings.partitions and minute > last)

        wait_until(is_closed, 120, "not every minute is closed", lambda: live.tail)
        assert live.end() == 0, live.tail
        names, minutes, found = client.select(CLOSED)
    closed = dict(zip(zip(names, minutes, strict=True), found, strict=True))
    wrong = {spot: (closed.get(spot), count) for spot, count in counts.items() if closed.get(spot) != count}
    kept = sum(closed.values()) / sum(counts.values())
    assert not wrong, f"{len(wrong)} of {len(counts)} counts are wrong, {kept:.1%} kept; (found, true): {_some(wrong)}"
    assert closed.keys() == counts.keys()
    assert_recounted(environment_of(settings, os.environ))


def test_an_owner_that_comes_back_with_a_batch_in_hand_overwrites_nothing(
    settings: Settings, workers: Workers, tmp_path: Path, broker_link: TcpProxy
) -> None:
    """It is cut off from the broker with most of a post's events in hand, but not those that the new owner meets first,
    which are of minutes in its hand; and it stores last. Whichever topic the new owner reads first: one of the two
    minutes is done before the other topic is."""
    minutes = [_event("like", f"l{n}", 12 if n < 300 else 13 + n % 5) for n in range(20_000)]
    minutes += [_event("comment", f"c{n}", 30 if n < 300 else 31 + n % 5) for n in range(20_000)]
    unread = [_event("comment", f"d{n}", 12) for n in range(450)] + [_event("like", f"m{n}", 30) for n in range(450)]
    Input(minutes).send(settings)
    (armed := tmp_path / "armed").touch()
    slow = workers.start(
        "--hold-events", "--armed-by", str(armed), kafka=broker_link.address, flush_seconds=2, flush_events=1_000_000
    )
    slow.wait_for("holding", 60)
    broker_link.cut()
    Input(unread).send(settings)
    other = workers.start(flush_events=1_000)
    group = Group(settings)
    try:
        wait_until(lambda: group.committed() == 40_900, 90, "the new owner has not taken over", lambda: other.tail)
        armed.unlink()
        slow.wait_for("done: rows", 30)
        begun = slow.log.count("partitions of ours")
        broker_link.mend()
        slow.wait_for("partitions of ours", 60, times=begun + 1)
        with ClickHouse(settings) as client:
            wait_until(lambda: _comments(client) == 20_450, 60, "comments are not in any minute", lambda: other.tail)
        assert slow.end() == 0, slow.tail
        assert other.end() == 0, other.tail
    finally:
        group.close()
    events = minutes + unread
    assert_exact(settings, Input(events).truth)
    with ClickHouse(settings) as client:
        sql = (
            "SELECT conversation, intDiv(toUnixTimestamp(minute), 60), posts + comments FROM conversation_minutes FINAL"
        )
        names, minutes, found = client.select(sql)
    rows = dict(zip(zip(names, minutes, strict=True), found, strict=True))
    assert rows == counts_of(events)
    assert_recounted(environment_of(settings, os.environ))


def _comments(client: ClickHouse) -> int:
    return int(client.select("SELECT sum(comments) FROM conversation_minutes FINAL")[0][0])


def _event(kind: str, event_id: str, minute: int) -> dict[str, Any]:
    at = f"2026-01-01T12:{minute:02}:07Z"
    return {"kind": kind, "event_id": event_id, "post_id": "p", "actor_id": f"u{event_id[-3:]}", "occurred_at": at}


def counts_of(events: list[dict[str, Any]]) -> dict[tuple[str, int], int]:
    """(conversation, minute) -> posts and net comments of its cells, at least 0; likes alone make a cell as well."""
    counts: Counter[tuple[str, int]] = Counter()
    for (conversation, minute, _), cell in cells_of(events).items():
        counts[conversation, minute] += cell.counts[0] + cell.counts[3] - cell.counts[6]
    return {spot: max(0, count) for spot, count in counts.items()}


def _some(wrong: dict[Any, Any]) -> list[Any]:
    return list(wrong.items())[:3]

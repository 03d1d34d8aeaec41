"""No faults but those of the events themselves: every number is the truth, and the view over time with it."""

import json
import os
import random
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.clickhouse.client import ClickHouse
from pipeline.kafka.publisher import open_publisher
from pipeline.settings import Settings
from tests.end_to_end.checks import assert_exact, assert_not_above, assert_recounted, engagement, environment_of
from tests.end_to_end.conftest import FULL
from tests.end_to_end.group import Group
from tests.end_to_end.inputs import UNTIDY, Input, cascades, part_of_cascades, read_events, reference, simulated
from tests.end_to_end.workers import Workers, wait_until
from tests.folding import differences
from tests.patience import SCALE
from tests.truth import PostTruth, truth_of

FRESH_SECONDS = 2.0
"""From the ack of the last event until all rows have it."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_real_cascades(settings: Settings, data: Path, tmp_path: Path) -> None:
    """Every seventh, or all of them; tests/test_trees.py has all of them in the fold at any time."""
    every = 1 if FULL else 7
    environment = environment_of(settings, os.environ)
    events, posts = part_of_cascades(data, every, tmp_path)
    engagement(environment, "init")
    engagement(environment, "replay", str(events), "--posts", str(posts))
    with Workers(tmp_path, environment) as workers:
        workers.catch_up(600)
    truth = cascades(data, every).truth
    brute = {post_id: row for post_id, row in reference(data).items() if post_id in truth}
    assert len(brute) == len(truth) == -(-2_116 // every)
    assert every > 1 or sum(post.events_seen for post in truth.values()) == 877_288 + 2_116
    _assert_all(settings, environment, truth)
    with ClickHouse(settings) as client:
        found = client.select("SELECT post_id, likes, shares, comments, actors FROM post_metrics FINAL")
    counts = [
        (post_id, *(int(row[name]) for name in ("likes", "shares", "comments", "unique_actors")))
        for post_id, row in brute.items()
    ]
    assert sorted(zip(*found, strict=True)) == sorted(counts)
    _assert_trees(settings, brute)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_simulated_file(settings: Settings, tmp_path: Path) -> None:
    """Likes and all that people do to them, and the windows of any time."""
    environment = environment_of(settings, os.environ)
    path = tmp_path / "simulated.ndjson"
    events = 877_000 if FULL else 100_000
    options = [part for name, share in UNTIDY.items() for part in (f"--{name.replace('_', '-')}", str(share))]
    options += ["--start", "2026-01-01T00:00:00Z"]
    engagement(
        environment, "simulate", "--events", str(events), "--posts", str(events // 50), "--out", str(path), *options
    )
    engagement(environment, "init")
    engagement(environment, "replay", str(path))
    with Workers(tmp_path, environment) as workers:
        workers.catch_up(600)
    truth = read_events(path).truth
    _assert_hard(truth)
    _assert_all(settings, environment, truth)
    with ClickHouse(settings) as client:
        newest = max(post.newest for post in truth.values())
        for at in (newest + 1, newest - 60, newest - 777, newest + 1000):
            _assert_windows(client, truth, at)
        _assert_likes_leave_the_window(client, truth)


def test_every_event_twice_and_shuffled(settings: Settings, mixed: Input, tmp_path: Path) -> None:
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    doubled = mixed.doubled(seed=5)
    doubled.send(settings)
    with Workers(tmp_path, environment) as workers:
        workers.catch_up(600)
    _assert_all(settings, environment, doubled.truth)


def test_never_above_the_truth_and_equal_soon_after_the_last_event(settings: Settings, tmp_path: Path) -> None:
    """A busy machine has three tries; that it takes two seconds at most, benchmarks/freshness.py says."""
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    live = simulated(12_000, 300, seed=3)
    looks, took, paced = 0, [], len(live.events) - 1_500
    with Workers(tmp_path, environment) as workers, ClickHouse(settings) as client:
        workers.start().wait_until_ready()
        with open_publisher(settings) as publisher:

            def publish(event: dict[str, Any]) -> None:
                publisher.send(settings.topics.of(event["kind"]), event["post_id"].encode(), json.dumps(event).encode())

            started = time.monotonic()
            for number, event in enumerate(live.events[:paced]):
                publish(event)
                if number % 2_000 == 1_999:
                    publisher.flush()
                    time.sleep(max(0.0, started + number / 2_000 - time.monotonic()))
                    assert_not_above(client, live.truth)
                    looks += 1
            for sent in range(paced, len(live.events), 500):
                most = sum(post.events_seen for post in truth_of(live.events[: sent + 500]).values())
                for event in live.events[sent : sent + 500]:
                    publish(event)
                publisher.flush()
                last = time.monotonic()

                def have_all(most: int = most) -> bool:
                    return assert_not_above(client, live.truth) == most

                wait_until(have_all, 30, "rows do not have all events")
                took.append(time.monotonic() - last)
        assert_exact(settings, live.truth)
        assert looks >= 5
        assert min(took) <= FRESH_SECONDS * SCALE, f"{took} s after the last event the rows had it"


def test_windows_are_empty_six_minutes_after_the_last_like(settings: Settings, tmp_path: Path) -> None:
    """By the stored row too, once event time has moved on: as_of is a function of the events."""
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    like = {"kind": "like", "post_id": "p", "actor_id": "a", "channel": "x"}
    events = [{**like, "event_id": f"l{n}", "occurred_at": f"2026-02-03T10:0{n}:30Z"} for n in range(3)]
    with Workers(tmp_path, environment) as workers, ClickHouse(settings) as client:
        Input(events).send(settings)
        workers.catch_up()
        assert _one(client, "SELECT likes, likes_5m, likes_1h FROM post_metrics FINAL") == [3, 3, 3]
        later = {**like, "kind": "comment", "event_id": "c", "occurred_at": "2026-02-03T10:08:31Z"}
        Input([later]).send(settings)
        workers.catch_up()
        assert _one(client, "SELECT likes, likes_5m, likes_1h FROM post_metrics FINAL") == [3, 0, 3]
        sql = "SELECT likes, likes_5m, likes_1h FROM post_metrics_at(t = '{}')"
        assert _one(client, sql.format("2026-02-03 10:03:00")) == [3, 3, 3]
        assert _one(client, sql.format("2026-02-03 10:07:00")) == [3, 1, 3]
        assert _one(client, sql.format("2026-02-03 10:08:00")) == [3, 0, 3]
        assert _one(client, "SELECT likes, likes_5m FROM post_metrics_v") == [3, 0]
    assert_exact(settings, Input([*events, later]).truth)


def _assert_all(settings: Settings, environment: dict[str, str], truth: dict[str, PostTruth]) -> None:
    group = Group(settings)
    assert group.committed() == group.sent()
    group.close()
    assert_exact(settings, truth)
    assert_recounted(environment)


def _assert_trees(settings: Settings, brute: dict[str, dict[str, str]]) -> None:
    """Every value of every tree is what was found by brute force, to the ninth decimal."""
    names = {"nodes": "size", "depth": "depth", "max_breadth": "max_breadth", "wiener": "wiener"}
    wrong = []
    with ClickHouse(settings) as client:
        for tree in ("share", "comment", "all"):
            columns = ", ".join(f"{tree}_{name}" for name in (*names.values(), "structural_virality"))
            found = client.select(f"SELECT post_id, {columns} FROM post_metrics_v")
            assert len(found[0]) == len(brute)
            for post_id, *numbers, virality in zip(*found, strict=True):
                true = brute[post_id]
                says = [int(true[f"{tree}_{name}"]) for name in names]
                shape = float(true[f"{tree}_sv"]) if true[f"{tree}_sv"] else None
                found_shape = None if virality is None else round(virality, 9)
                if numbers != says or found_shape != shape:
                    wrong.append((post_id, tree, numbers, says, found_shape, shape))
    assert not wrong, f"{len(wrong)} trees differ: {wrong[:3]}"


def _assert_hard(truth: dict[str, PostTruth]) -> None:
    """The simulation has what the test is about."""
    posts = truth.values()
    assert sum(post.retractions_unmatched for post in posts) > 100
    assert any(len(minutes) > 1 for post in posts for minutes in post.takebacks.values())
    kinds_of: dict[tuple[str, str], set[str]] = {}
    posts_of: dict[tuple[str, str], set[str]] = {}
    early = 0
    for post_id, post in truth.items():
        for (kind, event_id), (minute, *_) in post.adds.items():
            kinds_of.setdefault((post_id, event_id), set()).add(kind)
            posts_of.setdefault((kind, event_id), set()).add(post_id)
            early += any(taken < minute for taken in post.takebacks.get((kind, event_id), ()))
    assert any(len(kinds) > 1 for kinds in kinds_of.values())
    assert any(len(found) > 1 for found in posts_of.values())
    assert early > 10


def _assert_windows(client: ClickHouse, truth: dict[str, PostTruth], at: int) -> None:
    """post_metrics_at for the start of a minute."""
    names = list(next(iter(truth.values())).windows(at))
    moment = datetime.fromtimestamp(at * 60, UTC).strftime("%Y-%m-%d %H:%M:%S")
    found = client.select(f"SELECT post_id, {', '.join(names)} FROM post_metrics_at(t = '{moment}')")
    rows = {post_id: dict(zip(names, values, strict=True)) for post_id, *values in zip(*found, strict=True)}
    begun = {post_id for post_id, post in truth.items() if any(minute < at for minute in post.minutes)}
    assert rows.keys() == begun
    wrong = {p: diff for p in begun if (diff := differences(rows[p], truth[p].windows(at)))}
    assert not wrong, f"{len(wrong)} posts differ at {moment}: {random.Random(1).choice(sorted(wrong.items()))}"


def _assert_likes_leave_the_window(client: ClickHouse, truth: dict[str, PostTruth]) -> None:
    """Six minutes after the last like of the post with most likes, likes_5m is 0, and its other numbers are there."""
    post_id = max(truth, key=lambda post_id: truth[post_id].net[0])
    post = truth[post_id]
    last = max(minute for minute, counts in post.minutes.items() if counts[0] or counts[3])
    moment = datetime.fromtimestamp((last + 6) * 60, UTC).strftime("%Y-%m-%d %H:%M:%S")
    sql = f"SELECT likes, likes_5m FROM post_metrics_at(t = '{moment}') WHERE post_id = '{post_id}'"
    assert _one(client, sql) == [post.net[0], 0]
    assert post.net[0] > 0


def _one(client: ClickHouse, sql: str) -> list[int]:
    return [column[0] for column in client.select(sql)]

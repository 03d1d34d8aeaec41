"""A live simulation, judged by a clock that the test moves: events of now, at their rate, until they are stopped."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.cli import engagement
from pipeline.errors import SettingsError
from producers.simulation.live import MOST_SLICE, LiveClock, LivePolicy, live_records
from producers.simulation.policy import PlantedSpike, SimulationPolicy
from schemas.events import parse_event

WALL = 1_800_000_000.0
CLEAN = SimulationPolicy(seed=3)


@dataclass
class MovedClock:
    """A clock that sleeping moves, and that ends the simulation `seconds` after its start."""

    seconds: float
    now: float = 0.0
    started: float = 0.0

    def live(self) -> LiveClock:
        return LiveClock(lambda: self.now, lambda: WALL + self.started + self.now, self._sleep)

    def _sleep(self, seconds: float) -> bool:
        self.now += seconds
        return self.now < self.seconds


def events_of(policy: LivePolicy, seconds: float) -> list[dict[str, Any]]:
    """The good records as JSON with `at`, in Unix time, and `sent`, the time at which each came."""
    clock, found = MovedClock(seconds), []
    for record in live_records(policy, clock.live()):
        if record.is_event:
            event = json.loads(record.value or b"")
            assert parse_event(record.value or b"")["post_id"].encode() == record.key
            at = datetime.fromisoformat(event["occurred_at"]).timestamp()
            found.append({**event, "at": at, "sent": WALL + clock.now})
    return found


def test_events_come_at_their_rate_and_are_stamped_as_they_are_sent() -> None:
    events = events_of(LivePolicy(50, CLEAN), 60)
    assert abs(len(events) - 3000) <= 10
    assert all(0 <= event["sent"] - event["at"] <= 0.11 for event in events)
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    assert set(Counter(int(event["at"] - WALL) // 10 for event in events).values()) <= set(range(490, 511))
    kinds = Counter(event["kind"] for event in events)
    assert min(kinds[kind] for kind in ("post", "like", "share", "comment")) > 50


def test_parents_and_targets_come_before_their_children() -> None:
    seen: set[tuple[str, str]] = set()
    for event in events_of(LivePolicy(500, CLEAN), 30):
        for name in ("parent_id", "target_id"):
            assert name not in event or (event["post_id"], event[name]) in seen
        assert event["kind"] == "post" or (event["post_id"], event["post_id"] + "#post") in seen
        seen.add((event["post_id"], event["event_id"]))


def test_slices_follow_one_another_with_ids_of_their_own() -> None:
    events = events_of(LivePolicy(20_000, CLEAN), 8)
    assert len(events) > 3 * MOST_SLICE
    ids = Counter((event["post_id"], event["kind"], event.get("action"), event["event_id"]) for event in events)
    assert set(ids.values()) == {1}
    assert abs(len(events) - 160_000) < 1500


def test_two_runs_share_no_ids() -> None:
    policy = LivePolicy(50, CLEAN)
    keys = [next(iter(live_records(policy, MovedClock(5, started=started).live()))).key for started in (0, 1)]
    assert keys[0] != keys[1]


def test_untidy_ones_are_there_too() -> None:
    shares = {"duplicates": 0.05, "malformed": 0.02, "future": 0.01, "awkward": 0.05}
    policy = LivePolicy(1000, replace(CLEAN, **shares))  # type: ignore[arg-type]
    clock = MovedClock(55)
    records = list(live_records(policy, clock.live()))
    bad = sum(not record.is_event for record in records)
    assert 0.01 < bad / len(records) < 0.03
    values = Counter(record.value for record in records if record.is_event)
    twice = sum(count == 2 for count in values.values())
    assert 0.03 < twice / len(records) < 0.06, "a duplicate is the same bytes again"
    ahead = sum(b'"occurred_at":"21' in (value or b"") for value in values)
    assert 0.005 < ahead / len(records) < 0.015


def test_a_planted_spike_rises_when_it_was_asked_for() -> None:
    spike = PlantedSpike.parse("hashtag:planted@2x20")
    planted: Counter[int] = Counter()
    under: defaultdict[str, int] = defaultdict(int)
    for event in events_of(LivePolicy(50, replace(CLEAN, spikes=(spike,))), 600):
        if "planted" in (event.get("hashtags") or ()):
            assert event["kind"] == "comment"
            planted[int(event["at"] - WALL) // 60] += 1
            under[event["post_id"]] += 1
    assert min(planted) == 2
    # 19 times a tenth of 600 comments a minute, fading by e in 10 minutes.
    assert 0.9 * 1140 < planted[2] < 1.1 * 1140
    assert planted[9] < 0.6 * planted[2]
    assert len(under) > 5


def test_what_would_do_nothing_is_refused() -> None:
    for spike in ("hashtag:x@0x1.00001", "mention:y@99x1.00001"):
        with pytest.raises(SettingsError, match="larger FACTOR"):
            live_records(LivePolicy(1, replace(CLEAN, spikes=(PlantedSpike.parse(spike),))))


def test_memory_does_not_grow() -> None:
    """All that comes after the first slices takes no more than these."""
    peaks, clock = [], MovedClock(35)
    tracemalloc.start()
    try:
        for number, _ in enumerate(live_records(LivePolicy(10_000, CLEAN), clock.live())):
            if number % 100_000 == 99_999:
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()
    assert len(peaks) >= 3
    assert max(peaks[1:]) < 1.2 * peaks[0]


def test_a_slow_machine_stops_too() -> None:
    """Who is always behind never sleeps, and must see the end all the same."""
    ticks = iter(range(10**9))
    clock = LiveClock(lambda: float(next(ticks)), lambda: WALL, lambda seconds: next(ticks) < 50)
    assert sum(1 for _ in live_records(LivePolicy(10_000, CLEAN), clock)) < 60_000


@pytest.mark.parametrize("option", ["--events", "--posts", "--hours", "--rate", "--late", "--out-of-order", "--start"])
def test_options_that_mean_nothing_live_are_refused(option: str) -> None:
    value = "2026-01-01T00:00:00Z" if option == "--start" else "1"
    done = CliRunner().invoke(engagement, ["simulate", "--live", "5", "--out", "-", option, value])
    assert done.exit_code == 2
    assert f"leave out {option}" in done.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_summary(tmp_path: Path, number: int) -> None:
    out = tmp_path / "live.ndjson"
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "simulate", "--live", "200"]
    started = time.time()
    process = subprocess.Popen(
        [*command, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        until = time.monotonic() + 60
        while not out.exists() or out.stat().st_size < 20_000:
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        said, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert re.match(rf"sent {len(events)} events \(.*\) in ", said)
    times = [datetime.fromisoformat(event["occurred_at"]).timestamp() for event in events]
    assert started - 1 < min(times) <= max(times) < time.time()

"""What is told of spikes: rows and messages in their order, once each; what a restart finds and leaves alone."""

from collections.abc import Iterator
from copy import deepcopy
from threading import Event
from typing import Any

import pytest
from pydantic import ValidationError
from tests.test_spike_watch import AT, NAME, QUIET, quiet

from pipeline.errors import Unavailable
from pipeline.observability.health import WatchdogPolicy, WatchdogState
from pipeline.observability.metrics import WorkerMetrics
from pipeline.settings import Settings
from processors.spikes.live import Lookout
from processors.spikes.monitor import FIRST, FORGOTTEN, Watch
from processors.spikes.state import DAY_MINUTES, KINDS
from tests.fakes_spikes import START, FakeSpikes, SpikeShelf, minute_of, series, watch_on


def told_by(counts: list[int], metrics: WorkerMetrics | None = None) -> tuple[SpikeShelf, Watch]:
    """A watch that has loaded the quiet part, is fed the rest minute by minute and settles after each."""
    shelf = SpikeShelf()
    watch = watch_on(FakeSpikes(shelf), metrics)
    assert counts[:AT] == QUIET
    shelf.closings = {(NAME, START + number): count for number, count in enumerate(QUIET)}
    shelf.floors[0] = START + AT
    watch.load(shelf.floors, 1)
    for number, count in enumerate(counts[AT:], AT):
        close(shelf, watch, START + number, count)
    return shelf, watch


def close(shelf: SpikeShelf, watch: Watch, minute: int, count: int) -> None:
    if count:
        shelf.closings[NAME, minute] = count
    shelf.floors[0] = minute + 1
    if count:
        watch.on_closed(minute, [NAME], [count])
    watch.settle(minute + 1, lambda action: action())


def test_rows_are_stored_before_and_after_the_message() -> None:
    did: list[str] = []
    shelf = SpikeShelf()
    watch = watch_on(FakeSpikes(shelf, did.append))
    shelf.closings = {(NAME, START + number): count for number, count in enumerate(QUIET)}
    watch.load({0: START + AT}, 1)
    did.clear()
    close(shelf, watch, START + AT, 60)
    assert did == ["facts", "save", "send", "flush", "save"]
    [(version, row)] = shelf.rows.values()
    assert shelf.messages == [row]
    assert version & 1
    assert version >> 8 == minute_of(row["as_of"]) == START + AT + 1


def test_an_early_opening_is_told_once_and_its_row_is_what_the_minute_came_to() -> None:
    shelf, watch = told_by(QUIET)
    watch.on_open([NAME], [START + AT], [60])
    watch.settle(START + AT, lambda action: action())
    assert [message["state"] for message in shelf.messages] == ["opened"]
    before = [*shelf.rows.values()]
    close(shelf, watch, START + AT, 75)
    assert len(shelf.messages) == 1
    assert [version for version, _ in shelf.rows.values()] > [version for version, _ in before]
    again = watch_on(FakeSpikes(shelf))
    again.load({0: START + AT + 1}, 1)
    again.settle(START + AT + 1, lambda action: action())
    assert len(shelf.messages) == 1
    assert again.state.state() == watch.state.state()


def test_an_early_opening_survives_its_worker() -> None:
    shelf, watch = told_by(QUIET)
    watch.on_open([NAME], [START + AT], [60])
    watch.settle(START + AT, lambda action: action())
    again = watch_on(FakeSpikes(shelf))
    again.load({0: START + AT}, 1)
    again.on_open([NAME], [START + AT], [61])
    again.settle(START + AT, lambda action: action())
    assert len(shelf.messages) == 1
    close(shelf, again, START + AT, 2)
    assert [message["state"] for message in shelf.messages] == ["opened", "resolved"]


def test_spikes_of_a_detector_of_before_are_closed() -> None:
    shelf, _ = told_by([*QUIET, 60])
    [(version, row)] = shelf.rows.values()
    shelf.rows = {"old": (version, {**row, "spike_id": "old"})}
    shelf.messages.clear()
    watch = watch_on(FakeSpikes(shelf))
    watch.load(shelf.floors, 1)
    watch.settle(shelf.floors[0], lambda action: action())
    told = {(message["spike_id"], message["state"]) for message in shelf.messages}
    assert told == {("old", "resolved"), (row["spike_id"], "opened")}
    assert FORGOTTEN in shelf.rows["old"][1]["reasons"]


def test_what_is_found_in_the_cut_off_past_and_not_stored_is_not_told() -> None:
    """A series that seems to begin where the past is cut has no long memory: it may fire where it did not live."""
    counts = series(3, 12 * DAY_MINUTES, 2.0, {2 * DAY_MINUTES: (30, 20.0), 11 * DAY_MINUTES: (30, 30.0)})
    shelf = SpikeShelf(closings={(NAME, START + n): count for n, count in enumerate(counts) if count})
    floor = START + len(counts)
    whole, cut = watch_on(FakeSpikes(shelf), idle_days=28), watch_on(FakeSpikes(shelf), idle_days=11)
    for watch in (whole, cut):
        shelf.messages.clear()
        shelf.rows.clear()
        watch.load({0: floor}, 1)
        watch.settle(floor, lambda action: action())
        days = {(minute_of(message["started_at"]) - START) // DAY_MINUTES for message in shelf.messages}
        assert days == ({2, 11} if watch is whole else {11})


def test_a_store_that_is_away_is_waited_for_until_nobody_wants_the_batch() -> None:
    """What was to be told stays to be told."""
    away = Settings(clickhouse="clickhouse://default@127.0.0.1:1/engagement", kafka="127.0.0.1:1")
    errors: list[object] = []
    given_up = Event()

    def note(error: object) -> None:
        errors.append(error)
        given_up.set()

    lookout = Lookout(away, WorkerMetrics(), 1000, note)
    assert lookout.settle(None, given_up), "nothing is known yet"
    lookout.watch.state = deepcopy(quiet())
    lookout.watch.on_closed(START + AT, [NAME], [60])
    assert not lookout.settle(START + AT + 1, given_up)
    assert isinstance(errors[0], Unavailable)
    assert [change.state for change in lookout.watch._untold] == ["opened"]
    lookout.close()


def test_taking_the_past_again_is_life_however_long_it_lasts() -> None:
    """Nearly five minutes a closed minute, at a watchdog of five."""
    watchdog, clock = WatchdogState(WatchdogPolicy(5)), [0.0]
    shelf = SpikeShelf(closings={(NAME, START + number): 2 for number in range(20)})
    steps: list[float] = []

    class Slow(FakeSpikes):
        def closings(self, *arguments: Any) -> Iterator[tuple[int, list[str], list[int]]]:
            for found in super().closings(*arguments):
                clock[0] += 290.0
                assert watchdog.stuck(clock[0]) is None
                yield found

    def alive() -> None:
        steps.append(clock[0])
        watchdog.note_progress(clock[0])

    watchdog.note_lag(1, 0.0)
    watch_on(Slow(shelf), alive=alive).load({0: START + 20}, 1)
    assert len(steps) == 20
    assert watchdog.stuck(clock[0] + 300), "and it may get stuck again"


def test_of_many_the_clearest_are_told_first_and_what_is_old_last() -> None:
    """A few at first, so that they need not wait for what all the others are made of."""
    did: list[str] = []
    shelf = SpikeShelf()
    watch = watch_on(FakeSpikes(shelf, did.append))
    names = [f"hashtag:{number:02}" for number in range(70)]
    for number in range(AT):
        watch.on_closed(START + number, names, [2 + number % 2] * len(names))
    watch.settle(START + AT, lambda action: action())
    did.clear()
    watch.on_closed(START + AT, [names[0]], [500])
    late = START + AT + 90
    watch.on_closed(late, names[1:], [60 + number for number in range(1, 70)])
    watch.settle(late + 1, lambda action: action())
    told = [(alert["conversation"], alert["state"]) for alert in shelf.messages]
    assert told[:3] == [("hashtag:69", "opened"), ("hashtag:68", "opened"), ("hashtag:67", "opened")]
    assert told[-2:] == [(names[0], "opened"), (names[0], "resolved")]
    assert len(told) == 71
    assert did.count("facts") == 4, "5, 10, 20, the rest"
    assert did.index("flush") < len(did) - 1 - did[::-1].index("facts")


def test_a_storm_holds_up_nothing_that_is_clearer() -> None:
    """Time is up after the first few; the rest is told by and by, and what comes meanwhile overtakes it."""
    shelf = SpikeShelf()
    watch = watch_on(FakeSpikes(shelf))
    names = [f"hashtag:{number:02}" for number in range(100)]
    for number in range(AT):
        watch.on_closed(START + number, names, [2 + number % 2] * len(names))
    watch.on_closed(START + AT, names[1:], [60] * 99)
    watch.settle(START + AT + 1, lambda action: action(), seconds=0)
    assert len(shelf.messages) == FIRST
    watch.on_open(names[:1], [START + AT + 1], [500])
    watch.settle(START + AT + 1, lambda action: action(), seconds=0)
    assert shelf.messages[FIRST]["conversation"] == names[0]
    again = watch_on(FakeSpikes(shelf))
    shelf.closings = {(name, START + number): 2 + number % 2 for name in names for number in range(AT)}
    shelf.closings |= {(name, START + AT): 60 for name in names[1:]}
    for one in (watch, again):
        if one is again:
            shelf.rows.clear()
            shelf.messages.clear()
            one.load({0: START + AT + 1}, 1)
        one.settle(START + AT + 1, lambda action: action())
        assert {message["conversation"] for message in shelf.messages} >= set(names[1:])
        assert len(set(shelf.told())) == len(shelf.messages)


def test_kinds_come_from_the_setting() -> None:
    assert Settings(spike_keys="brand,thread,brand").spike_kinds == ("brand", "thread")
    assert Settings(spike_keys="").spike_kinds == ()
    assert Settings().spike_kinds == KINDS
    with pytest.raises(ValidationError):
        Settings(spike_keys="brands")


def test_metrics_tell_series_spikes_and_time() -> None:
    metrics = WorkerMetrics()
    shelf, _ = told_by([*QUIET, 60, 60], metrics)
    seen = metrics.snapshot()
    assert seen["engagement_spike_series"] == 1
    assert seen["engagement_spikes_open"] == 1
    assert seen['engagement_spikes_total{state="opened"}'] == 1
    assert seen['engagement_spikes_total{state="resolved"}'] == 0
    assert seen["engagement_spike_detector_seconds_total"] > 0
    assert seen["engagement_spike_evidence_seconds_total"] > 0
    assert len(shelf.messages) == 1

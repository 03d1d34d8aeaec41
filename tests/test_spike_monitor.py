"""The spike monitor: order of rows and messages, each sent once; the alerts that a restart sends and leaves out."""

from collections.abc import Iterator
from copy import deepcopy
from threading import Event
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.errors import Unavailable
from pipeline.observability.health import WatchdogPolicy, WatchdogState
from pipeline.observability.metrics import WorkerMetrics
from pipeline.privacy.erased_hashes import ErasedHashes, ErasureKey
from pipeline.settings import Settings
from processors.spikes.detection.life import RANKS
from processors.spikes.detection.state import CONVERSATION_KINDS, DAY_MINUTES
from processors.spikes.live import LiveDetection
from processors.spikes.monitor import FIRST_AT_ONCE, NOT_WATCHED, SpikeMonitor
from tests.fakes_spikes import START, FakeSpikes, SpikeShelf, minute_of, monitor_on, series
from tests.test_spike_state import AT, NAME, QUIET, quiet


def sent_by(counts: list[int], metrics: WorkerMetrics | None = None) -> tuple[SpikeShelf, SpikeMonitor]:
    """Feeds a monitor that has loaded the quiet part with the rest, minute by minute, and publishes after each."""
    shelf = SpikeShelf()
    monitor = monitor_on(FakeSpikes(shelf), metrics)
    assert counts[:AT] == QUIET
    shelf.closings = {(NAME, START + number): count for number, count in enumerate(QUIET)}
    shelf.floors[0] = START + AT
    monitor.load(shelf.floors, 1)
    for number, count in enumerate(counts[AT:], AT):
        close(shelf, monitor, START + number, count)
    return shelf, monitor


def close(shelf: SpikeShelf, monitor: SpikeMonitor, minute: int, count: int) -> None:
    if count:
        shelf.closings[NAME, minute] = count
    shelf.floors[0] = minute + 1
    if count:
        monitor.on_closed(minute, [NAME], [count])
    monitor.publish(minute + 1, lambda action: action())


def test_rows_are_stored_before_and_after_the_message() -> None:
    calls: list[str] = []
    shelf = SpikeShelf()
    monitor = monitor_on(FakeSpikes(shelf, calls.append))
    shelf.closings = {(NAME, START + number): count for number, count in enumerate(QUIET)}
    monitor.load({0: START + AT}, 1)
    calls.clear()
    close(shelf, monitor, START + AT, 60)
    assert calls == ["collect", "save", "send", "flush", "save"]
    [(version, row)] = shelf.rows.values()
    assert shelf.messages == [row]
    assert version & 1
    assert version >> 8 == minute_of(row["as_of"]) == START + AT + 1


def test_an_open_spike_of_an_erased_author_is_told_no_more() -> None:
    """The memory may hold it: a monitor reads its history anew while the erasure has yet to delete it."""
    key, author = ErasureKey("0123456789abcdef" * 2), "author:x/ann"
    for account, told in (("bob", {"opened", "resolved"}), ("ann", {"opened"})):
        shelf = SpikeShelf()
        shelf.closings = {(author, START + number): count for number, count in enumerate(QUIET)}
        monitor = monitor_on(FakeSpikes(shelf))
        monitor.load({0: START + AT}, 1)
        monitor.on_closed(START + AT, [author], [60])
        monitor.publish(START + AT + 1, lambda action: action())
        rows = deepcopy(shelf.rows)
        assert [message["state"] for message in shelf.messages] == ["opened"]
        shelf.closings[author, START + AT] = 60
        monitor.erased = ErasedHashes(key, {"actor": key.hashes([account]).tolist()})
        monitor.load({0: START + AT + 1}, 1)
        monitor.publish(START + AT + 500, lambda action: action())
        assert {message["state"] for message in shelf.messages} == told
        assert (shelf.rows == rows) is (account == "ann")


def test_an_early_opening_is_sent_again_under_its_key_once_its_minute_has_closed() -> None:
    shelf, monitor = sent_by(QUIET)
    monitor.on_open([NAME], [START + AT], [60])
    monitor.publish(START + AT, lambda action: action())
    assert [message["state"] for message in shelf.messages] == ["opened"]
    before = [*shelf.rows.values()]
    close(shelf, monitor, START + AT, 75)
    assert [message["state"] for message in shelf.messages] == ["opened", "opened"]
    assert len(set(shelf.sent_keys())) == 1
    assert [version for version, _ in shelf.rows.values()] > [version for version, _ in before]
    again = monitor_on(FakeSpikes(shelf))
    again.load({0: START + AT + 1}, 1)
    again.publish(START + AT + 1, lambda action: action())
    assert len(shelf.messages) == 2
    assert again.state.state() == monitor.state.state()


def test_an_early_opening_is_sent_again_with_twice_the_count_of_its_open_minute() -> None:
    shelf, monitor = sent_by(QUIET)
    for count, sent in ((60, 1), (119, 1), (120, 2), (121, 2), (500, 3)):
        monitor.on_open([NAME], [START + AT], [count])
        monitor.publish(START + AT, lambda action: action())
        assert len(shelf.messages) == sent, count
    assert len(set(shelf.sent_keys())) == 1
    assert any("500 so far" in reason for _, row in shelf.rows.values() for reason in row["reasons"])


def test_the_lesser_count_of_a_closed_minute_does_not_replace_what_was_told_of_a_later_one() -> None:
    shelf, monitor = sent_by(QUIET)
    for minute, count in ((START + AT, 60), (START + AT + 1, 900)):
        monitor.on_open([NAME], [minute], [count])
        monitor.publish(START + AT, lambda action: action())
    assert len(shelf.messages) == 2
    assert len(set(shelf.sent_keys())) == 1
    close(shelf, monitor, START + AT, 61)
    assert len(shelf.messages) == 2, "900 were told"
    [(version, row)] = shelf.rows.values()
    assert version & 1
    assert version >> 1 & 127 == RANKS["opened"]
    assert minute_of(row["counted_until"]) == START + AT + 1, "the row says what the closed minute came to"
    close(shelf, monitor, START + AT + 1, 950)
    assert [message["state"] for message in shelf.messages] == ["opened", "opened", "grown"]


def test_an_early_opening_survives_its_worker() -> None:
    shelf, monitor = sent_by(QUIET)
    monitor.on_open([NAME], [START + AT], [60])
    monitor.publish(START + AT, lambda action: action())
    again = monitor_on(FakeSpikes(shelf))
    again.load({0: START + AT}, 1)
    again.on_open([NAME], [START + AT], [61])
    again.publish(START + AT, lambda action: action())
    assert len(shelf.messages) == 1
    close(shelf, again, START + AT, 2)
    assert [message["state"] for message in shelf.messages] == ["opened", "resolved"]


def test_spikes_of_an_earlier_detector_are_resolved() -> None:
    shelf, _ = sent_by([*QUIET, 60])
    [(version, row)] = shelf.rows.values()
    shelf.rows = {"old": (version, {**row, "spike_id": "old"})}
    shelf.messages.clear()
    monitor = monitor_on(FakeSpikes(shelf))
    monitor.load(shelf.floors, 1)
    monitor.publish(shelf.floors[0], lambda action: action())
    sent = {(message["spike_id"], message["state"]) for message in shelf.messages}
    assert sent == {("old", "resolved"), (row["spike_id"], "opened")}
    assert NOT_WATCHED in shelf.rows["old"][1]["reasons"]


def test_spikes_of_the_truncated_history_that_were_not_stored_are_not_sent() -> None:
    """A series that seems to begin where the history is cut lacks its memory, so it may fire where it did not when
    live."""
    counts = series(3, 12 * DAY_MINUTES, 2.0, {2 * DAY_MINUTES: (30, 20.0), 11 * DAY_MINUTES: (30, 30.0)})
    shelf = SpikeShelf(closings={(NAME, START + n): count for n, count in enumerate(counts) if count})
    floor = START + len(counts)
    whole, truncated = monitor_on(FakeSpikes(shelf), idle_days=28), monitor_on(FakeSpikes(shelf), idle_days=11)
    for monitor in (whole, truncated):
        shelf.messages.clear()
        shelf.rows.clear()
        monitor.load({0: floor}, 1)
        monitor.publish(floor, lambda action: action())
        days = {(minute_of(message["started_at"]) - START) // DAY_MINUTES for message in shelf.messages}
        assert days == ({2, 11} if monitor is whole else {11})


def test_a_store_that_is_away_is_waited_for_until_the_batch_is_given_up() -> None:
    """Alerts that were not sent stay to be sent."""
    away = Settings(clickhouse="clickhouse://default@127.0.0.1:1/engagement", kafka="127.0.0.1:1")
    errors: list[object] = []
    given_up = Event()

    def note(error: object) -> None:
        errors.append(error)
        given_up.set()

    live = LiveDetection(away, WorkerMetrics(), 1000, note)
    assert live.publish(None, given_up), "no minute is closed yet"
    live.monitor.state = deepcopy(quiet())
    live.monitor.on_closed(START + AT, [NAME], [60])
    assert not live.publish(START + AT + 1, given_up)
    assert isinstance(errors[0], Unavailable)
    assert [change.state for change in live.monitor._unsent] == ["opened"]
    live.close()


def test_reading_the_history_again_counts_as_progress_however_long_it_lasts() -> None:
    """Each closed minute takes nearly five minutes, at a watchdog of five."""
    watchdog, clock = WatchdogState(WatchdogPolicy(5)), [0.0]
    shelf = SpikeShelf(closings={(NAME, START + number): 2 for number in range(20)})
    steps: list[float] = []

    class Slow(FakeSpikes):
        def closings(self, *arguments: Any) -> Iterator[tuple[int, list[str], list[int]]]:
            for found in super().closings(*arguments):
                clock[0] += 290.0
                assert watchdog.stuck(clock[0]) is None
                yield found

    def on_progress() -> None:
        steps.append(clock[0])
        watchdog.note_progress(clock[0])

    watchdog.note_lag(1, 0.0)
    monitor_on(Slow(shelf), on_progress=on_progress).load({0: START + 20}, 1)
    assert len(steps) == 20
    assert watchdog.stuck(clock[0] + 300), "the monitor may get stuck again later"


def test_of_many_the_clearest_are_sent_first_and_stale_ones_last() -> None:
    """Few alerts are sent at first, so that they need not wait for the evidence of all others."""
    calls: list[str] = []
    shelf = SpikeShelf()
    monitor = monitor_on(FakeSpikes(shelf, calls.append))
    names = [f"hashtag:{number:02}" for number in range(70)]
    for number in range(AT):
        monitor.on_closed(START + number, names, [2 + number % 2] * len(names))
    monitor.publish(START + AT, lambda action: action())
    calls.clear()
    monitor.on_closed(START + AT, [names[0]], [500])
    late = START + AT + 90
    monitor.on_closed(late, names[1:], [60 + number for number in range(1, 70)])
    monitor.publish(late + 1, lambda action: action())
    sent = [(alert["conversation"], alert["state"]) for alert in shelf.messages]
    assert sent[:3] == [("hashtag:69", "opened"), ("hashtag:68", "opened"), ("hashtag:67", "opened")]
    assert sent[-2:] == [(names[0], "opened"), (names[0], "resolved")]
    assert len(sent) == 71
    assert calls.count("collect") == 4, "5, 10, 20, the rest"
    assert calls.index("flush") < len(calls) - 1 - calls[::-1].index("collect")


def test_a_storm_of_alerts_does_not_delay_clearer_ones() -> None:
    """Time is up after the first few alerts; the rest is sent by the next calls, and new alerts overtake it."""
    shelf = SpikeShelf()
    monitor = monitor_on(FakeSpikes(shelf))
    names = [f"hashtag:{number:02}" for number in range(100)]
    for number in range(AT):
        monitor.on_closed(START + number, names, [2 + number % 2] * len(names))
    monitor.on_closed(START + AT, names[1:], [60] * 99)
    monitor.publish(START + AT + 1, lambda action: action(), seconds=0)
    assert len(shelf.messages) == FIRST_AT_ONCE
    monitor.on_open(names[:1], [START + AT + 1], [500])
    monitor.publish(START + AT + 1, lambda action: action(), seconds=0)
    assert shelf.messages[FIRST_AT_ONCE]["conversation"] == names[0]
    again = monitor_on(FakeSpikes(shelf))
    shelf.closings = {(name, START + number): 2 + number % 2 for name in names for number in range(AT)}
    shelf.closings |= {(name, START + AT): 60 for name in names[1:]}
    for one in (monitor, again):
        if one is again:
            shelf.rows.clear()
            shelf.messages.clear()
            one.load({0: START + AT + 1}, 1)
        one.publish(START + AT + 1, lambda action: action())
        assert {message["conversation"] for message in shelf.messages} >= set(names[1:])
        assert len(set(shelf.sent_keys())) == len(shelf.messages)


def test_kinds_come_from_the_setting() -> None:
    assert Settings(spike_keys="brand,thread,brand").spike_kinds == ("brand", "thread")
    assert Settings(spike_keys="").spike_kinds == ()
    assert Settings().spike_kinds == CONVERSATION_KINDS
    with pytest.raises(ValidationError):
        Settings(spike_keys="brands")


def test_metrics_tell_series_spikes_and_time() -> None:
    metrics = WorkerMetrics()
    shelf, monitor = sent_by([*QUIET, 60, 60], metrics)
    seen = metrics.snapshot()
    assert seen["engagement_spike_series"] == 1
    assert seen["engagement_spikes_open"] == 1
    assert seen['engagement_spikes_total{state="opened"}'] == 1
    assert seen['engagement_spikes_total{state="resolved"}'] == 0
    assert seen["engagement_spike_detector_seconds_total"] > 0
    monitor.forget()
    gone = metrics.snapshot()
    assert (gone["engagement_spike_series"], gone["engagement_spikes_open"]) == (0, 0), "of partitions that are gone"
    assert seen["engagement_spike_evidence_seconds_total"] > 0
    assert len(shelf.messages) == 1

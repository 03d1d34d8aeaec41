"""Quiet hours and digests: when a state may be delivered (truth: a walk over the minutes of the week), and what the
delivery queue makes of it, over restarts too."""

from datetime import UTC, datetime
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from processors.alerts.ports import Answer
from processors.alerts.values.quiet_hours import Digest, Quiet, Schedule
from schemas.alerts import AlertState, SpikeAlert
from tests.fakes_alerts import NOON, config_of, spike
from tests.test_alert_delivery_queue import NO, Bench

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = {"zone": "Europe/Berlin", "hours": "22:00-07:00"}
DAY = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def is_quiet(moment: float, hours: list[tuple[str, str]], days: list[str], zone: ZoneInfo) -> bool:
    """Whether the wall clock shows a quiet time."""
    local = datetime.fromtimestamp(moment, zone)
    clock = f"{local:%H:%M}"
    spans = (a <= clock < b if a < b else clock >= a or clock < b for a, b in hours)
    return DAY[local.weekday()] in days or any(spans)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"])
def test_quiet_hours_end_at_the_first_minute_that_is_not_quiet(zone: str) -> None:
    """Truth is the wall clock, minute by minute; the weeks have a change of the clocks in them."""
    rng = Random(7)
    for _ in range(60):
        hours = [
            tuple(f"{rng.randrange(24):02}:{rng.choice((0, 30)):02}" for _ in "ab") for _ in range(rng.randrange(3))
        ]
        hours = [(a, b) for a, b in hours if a != b]
        days = rng.sample(DAY, rng.randrange(0 if hours else 1, 4))
        try:
            quiet = Quiet(zone=zone, hours=[f"{a}-{b}" for a, b in hours], days=days)
        except ValidationError:
            continue
        moment = at(rng.choice(["2026-03-24T00:00", "2026-10-20T00:00", "2026-03-05T00:00"]), ZoneInfo("UTC"))
        moment += rng.randrange(7 * 1440) * 60
        expected = moment
        while is_quiet(expected, hours, days, ZoneInfo(zone)):
            expected += 60
        assert quiet.end_of_quiet(moment) == expected, (hours, days, datetime.fromtimestamp(moment, ZoneInfo(zone)))


def test_a_digest_comes_at_multiples_of_its_hours_of_the_local_day() -> None:
    digest = Digest(every="5h", zone="Europe/Berlin")
    for moment, expected in (
        ("2026-03-02T00:00", "2026-03-02T05:00"),
        ("2026-03-02T04:59:59", "2026-03-02T05:00"),
        ("2026-03-02T20:00", "2026-03-03T00:00"),
        ("2026-03-28T23:00", "2026-03-29T00:00"),
        ("2026-03-29T01:00", "2026-03-29T05:00"),
    ):
        assert digest.next_digest(at(moment)) == at(expected)


def test_a_digest_that_falls_into_quiet_hours_comes_at_their_end_and_the_severe_at_once() -> None:
    schedule = Schedule(Quiet(**NIGHT, through="warning"), Digest(every="4h", zone="Europe/Berlin"))
    assert schedule.release(at("2026-03-02T13:00"), "notice") == at("2026-03-02T16:00")
    assert schedule.release(at("2026-03-02T21:00"), "notice") == at("2026-03-03T07:00")
    assert schedule.release(at("2026-03-02T21:00"), "warning") == at("2026-03-03T00:00"), (
        "no digest of its own severity"
    )
    assert schedule.release(at("2026-03-02T23:00"), "critical") == at("2026-03-02T23:00")
    assert Schedule(None, None).release(5.0, "info") == 5.0


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"quiet": {}}, "say which hours or which days are quiet"),
        ({"quiet": {"hours": "22-7"}}, "must be two times of the day"),
        ({"quiet": {"hours": "25:00-07:00"}}, "must be two times of the day"),
        ({"quiet": {"hours": "07:00-07:00"}}, "a whole day belongs into days"),
        ({"quiet": {"hours": ["00:00-12:00", "12:00-24:00"]}}, "leaves no minute of the week"),
        ({"quiet": {"days": list(DAY)}}, "leaves no minute of the week"),
        ({"quiet": {"days": "saturday"}}, "must be one of mon, tue"),
        ({"quiet": {**NIGHT, "zone": "Berlin"}}, "is no time zone"),
        ({"quiet": {**NIGHT, "zone": "../etc/passwd"}}, "is no time zone"),
        ({"quiet": {**NIGHT, "through": "loud"}}, "through"),
        ({"digest": {"every": "1m"}}, "must be from 15m to 1d"),
        ({"digest": {}}, "every"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(section: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config_of({"hook": section})


def test_alertmanager_has_times_of_its_own() -> None:
    for section in ({"quiet": NIGHT}, {"digest": {"every": "4h"}}):
        with pytest.raises(ValidationError, match="mute_time_intervals"):
            config_of({"pager": {"kind": "alertmanager", "urls": ["http://127.0.0.1:9"], **section}})


# ---------------------------------------------------------------- the queue

EVENING = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
MORNING = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)


def night(**more: Any) -> Bench:
    """A queue at half past ten in the evening, whose receiver sleeps from ten to seven."""
    bench = Bench(config_of({"hook": {"quiet": {"hours": "22:00-07:00", **more}}}))
    bench.now = EVENING.timestamp()
    bench.restart()
    return bench


def late(spike_id: str = "5f", state: AlertState = "opened", minute: int = 0, **more: Any) -> SpikeAlert:
    return spike(spike_id, state, minute, conversation=f"hashtag:{spike_id}", since=EVENING, **more)


def parts(bench: Bench) -> list[list[str]]:
    """The keys of the messages that go out now, by message."""
    started = bench.queue.start_due(bench.now)
    for each in started:
        bench.queue.record_answer(each, Answer(True), bench.now)
    bench.save()
    together = sorted(each.notice.key for each in started if each.in_digest)
    return ([together] if together else []) + [[each.notice.key] for each in started if not each.in_digest]


def test_what_comes_at_night_is_one_message_in_the_morning_with_the_latest_of_each() -> None:
    bench = night()
    bench.add(late("a"), late("a", "grown", 5), late("b"), late("b", "resolved", 9), late("c"))
    assert bench.run(60) == []
    assert bench.outcome("opened", spike_id="a") == "held: until 2026-03-02T07:00Z"
    bench.now = MORNING.timestamp() - 1
    assert parts(bench) == []
    bench.now += 1
    assert parts(bench) == [["a/grown/2026-03-01T22:35Z", "b/resolved", "c/opened"]]
    assert parts(bench) == []
    assert {row.outcome for row in bench.rows.values()} == {"delivered", "superseded"}
    bench.add(late("a", "resolved", 600))
    bench.now += 3600
    assert parts(bench) == [["a/resolved"]], "who was told of it in a digest is told of its end"


def test_one_state_alone_is_no_digest() -> None:
    bench = night()
    bench.add(late())
    bench.now = MORNING.timestamp()
    assert parts(bench) == [["5f/opened"]]


@pytest.mark.parametrize("hours", [1, 8.4, 8.6, 30])
def test_nothing_is_lost_over_a_restart(hours: float) -> None:
    """A worker dies during the night, or shortly after; another one has the rows alone."""
    bench = night()
    bench.add(late("a"), late("b"), late("b", "grown", 5))
    bench.now += hours * 3600
    bench.restart(late("a"), late("b", "grown", 5))
    bench.now = max(bench.now, MORNING.timestamp())
    assert parts(bench) == [["a/opened", "b/grown/2026-03-01T22:35Z"]]
    bench.restart(late("a"), late("b", "grown", 5))
    assert parts(bench) == []


def test_what_breaks_through_comes_at_once_and_alone() -> None:
    bench = night()
    bench.add(late("a"), late("b"))
    bench.add(late("a", "grown", 2, severity="critical"))
    assert parts(bench) == [["a/grown/2026-03-01T22:32Z"]]
    assert bench.outcome("opened", spike_id="a") == "superseded"
    bench.add(late("a", "resolved", 9, severity="critical"))
    assert parts(bench) == [["a/resolved"]]
    bench.now = MORNING.timestamp()
    assert parts(bench) == [["b/opened"]]


def test_never_means_never() -> None:
    bench = night(through="never")
    bench.add(late("a", severity="critical"))
    assert parts(bench) == []


def test_a_spike_that_has_a_message_is_told_there() -> None:
    bench = night()
    bench.now -= 3600
    bench.add(late("a", minute=-60))
    [sent] = bench.queue.start_due(bench.now)
    bench.queue.record_answer(sent, Answer(True, reference="C1:7"), bench.now)
    bench.now += 3600
    bench.add(late("a", "grown", 5), late("b"), late("c"))
    bench.now = MORNING.timestamp()
    started = bench.queue.start_due(bench.now)
    assert {each.notice.key: (each.in_digest, each.notice.reference) for each in started} == {
        "a/grown/2026-03-01T22:35Z": (False, "C1:7"),
        "b/opened": (True, ""),
        "c/opened": (True, ""),
    }


def test_a_digest_that_fails_stays_one_message_and_is_not_given_up_for_its_night() -> None:
    bench = Bench(config_of({"hook": {"quiet": {"days": ["sat", "sun"]}}}))
    saturday = datetime(2026, 3, 7, 1, 0, tzinfo=UTC)
    bench.now = saturday.timestamp()
    bench.restart()
    both = [spike(name, since=saturday, conversation=f"hashtag:{name}") for name in "ab"]
    bench.add(*both)
    bench.now += 47 * 3600
    failed = bench.queue.start_due(bench.now)
    assert [each.in_digest for each in failed] == [True, True]
    for each in failed:
        bench.queue.record_answer(each, NO, bench.now)
    bench.save()
    assert bench.outcome("opened", spike_id="a") == "held: until 2026-03-09T00:00Z; no"
    bench.restart(*both)
    bench.now += 60
    assert parts(bench) == [["a/opened", "b/opened"]], "it could not have been told before Monday"


def test_a_digest_is_one_message_of_the_rate() -> None:
    bench = Bench(config_of({"hook": {"quiet": {"hours": "22:00-07:00"}, "rate": "1/hour"}}))
    bench.now = EVENING.timestamp()
    bench.restart()
    bench.add(*(late(f"s{number}") for number in range(9)))
    bench.now = MORNING.timestamp()
    [digest] = parts(bench)
    assert len(digest) == 9


def test_an_update_goes_to_the_message_that_is_there() -> None:
    bot = {"kind": "slack", "token": {"clear": "xoxb-123456"}, "channel": "C0123456789"}
    bench = Bench(config_of({"hook": bot}), gather=2)
    bench.add(spike())
    [sent] = bench.queue.start_due(bench.now)
    bench.queue.record_answer(sent, Answer(True, reference="C1:7"), bench.now)
    bench.queue.update(spike(conversations=["hashtag:acme", "brand:acme"]), bench.now)
    assert bench.queue.start_due(bench.now) == [], "others of the cause may come, too"
    bench.now += 2
    [again] = bench.queue.start_due(bench.now)
    assert (again.notice.is_repetition, again.notice.reference) == (True, "C1:7")
    assert again.notice.alert["conversations"] == ["hashtag:acme", "brand:acme"]
    bench.queue.record_answer(again, Answer(True), bench.now)
    bench.now += 3600
    assert bench.queue.start_due(bench.now) == []
    assert bench.queue.count_pending() == {"hook": 0}


def test_no_earlier_state_comes_after_a_later_one() -> None:
    bot = {"kind": "slack", "token": {"clear": "xoxb-123456"}, "channel": "C0123456789"}
    bench = Bench(config_of({"hook": bot}), gather=2)
    bench.add(spike())
    [sent] = bench.queue.start_due(bench.now)
    bench.queue.record_answer(sent, Answer(True, reference="C1:7"), bench.now)
    bench.queue.update(spike(conversations=["hashtag:acme", "brand:acme"]), bench.now)
    bench.add(spike(state="resolved", minute=5))
    [over] = bench.queue.start_due(bench.now)
    bench.queue.record_answer(over, Answer(True), bench.now)
    bench.now += 2
    assert [each.notice.alert["state"] for each in bench.queue.start_due(bench.now)] == ["resolved"]


def test_the_reference_is_stored_and_given_to_later_states_even_where_the_attempt_failed() -> None:
    bench = Bench()
    bench.add(spike())
    [sent] = bench.queue.start_due(bench.now)
    bench.queue.record_answer(sent, Answer(False, "half of it", reference="C1:7"), bench.now)
    bench.save()
    assert bench.rows["5f", "hook", "opened"].reference == "C1:7"
    bench.restart(spike())
    bench.now += 60
    [again] = bench.queue.start_due(bench.now)
    assert again.notice.reference == "C1:7"
    bench.queue.record_answer(again, Answer(True, reference="C1:7"), bench.now)
    bench.save()
    bench.restart(spike())
    bench.add(spike(state="grown", minute=3))
    [grown] = bench.queue.start_due(bench.now)
    assert grown.notice.reference == "C1:7"


def test_noon_is_not_quiet() -> None:
    bench = Bench(config_of({"hook": {"quiet": {"hours": "22:00-07:00"}}}))
    assert bench.now == NOON.timestamp()
    bench.add(spike())
    assert parts(bench) == [["5f/opened"]]

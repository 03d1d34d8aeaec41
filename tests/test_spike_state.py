"""The life of spikes: what opens, grows and resolves spikes, verdicts on open minutes, and which series are kept."""

from copy import deepcopy
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from processors.spikes.detection.life import Change, Fired, LifePolicy, LifeState, spike_id_of
from processors.spikes.detection.state import AHEAD_MINUTES, DAY_MINUTES, MonitorPolicy, MonitorState
from processors.spikes.policy import DETECTOR_VERSION
from tests.fakes_spikes import START

NAME = "hashtag:a"
AT = 1600
"""The minute of the spike: after the first day, in which levels are higher."""

QUIET = [2] * AT
FIRED = Fired(1.5, 60.0, 10.0, 40.0, 5, ("60 in 5 min",))


def fed(counts: list[int], name: str = NAME, **policy: Any) -> tuple[MonitorState, list[Change]]:
    """Returns a state with these minutes added, from START on; minutes of 0 are left out."""
    if counts[:AT] == QUIET and len(counts) >= AT and name == NAME and not policy:
        state, done = deepcopy(quiet()), AT
    else:
        state, done = MonitorState(MonitorPolicy(**policy)), 0
    changes: list[Change] = []
    for number, count in enumerate(counts[done:], done):
        changes += state.close_minute(START + number, [name], [count]) if count else []
    return state, changes


@cache
def quiet() -> MonitorState:
    """Returns a state in which every minute of more than a day was quiet."""
    state = MonitorState(MonitorPolicy())
    for number, count in enumerate(QUIET):
        assert not state.close_minute(START + number, [NAME], [count])
    return state


def lived(counts: list[int], fired: dict[int, Fired] | None = None, **policy: Any) -> list[Change]:
    """Returns the changes of a life that opens at minute 100 with FIRED and 60, and then has these counts."""
    life = LifeState(NAME, 100, 60, FIRED, LifePolicy(**policy))
    changes = [life.opening]
    for number, count in enumerate(counts):
        change = life.add_minute(count, (fired or {}).get(number))
        if change is not None:
            changes.append(change)
        if changes[-1].state == "resolved":
            break
    return changes


def now(changes: list[Change]) -> list[tuple[str, int]]:
    return [(change.state, change.as_of) for change in changes]


def test_a_spike_opens_in_the_minute_that_fires_and_only_once() -> None:
    _, changes = fed([*QUIET, 60, 61, 59, 62, 60, 61, 60])
    assert [change.state for change in changes][:1] == ["opened"]
    opened = changes[0]
    assert (opened.started, opened.as_of, opened.scale) == (START + AT, START + AT + 1, 5)
    assert opened.spike_id == spike_id_of(NAME, START + AT, DETECTOR_VERSION)
    assert opened.expected == pytest.approx(2, rel=0.1)
    assert {change.spike_id for change in changes} == {opened.spike_id}


def test_the_id_follows_from_conversation_minute_and_version() -> None:
    ids = {spike_id_of(*key) for key in (("a", 1, 1), ("a", 1, 2), ("a", 2, 1), ("b", 1, 1), ("a1", 11, 1))}
    assert len(ids) == 5
    assert all(len(spike_id) == 32 for spike_id in ids)
    assert spike_id_of("a", 1, 1) in ids


def test_a_count_that_has_doubled_is_growth_whether_or_not_the_detector_fires_again() -> None:
    """60 were told; the level is told again when it has doubled since, 5 minutes after the last time."""
    assert now(lived([11, 12, 12, 12, 12] * 9)) == [("opened", 101)], "59 in 5 minutes, and 107 with the opening minute"
    assert now(lived([*[12] * 9, *[24] * 30])) == [("opened", 101), ("grown", 115)], "120 in 5 minutes"
    assert now(lived([*[12] * 9, *[23] * 30])) == [("opened", 101)], "115 in 5 minutes"
    [_, grown] = lived([*[12] * 9, *[24] * 30])
    assert grown.seen == 120
    assert "120 in the last 5 minutes by now, 60 when last told" in grown.reasons
    assert (grown.expected, grown.scale) == (FIRED.expected / 5, 5), "one base over the life"


def test_what_has_quadrupled_is_told_at_once_and_what_grows_and_grows_a_few_times() -> None:
    """A spike of 60 of which nobody knew that it was 240 two minutes later."""
    assert now(lived([0, 180, *[0] * 30]))[:2] == [("opened", 101), ("grown", 103)]
    assert now(lived([0, 179, *[0] * 30]))[:2] != [("opened", 101), ("grown", 103)]
    for seed in range(20):
        counts = np.cumsum(np.random.default_rng(seed).poisson(60, 240)).tolist()
        states = lived(counts)
        assert {change.state for change in states} == {"opened", "grown"}
        told = [60.0, *(change.seen for change in states[1:])]
        assert all(after >= 2 * before for before, after in pairwise(told))
        assert len(told) <= 1 + np.log2(told[-1] / 60)


def test_growth_is_judged_on_the_scale_that_opened_the_spike() -> None:
    """An hour that fires is not growth of 5 minutes, unless these have doubled."""
    hour = FIRED._replace(scale=60, observed=500.0)
    assert now(lived([12] * 10, {9: hour})) == [("opened", 101)]


def test_it_resolves_below_half_of_what_opened_it_or_below_the_level() -> None:
    """60 opened it at a level of 40, which is more than half of 60."""
    assert now(lived([8] * 100)) == [("opened", 101)], "40 in 5 minutes is the level"
    ended = lived([8] * 10 + [7] * 30)[1]
    assert (ended.state, ended.ended, ended.as_of) == ("resolved", 111, 126), "39 from minute 111 on"
    high = FIRED._replace(observed=200.0)
    life = LifeState(NAME, 100, 200, high, LifePolicy())
    assert [life.add_minute(19, None) for _ in range(40)][18] is not None, "95 in 5 minutes is below half of 200"


def test_an_hour_is_not_over_before_it_was_seen() -> None:
    """5 a minute are 300 an hour, most of which came before the opening."""
    hour = FIRED._replace(scale=60, observed=300.0, level=250.0)
    life = LifeState(NAME, 100, 5, hour, LifePolicy())
    assert [life.add_minute(5, None) for _ in range(300)] == [None] * 300
    ended = next(change for _ in range(100) if (change := life.add_minute(0, None)))
    assert ended.ended == 401 + 10, "49 of the last 60 minutes had 5"


def test_it_does_not_resolve_while_it_comes_and_goes() -> None:
    assert now(lived(([0] * 14 + [60]) * 20)) == [("opened", 101)]


def test_it_ends_after_a_longest_time_however_loud() -> None:
    ended = lived([12] * 1500, longest_minutes=DAY_MINUTES)[1]
    assert (ended.state, ended.as_of, ended.ended) == ("resolved", 100 + DAY_MINUTES, 100 + DAY_MINUTES)


def test_the_resolved_state_describes_the_height() -> None:
    """The score tells how quiet the conversation is."""
    opened, grown, ended = lived([60, 70, 80, 90, 90, 50, *[0] * 30])
    assert (grown.as_of, grown.seen) == (104, 270)
    assert opened.seen_until == 101
    assert ended.seen_until == 106, "minutes 101 to 105"
    assert ended.score == 0.0
    assert ended.highest_score == 390 / FIRED.level
    assert lived([0] * 30)[1].seen_until == 101


def test_silent_minutes_resolve_a_spike() -> None:
    state, changes = fed([*QUIET, 60, 60, 60])
    opened = changes[0]
    assert state.close_until(lambda name: START + AT + 10) == []
    assert state.close_minute(START + AT + 60, ["hashtag:b"], [1]) == []
    other = state.close_until(lambda name: START + AT + 60)
    assert now(other) == [("resolved", other[0].as_of)]
    assert other[0].spike_id == opened.spike_id
    at_once, _ = fed([*QUIET, 60, 60, 60])
    assert at_once.close_until(lambda name: START + 9000) == other
    assert at_once.open_spikes == 0


def test_an_open_minute_fires_early_and_its_closing_does_not_fire_again() -> None:
    state, _ = fed(QUIET)
    minute = START + AT
    assert list(state.judge_open([NAME], [minute], [3], minute)) == []
    early = state.judge_open([NAME], [minute], [60], minute)
    assert now(early) == [("opened", minute + 1)]
    assert state.judge_open([NAME], [minute], [119], minute) == [], "once"
    plain, expected = fed([*QUIET, 75])
    [closed] = state.close_minute(minute, [NAME], [75])
    assert [closed] == expected
    assert state.close_until(lambda name: minute + 1) == [], "the closed minute confirms the early opening"
    assert (closed.spike_id, closed.order) == (early[0].spike_id, early[0].order)
    assert closed.version > early[0].version, "its row can say what the minute came to"
    assert state.state() == plain.state()


def test_an_early_opening_is_told_again_when_the_count_of_its_minute_has_doubled() -> None:
    state, _ = fed(QUIET)
    minute = START + AT
    told = [change for count in range(1, 500) for change in state.judge_open([NAME], [minute], [count], minute)]
    counts = [int(next(reason for reason in change.reasons if "so far" in reason).split()[5]) for change in told]
    assert counts == [counts[0] * 2**number for number in range(len(counts))]
    assert len(counts) > 3
    assert len({(change.spike_id, change.order, change.version) for change in told}) == 1
    assert [change.seen for change in told] == sorted({change.seen for change in told})
    assert state.judge_open([NAME], [minute - 1], [9999], minute - 1) == [], "a minute before it"
    assert state.state() == fed(QUIET)[0].state()


def test_an_early_opening_of_the_last_second_of_a_minute_grows_in_the_open_minutes_after_it() -> None:
    state, _ = fed(QUIET)
    minute = START + AT
    [early] = state.judge_open([NAME], [minute], [60], minute)
    assert state.judge_open([NAME], [minute + 1], [119], minute) == [], "less than twice the count"
    [second] = state.judge_open([NAME], [minute + 1], [120], minute)
    [third] = state.judge_open([NAME, NAME], [minute + 1, minute + 2], [130, 500], minute)
    assert {change[:7] for change in (early, second, third)} == {early[:7]}, "one spike, told under one key"
    assert [change.seen_until - minute for change in (early, second, third)] == [1, 2, 3]
    assert state.state() == fed(QUIET)[0].state(), "open minutes leave no trace"
    [closed] = state.close_minute(minute, [NAME], [60])
    assert closed.spike_id == early.spike_id
    assert state.close_until(lambda name: minute + 1) == []
    assert state.judge_open([NAME], [minute + 2], [9999], minute + 1) == [], "an open spike grows as its minutes close"


def test_the_least_count_that_opens_early_opens_when_the_minute_closes() -> None:
    state, _ = fed(QUIET)
    minute = START + AT
    least = next(count for count in range(500) if state.judge_open([NAME], [minute], [count], minute))
    assert fed([*QUIET, least])[1]
    assert not fed([*QUIET, least - 1])[1]


def test_an_early_opening_that_is_taken_back_is_resolved() -> None:
    state, _ = fed(QUIET)
    minute = START + AT
    [early] = state.judge_open([NAME], [minute], [60], minute)
    assert state.close_minute(minute, [NAME], [2]) == []
    [ended] = state.close_until(lambda name: minute + 1)
    assert (ended.spike_id, ended.state, ended.ended) == (early.spike_id, "resolved", minute + 1)
    assert ended.version > early.version
    assert state.state() == fed([*QUIET, 2])[0].state()
    [again] = state.judge_open([NAME], [minute + 1], [60], minute + 1)
    assert [each.state for each in state.close_until(lambda name: minute + 2)] == ["resolved"]
    assert again.spike_id != early.spike_id


def test_minutes_far_ahead_and_closed_ones_are_not_judged_early() -> None:
    state, _ = fed(QUIET)
    minute = START + AT
    assert state.judge_open([NAME], [minute + AHEAD_MINUTES], [10**6], minute) == []
    assert state.judge_open([NAME], [minute - 1], [10**6], minute) == []
    assert state.judge_open(["hashtag:new"], [minute], [10**6], minute) == []


def test_only_the_kinds_that_are_named_are_watched() -> None:
    state = MonitorState(MonitorPolicy(kinds=("brand",)))
    for minute in range(START, START + 10):
        assert state.close_minute(minute, [NAME, "brand:x", "thread:1"], [1, 1, 1]) == []
    assert [*state.tracked.state()] == ["brand:x"]


def test_the_idlest_series_leave_when_there_is_no_room_but_not_those_that_spike() -> None:
    state, _ = fed([*QUIET, 60, 60], most=10)
    for number in range(30):
        state.close_minute(START + AT + 2 + number // 3, [f"hashtag:{number}"], [1])
        assert len(state.tracked) <= 10
    kept = [*state.tracked.state()]
    assert NAME in kept
    assert {"hashtag:29", "hashtag:28", "hashtag:27"} <= {*kept}
    assert state.tracked.released >= 20


def test_of_a_minute_with_more_conversations_than_series_the_known_and_the_loudest_are_watched() -> None:
    state, _ = fed([*QUIET, 60, 60], most=10)
    for minute in range(3):
        crowd = [f"hashtag:{minute}-{number:02}" for number in range(50)]
        state.close_minute(START + AT + 2 + minute, [*crowd, NAME], [*range(50), 60])
        assert len(state.tracked) <= 10
    kept = [*state.tracked.state()]
    assert NAME in kept
    assert [f"hashtag:2-{number}" for number in range(41, 50)] == sorted(name for name in kept if name != NAME)


def test_series_without_a_count_for_weeks_leave() -> None:
    state, _ = fed([1])
    state.close_minute(START + 28 * DAY_MINUTES - 10, ["hashtag:b"], [1])
    assert len(state.tracked) == 2
    state.close_minute(START + 30 * DAY_MINUTES, ["hashtag:b"], [1])
    assert [*state.tracked.state()] == ["hashtag:b"]


def test_early_verdicts_change_no_series() -> None:
    state, _ = fed(QUIET)
    before = state.state()
    bank, row = state._bank, state.tracked.find(NAME)
    assert row is not None
    time = (START + AT) * 60
    judged = bank.judge_many([row], time, [60])
    assert state.state() == before
    added = bank.update_many([row], time, [60])
    assert all(np.array_equal(early, final) for early, final in zip(judged, added, strict=True))

"""The spike detector: causal, the same alone and in a bank, through gaps and replays; spikes that it must find and must
not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import SettingsError
from processors.spikes.detection.bank import ROW_BYTES, Bank, Verdicts
from processors.spikes.detection.detector import Detector
from processors.spikes.detection.kernels import NEVER_FIRES
from processors.spikes.policy import DEFAULT_POLICY, HOUR_SECONDS, grid_of

START = 1_767_225_600  # a Thursday, 2026-01-01
MINUTE = 60


def _judge(counts: np.ndarray, width: int = MINUTE, start: int = START) -> Verdicts:
    bank = Bank(width, capacity=1)
    return bank.update_many(np.full(len(counts), bank.add()[0]), start + width * np.arange(len(counts)), counts)


def _fired(counts: np.ndarray, width: int = MINUTE) -> list[int]:
    return np.flatnonzero(_judge(counts, width).fires).tolist()


def _poisson(rate: float, minutes: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).poisson(rate, minutes)


@pytest.mark.parametrize("per_minute", [5 / 1440, 0.1, 3, 300, 50_000])
def test_a_burst_is_seen_at_any_rate(per_minute: float) -> None:
    counts = _poisson(per_minute, 3 * 1440)
    assert not _fired(counts)
    at = 2 * 1440 + 700
    burst = max(int(8 * 5 * per_minute), 12)
    counts[at : at + 5] += burst // 5 + 1
    [fired, *more] = _fired(counts)
    assert at <= fired < at + 5
    # At most one that it grew: it takes 5 minutes to fill the shortest scale.
    assert len(more) <= 1
    assert all(again == fired + 5 for again in more)


def test_a_verdict_says_why() -> None:
    detector = Detector()
    for minute, count in enumerate(_poisson(10, 2 * 1440).tolist()):
        calm = detector.update(START + MINUTE * minute, count)
    assert not calm.fires
    assert not calm.warming_up
    loud = detector.update(START + 2 * 24 * HOUR_SECONDS, 400)
    assert loud.fires
    assert loud.score == loud.observed / loud.level > 1
    assert loud.scale_seconds == 300
    assert loud.expected == pytest.approx(50, rel=0.2)
    assert loud.reasons[0].startswith(f"{loud.observed:.0f} in the 5 minutes, usually {loud.expected:.1f}, ")
    assert loud.background == loud.reasons[1:]
    assert loud.background[0].startswith(f"{loud.level:.0f} or more in 5 minutes stand out here")


def test_what_rises_for_hours_is_seen_on_a_longer_scale() -> None:
    rng = np.random.default_rng(9)
    counts = rng.poisson(rng.gamma(0.3, 30, 4 * 1440))  # bursts of their own hide it from the short scale
    assert not _fired(counts[: 3 * 1440])
    counts[3 * 1440 : 3 * 1440 + 360] += _poisson(14, 360, seed=2)
    said = _judge(counts)
    [first, *_] = np.flatnonzero(said.fires).tolist()
    assert said.scales[first] >= HOUR_SECONDS
    assert 3 * 1440 < first < 3 * 1440 + 360


def test_warming_up_is_said_for_a_day_and_nothing_fires_in_the_first_hour() -> None:
    detector = Detector()
    said = [detector.update(START + MINUTE * minute, 500 if minute == 30 else 1) for minute in range(1441)]
    assert not any(verdict.fires for verdict in said)
    assert all(verdict.score == 0 for verdict in said[:60])
    assert all(verdict.warming_up for verdict in said[:1440])
    assert all(verdict.reasons[0].startswith("warming up") for verdict in said[:1400])
    assert not any("so 1.0 times as much" in reason for verdict in said for reason in verdict.reasons)
    assert "0.5 of 24 h" in said[30].reasons[0]
    assert not said[1440].warming_up
    assert not any("warming" in reason for reason in said[1440].reasons)


def test_a_huge_burst_fires_even_on_the_first_day() -> None:
    counts = _poisson(20, 300)
    counts[200] = 2000
    assert _fired(counts) == [200]


def test_garbage_in_the_future_changes_nothing_in_the_past() -> None:
    rng = np.random.default_rng(3)
    counts = rng.poisson(rng.gamma(0.5, 20, 5000))
    whole = _judge(counts)
    for cut_at in (1, 61, 1500, 4321):
        garbage = counts.copy()
        garbage[cut_at:] = rng.integers(0, 10**6, len(counts) - cut_at)
        for column, other in zip(whole, _judge(garbage), strict=True):
            np.testing.assert_array_equal(column[:cut_at], other[:cut_at])


def test_a_bank_says_what_each_series_alone_would_say() -> None:
    rng = np.random.default_rng(4)
    bank = Bank(capacity=1)
    rows = bank.add(20)
    alone = [Detector() for _ in rows]
    rates = 10 ** rng.uniform(-3, 4, len(rows))
    for minute in range(3000):
        counts = rng.poisson(rates * (30 if minute % 1999 > 1990 else 1))
        some = rng.permutation(len(rows))[: rng.integers(1, len(rows) + 1)] if minute % 100 == 0 else range(len(rows))
        if minute % 100 and minute > 200:
            continue
        together = bank.update_many(rows[some], START + MINUTE * minute, counts[some])
        for place, series in enumerate(some):
            verdict = alone[series].update(START + MINUTE * minute, int(counts[series]))
            assert verdict.score == together.scores[place]
            assert verdict.expected == together.expected[place]
    assert all(one.state() == bank.state(row) for one, row in zip(alone, rows, strict=True))


GAPS = [1, 4, 5, 6, 11, 59, 60, 61, 239, 240, 241, 300, 1439, 20_000]


@pytest.mark.parametrize("width", [60, 100, 300, 900, 3600])
@pytest.mark.parametrize("offset", [0, 7])
def test_missing_buckets_are_zeros(width: int, offset: int) -> None:
    rng = np.random.default_rng(width + offset)
    spaces = np.array(GAPS * 3)
    rng.shuffle(spaces)
    at = np.cumsum(np.concatenate([np.ones(200, int), spaces]))
    counts = np.zeros(at[-1] + 1, int)
    counts[at] = rng.integers(1, 300, len(at))
    times = START + offset + width * np.arange(len(counts))
    full, sparse = Bank(width), Bank(width)
    a, b = full.add()[0], sparse.add()[0]
    full.update_many(np.full(len(times) - at[0], a), times[at[0] :], counts[at[0] :])
    sparse.update_many(np.full(len(at), b), times[at], counts[at])
    assert full.state(a) == sparse.state(b)


def test_years_of_silence_cost_little_and_end_in_a_fresh_verdict() -> None:
    detector = Detector()
    for minute in range(3000):
        detector.update(START + MINUTE * minute, 5)
    verdict = detector.update(START + 5 * 366 * 24 * HOUR_SECONDS, 9)
    assert not verdict.fires
    assert verdict.expected == pytest.approx(0, abs=1e-6)
    assert detector.update(START + 5 * 366 * 24 * HOUR_SECONDS + MINUTE, 400).fires


def test_a_replay_gives_the_same_state_and_verdicts() -> None:
    counts = np.random.default_rng(5).poisson(np.random.default_rng(6).gamma(1, 9, 4000))
    live = Detector()
    said = [live.update(START + MINUTE * minute, int(count)).score for minute, count in enumerate(counts)]
    bank = Bank()
    row = bank.add()[0]
    times = START + MINUTE * np.arange(len(counts))
    parts = [
        bank.update_many(np.full(len(part), row), times[part], counts[part]) for part in np.array_split(range(4000), 7)
    ]
    assert np.concatenate([part.scores for part in parts]).tolist() == said
    assert bank.state(row) == live.state()


def test_a_level_shift_is_told_once() -> None:
    counts = np.concatenate([_poisson(20, 3 * 1440), _poisson(120, 11 * 1440, seed=2)])
    fired = _fired(counts)
    assert fired
    assert all(3 * 1440 <= at < 3 * 1440 + 60 for at in fired)
    assert len(fired) <= 2
    # ... and the new level is the usual one.
    assert _judge(counts).expected[-1] / _judge(counts).scales[-1] == pytest.approx(2.0, rel=0.2)


def test_after_an_alert_there_is_silence_unless_it_doubles() -> None:
    calm = _poisson(10, 3 * 1440)
    for second, told in ((1.2, 1), (4.0, 2)):
        counts = calm.copy()
        counts[4000:4005] += 200
        counts[4100:4105] += int(200 * second)
        said = _judge(counts)
        groups = {int(at) // 50 for at in np.flatnonzero(said.fires)}
        assert len(groups) == told


def test_a_daily_and_weekly_rhythm_is_no_spike() -> None:
    minutes = np.arange(28 * 1440)
    day = 1 + 0.9 * np.sin(2 * np.pi * minutes / 1440)
    week = np.where(minutes // 1440 % 7 < 5, 1.0, 0.4)
    assert not _fired(np.random.default_rng(8).poisson(50 * day * week))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([60, 300, 900]), st.integers(0, 3), st.floats(-2, 4))
def test_the_firing_level_is_exact(seed: int, width: int, empty: int, power: float) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(10**power * rng.gamma(0.7, 1.4, rng.integers(70, 2500)))
    times = START + width * np.arange(len(counts))
    then = int(times[-1]) + width * (empty + 1) + int(rng.integers(width))
    said = []
    for less in (0, 1):
        bank = Bank(width, capacity=1)
        row = bank.add()[0]
        bank.update_many(np.full(len(counts), row), times, counts)
        before = bank.state(row)
        level = bank.firing_level(row, then)
        assert bank.state(row) == before
        assert 1 <= level < NEVER_FIRES
        said.append(bank.update_many([row], then, [level - less]).fires[0])
    assert said == [True, False]


def test_no_firing_level_where_nothing_can_fire() -> None:
    bank = Bank()
    rows = bank.add(3)
    bank.update_many(rows[1:], START, [5, 5])
    bank.update_many(rows[2:], START + 2 * HOUR_SECONDS, [5])
    assert bank.firing_levels(rows, START + MINUTE).tolist() == [NEVER_FIRES, NEVER_FIRES, NEVER_FIRES]
    assert bank.firing_level(2, START + 2 * HOUR_SECONDS + MINUTE) < NEVER_FIRES


def test_a_bucket_may_come_in_parts() -> None:
    whole, parts = Detector(), Detector()
    for minute in range(100):
        whole.update(START + MINUTE * minute, 9)
        parts.update(START + MINUTE * minute, 4)
        parts.update(START + MINUTE * minute + 59.5, 5)
    assert whole.state() == parts.state()


def test_a_released_row_starts_anew() -> None:
    bank = Bank(capacity=2)
    rows = bank.add(2)
    empty = bank.state(rows[0])
    bank.update_many(rows, START, [3, 4])
    bank.release(rows[:1])
    assert len(bank) == 1
    assert bank.add().tolist() == [rows[0]]
    assert bank.state(rows[0]) == empty
    assert bank.add(5).tolist() == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("time", "count", "said"),
    [
        (START + MINUTE, -1, "count: -1 is below 0"),
        (START + MINUTE, 1.5, "count: not a whole number"),
        (START + MINUTE, float("nan"), "count: not a whole number"),
        (float("inf"), 1, "time: inf is not a time"),
        (START - 1, 1, "time: .* lies before what row 0 has seen"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(time: float, count: float, said: str) -> None:
    detector = Detector()
    detector.update(START, 3)
    before = detector.state()
    with pytest.raises(ValueError, match=said):
        detector.update(time, count)
    assert detector.state() == before


def test_a_bank_refuses_what_does_not_fit() -> None:
    bank = Bank()
    rows = bank.add(2)
    with pytest.raises(ValueError, match="row: there are 2"):
        bank.update_many([2], START, [1])
    with pytest.raises(ValueError, match="count: 1 values for 2 rows"):
        bank.update_many(rows, START, [1])
    with pytest.raises(ValueError, match=f"time: {START} lies before"):
        bank.update_many([0, 1, 0], [START + 60, START, START], [1, 1, 1])


def test_counts_beyond_reason_are_bounded() -> None:
    detector = Detector()
    for minute in range(300):
        verdict = detector.update(START + MINUTE * minute, 10**18)
    assert np.isfinite([verdict.score, verdict.expected, verdict.level]).all()


@pytest.mark.parametrize("width", [0, -60, 30, 61, 240, 301, 700, 7200])
def test_a_width_that_does_not_fit_is_refused(width: int) -> None:
    with pytest.raises(SettingsError, match=f"width: buckets of {width} s"):
        grid_of(width)


def test_memory_and_setting_are_as_promised() -> None:
    assert ROW_BYTES <= 2000
    assert DEFAULT_POLICY.threshold == 1.0

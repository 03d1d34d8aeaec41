"""Numenta's scorer against values computed by hand."""

from math import exp, inf

import numpy as np
import pytest

from processors.spikes.detection.numenta import (
    PROFILES,
    Profile,
    best_threshold,
    leave_one_out,
    normalize,
    rate_rows,
    raw_score,
    score,
    sigmoid,
)

STANDARD, LOW_FP, LOW_FN = PROFILES["standard"], PROFILES["low-FP"], PROFILES["low-FN"]

# 20 rows, the window is rows 10 to 13 (4 rows), 15 % of 20 = 3 rows of probation.
WINDOW = [(10, 13)]


def _s(y: float) -> float:
    return 2 / (1 + exp(5 * y)) - 1


def _scores(*flagged: int, rows: int = 20) -> np.ndarray:
    scores = np.zeros(rows)
    scores[list(flagged)] = 1.0
    return scores


def _score(*flagged: int, profile: Profile = STANDARD) -> float:
    return score([rate_rows(_scores(*flagged), WINDOW)], 1.0, profile)


def test_the_sigmoid() -> None:
    assert sigmoid(0) == 0
    assert sigmoid(-1) == pytest.approx(0.98661430)  # tanh(2.5)
    assert sigmoid(0.5) == pytest.approx(-0.84828364)  # -tanh(1.25)
    assert sigmoid(3) == pytest.approx(-0.99999939)
    assert sigmoid(3.001) == -1


def test_what_rows_are_worth() -> None:
    rated = rate_rows(_scores(), WINDOW)
    assert rated.weights[:10].tolist() == [-1.0] * 10
    # y = -(13 - i + 1) / 4: -1, -.75, -.5, -.25
    assert rated.weights[10:14] == pytest.approx(
        [1, 0.95404526 / 0.98661430, 0.84828364 / 0.98661430, 0.55459972 / 0.98661430], abs=1e-6
    )
    # y = (i - 13) / 3: 1/3, 2/3, ... , 2
    assert rated.weights[14:] == pytest.approx([_s(k / 3) for k in range(1, 7)])
    assert rated.inside.tolist() == [-1] * 10 + [0] * 4 + [-1] * 6
    assert rated.first == 3


def test_nothing_flagged_is_0_and_the_windows_first_row_is_100() -> None:
    for profile in PROFILES.values():
        assert _score(profile=profile) == 0
        assert _score(10, profile=profile) == pytest.approx(100)


def test_only_the_first_find_counts() -> None:
    late = _score(12)
    assert late == pytest.approx(100 * (0.84828364 / 0.98661430 + 1) / 2, abs=1e-4)
    assert _score(12, 13) == late


@pytest.mark.parametrize(
    ("profile", "cost"), [(STANDARD, 100 * 0.11 / 2), (LOW_FP, 100 * 0.22 / 2), (LOW_FN, 100 * 0.11 / 3)]
)
def test_a_false_alarm_before_the_window_costs_its_full_weight(profile: Profile, cost: float) -> None:
    assert _score(5, 10, profile=profile) == pytest.approx(100 - cost)
    assert _score(5, 6, 10, profile=profile) == pytest.approx(100 - 2 * cost)


def test_a_false_alarm_after_the_window_costs_by_its_distance() -> None:
    assert _score(10, 14) == pytest.approx(100 + 100 * 0.11 * _s(1 / 3) / 2)
    assert _score(10, 19) == pytest.approx(100 + 100 * 0.11 * _s(2) / 2)


def test_rows_on_probation_neither_gain_nor_cost() -> None:
    assert _score(0, 1, 2, 10) == pytest.approx(100)
    assert _score(3, 10) < 100
    assert rate_rows(np.zeros(10_000), []).first == 750


def test_far_behind_a_window_the_weight_is_minus_1() -> None:
    assert rate_rows(np.zeros(100), [(10, 13)]).weights[13 + 3 * 3 + 1 :].tolist() == [-1.0] * (100 - 23)
    assert rate_rows(np.zeros(20), [(10, 10)]).weights[11:].tolist() == [-1.0] * 9


def test_a_missed_window_by_hand() -> None:
    # Two windows, one found at its start, one missed, one false alarm before both.
    rated = rate_rows(_scores(20, 50, rows=100), [(50, 59), (80, 89)])
    for name, raw, null in (("standard", 1 - 1 - 0.11, -2), ("low-FP", 1 - 1 - 0.22, -2), ("low-FN", 1 - 2 - 0.11, -4)):
        done = raw_score([rated], [rated.scores >= 1], PROFILES[name])
        assert (done.windows, done.found, done.false) == (2, 1, 1)
        assert done.raw == pytest.approx(raw)
        assert normalize(done.raw, 2, PROFILES[name]) == pytest.approx(100 * (raw - null) / (2 - null))


def test_series_are_summed_before_they_are_normalized() -> None:
    found, missed = rate_rows(_scores(10), WINDOW), rate_rows(_scores(5), WINDOW)
    assert score([found, missed], 1.0, STANDARD) == pytest.approx(100 * (1 - 1 - 0.11 + 2) / 4)


def test_windows_that_overlap_or_lie_outside_are_refused() -> None:
    for windows in ([(5, 9), (9, 12)], [(15, 20)], [(9, 5)]):
        with pytest.raises(ValueError, match="window"):
            rate_rows(np.zeros(20), windows)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_the_best_threshold_is_that_of_trying_them_all(seed: int, profile: Profile) -> None:
    rng = np.random.default_rng(seed)
    series = [
        rate_rows(rng.integers(0, 30, 120) / 10 * (rng.random(120) < 0.3), [(40, 49), (60 + seed, 75 + seed)])
        for _ in range(3)
    ]
    tried = {threshold: score(series, threshold, profile) for threshold in np.arange(1, 31) / 10}
    highest = max(tried.values())
    found = best_threshold(series, profile)
    if highest <= 0:
        assert found == (0, inf)
    else:
        assert found.score == pytest.approx(highest)
        assert tried[round(found.threshold, 1)] == pytest.approx(highest)


def test_leave_one_out_takes_each_threshold_from_the_others() -> None:
    low, high = _scores(10) * 0.5 + _scores(5) * 0.4, _scores(10) * 3 + _scores(5)
    series = [rate_rows(low, WINDOW), rate_rows(high, WINDOW)]
    # The first is judged at 3 (best for the second): all missed. The second at 0.5: found, and a false alarm.
    assert leave_one_out(series, STANDARD) == pytest.approx(100 * (-1 + 1 - 0.11 + 2) / 4)
    assert best_threshold(series, STANDARD).score == pytest.approx(100 * (1 + 1 - 0.11 + 2) / 4)

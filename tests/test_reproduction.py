"""R_t, half-lives and the sums that both rest on, by hand and against brute force."""

from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.engagement.fold.columns import Identities
from processors.engagement.fold.fold import Fold
from processors.virality import clock
from processors.virality.generation import HALF_MINUTES, MINUTES, WEIGHTS, survival, survival_table
from processors.virality.reproduction import exposure, rate_half_life, reproduction
from processors.virality.spread import FIELDS, Lookups, spread_of

START = 29_500_000
"""A minute in 2026."""

LIKE, SHARE, COMMENT = 0, 1, 2
Happened = list[tuple[int, int, int | None]]
"""(minute, measure, minute in which it was taken back)."""


@pytest.fixture(scope="module")
def lookups() -> Lookups:
    return Lookups()


def test_the_mixture_is_a_distribution() -> None:
    assert WEIGHTS.sum() == pytest.approx(1, abs=1e-12)
    assert survival(0) == pytest.approx(1)
    assert survival(-5) == pytest.approx(1)
    assert survival(1e9) == pytest.approx(0, abs=1e-12)


def test_the_table_is_the_mixture(lookups: Lookups) -> None:
    assert len(survival_table()) == HALF_MINUTES + 1
    for half in (0, 1, 2, 11, 1440, 4095, 4096, HALF_MINUTES):
        exact = sum(w * np.exp(-half / 2 / tau) for w, tau in zip(WEIGHTS, MINUTES, strict=True))
        assert lookups.survival[half] == pytest.approx(exact, rel=1e-13)
    assert (np.diff(lookups.survival) < 0).all()


def test_by_hand(lookups: Lookups) -> None:
    # Ten minutes old; shares in minutes 0, 2, 2, 7; the window is the last five minutes.
    found = spread([(0, SHARE, None), (2, SHARE, None), (2, SHARE, None), (7, SHARE, None)], 10, lookups)
    rest = survival(9.5) * 2 + 2 * survival(7.5) + survival(2.5)
    before = survival(4.5) * 2 + 2 * survival(2.5)
    assert found["shares"] == 4
    assert found["window"] == 5
    assert found["rest"] == pytest.approx(rest)
    assert (found["shares_before"], found["nodes_before"]) == (3, 4)
    assert found["rest_before"] == pytest.approx(before)
    assert found["lag_sum"] == 0 + 2 + 2 + 7
    assert found["log_lag_sum"] == pytest.approx(np.log(0.5) + 2 * np.log(2.5) + np.log(7.5))
    assert found["half_life_shares"] == 2
    h = exposure(*(np.array([found[name]]) for name in ("shares", "rest", "nodes_before", "rest_before")))
    assert h[0] == pytest.approx((5 - rest) - (4 - before))
    assert reproduction(np.array([1.0]), h).value[0] == pytest.approx((1 + 1) / (0.2 + h[0]))


def test_interval_is_that_of_gamma() -> None:
    # Gamma(1, rate) is exponential: its quantiles are -ln(1 - p) / rate.
    found = reproduction(np.array([0.0]), np.array([1.8]))
    assert found.value[0] == pytest.approx(1 / 2)
    assert found.low[0] == pytest.approx(-np.log(0.95) / 2)
    assert found.high[0] == pytest.approx(-np.log(0.05) / 2)


def test_taken_back_shares_are_nowhere(lookups: Lookups) -> None:
    kept: Happened = [(1, SHARE, None), (4, LIKE, None), (90, SHARE, None)]
    gone: Happened = [(2, SHARE, 3), (40, SHARE, 60), (5, COMMENT, 6)]
    same = spread(kept, 100, lookups)
    assert spread(kept + gone, 100, lookups) == pytest.approx(same)


def test_what_comes_after_as_of_is_not_known_yet(lookups: Lookups) -> None:
    early: Happened = [(1, SHARE, None), (9, SHARE, None)]
    assert spread([*early, (10, SHARE, None)], 10, lookups) == pytest.approx(spread(early, 10, lookups))


def test_beyond_the_table_it_is_exact(lookups: Lookups) -> None:
    age = 400 * 1440
    found = spread([(3, SHARE, None)], age, lookups)
    assert found["rest"] == pytest.approx(survival(age - 0.5) + survival(age - 3.5), rel=1e-12)
    late = spread([(age - 7, SHARE, None)], age, lookups)
    assert late["log_lag_sum"] == pytest.approx(np.log(age - 6.5))


def test_a_post_that_has_not_come_has_no_age(lookups: Lookups) -> None:
    fold = folded([(1, SHARE, None)])
    found = spread_of(
        fold.tables.post_panes(np.array([0])), np.array([clock.NO_MINUTE]), np.array([START + 10]), lookups
    )
    assert np.isnan(found).all()


def test_half_lives_need_something_to_halve(lookups: Lookups) -> None:
    found = spread([(4, LIKE, None), (8, COMMENT, None), (9, LIKE, None)], 10, lookups)
    assert np.isnan(found["half_life_shares"])
    assert (found["half_life_engagement"], found["life_engagement"]) == (8, 9)


happened = st.lists(
    st.tuples(st.integers(-30, 4000), st.sampled_from([LIKE, SHARE, SHARE, COMMENT]), st.none() | st.integers(0, 5000)),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(happened, st.integers(1, 6000))
def test_the_walk_is_brute_force(events: Happened, age: int) -> None:
    found = spread(events, age, LOOKUPS)
    assert found == pytest.approx(brute_force(events, age), rel=1e-9, abs=1e-9, nan_ok=True)


@settings(max_examples=150, deadline=None)
@given(happened, st.integers(-5, 10**6))
def test_reproduction_is_finite_and_positive(events: Happened, age: int) -> None:
    found = {name: np.array([value]) for name, value in spread(events, age, LOOKUPS).items()}
    h = exposure(found["shares"], found["rest"], found["nodes_before"], found["rest_before"])
    r = reproduction(found["shares"] - found["shares_before"], h)
    assert np.isfinite(r).all()
    assert 0 < r.low[0] < r.value[0] < r.high[0]


@pytest.mark.parametrize("age", [1, 2, 10, 100_000])
def test_a_burst_at_one_instant(age: int, lookups: Lookups) -> None:
    found = {name: np.array([value]) for name, value in spread([(0, SHARE, None)] * 5000, age, lookups).items()}
    h = exposure(found["shares"], found["rest"], found["nodes_before"], found["rest_before"])
    r = reproduction(found["shares"] - found["shares_before"], h)
    assert np.isfinite(r).all()
    assert (np.array(r) > 0).all()


def test_rate_half_life() -> None:
    old, new = np.array([8.0, 8, 8, 0, 8, -1]), np.array([4.0, 2, 8, 4, 0, -2])
    found = rate_half_life(60, old, new)
    assert found[:2] == pytest.approx([60, 30])
    assert np.isnan(found[2:]).all()


def test_as_of_follows_the_doublings_of_age() -> None:
    created = np.array([1000, 1000, 1000, 1000, 1000, clock.NO_MINUTE, 1000])
    as_of = np.array([1003, 1003, 1003, 1050, 1003, 1003, 1003])
    mark = np.array([1009, 1010, 1079, 1079, 10**8, 10**8, 0])
    assert clock.spread_as_of(created, as_of, mark).tolist() == [1003, 1010, 1040, 1050, 1000 + 40960, 1003, 1003]
    assert clock.spread_as_of(created, as_of, 1079).tolist() == [1040, 1040, 1040, 1050, 1040, 1003, 1040]


def test_next_doubling_is_where_as_of_would_change() -> None:
    created, as_of = np.array([1000, 1000, 1000, 1000, clock.NO_MINUTE]), np.array([1003, 1010, 1039, 99_999, 1003])
    assert clock.next_doubling(created, as_of).tolist() == [1010, 1020, 1040, clock.NO_MINUTE, clock.NO_MINUTE]
    due = clock.next_doubling(created[:3], as_of[:3])
    assert (clock.spread_as_of(created[:3], as_of[:3], due) == due).all()
    assert (clock.spread_as_of(created[:3], as_of[:3], due - 1) == as_of[:3]).all()


LOOKUPS = Lookups()


def spread(events: Happened, age: int, lookups: Lookups) -> dict[str, float]:
    """Returns the fields by name of a post that was created in START, `age` minutes later."""
    fold = folded(events)
    found = spread_of(fold.tables.post_panes(np.array([0])), np.array([START]), np.array([START + age]), lookups)
    return dict(zip(FIELDS, found[0].tolist(), strict=True))


def folded(events: Happened) -> Fold:
    """Returns a fold with one post that has these events, in this order."""
    fold = Fold()
    rows = fold.add(["p"], np.zeros(1, np.uint16))
    lines = [(START + minute, measure, 2 * number + 10, 0) for number, (minute, measure, _) in enumerate(events)]
    lines += [
        (START + taken, measure, 2 * number + 11, 2 * number + 10)
        for number, (_, measure, taken) in enumerate(events)
        if taken is not None
    ]
    if lines:
        minutes, measures, keys, targets = (np.array(column) for column in zip(*lines, strict=True))
        fold.add_events(np.repeat(rows, len(lines)), identities(minutes, measures, keys, targets))
    return fold


def identities(minutes: Any, measures: Any, keys: Any, targets: Any) -> Identities:
    nothing = np.zeros(len(keys), np.uint64)
    return Identities(
        **dict.fromkeys(Identities._fields, nothing)
        | {
            "keys": keys.astype(np.uint64),
            "targets": targets.astype(np.uint64),
            "actors": keys.astype(np.uint64),
            "minutes": minutes.astype(np.uint32),
            "checks": nothing.astype(np.uint32),
            "measures": measures.astype(np.int8),
            "actions": (targets > 0).astype(np.int8),
        }
    )


def brute_force(events: Happened, age: int) -> dict[str, float]:
    """Computes the fields of the walk, event by event."""
    known = [(max(minute, 0), measure) for minute, measure, taken in events if minute < age and taken is None]
    shares = sorted(lag + 0.5 for lag, measure in known if measure == SHARE)
    half = max(age / 2, 5)
    window = min(half, 120)
    nodes = np.array([0.5, *shares])
    before, by_half = nodes[nodes <= age - window], nodes[nodes <= age - half]

    def middle(times: list[float], part: float = 0.5) -> float:
        return sorted(times)[ceil(round(part * len(times), 6)) - 1] - 0.5 if times else np.nan

    return {
        "shares": len(shares),
        "rest": survival(age - nodes).sum(),
        "shares_before": sum(time <= age - window for time in shares),
        "rest_before": survival(age - window - before).sum(),
        "nodes_before": len(before),
        "window": window,
        "lag_sum": sum(time - 0.5 for time in shares),
        "log_lag_sum": sum(np.log(shares)),
        "half_life_shares": middle(shares),
        "half_life_engagement": middle([lag + 0.5 for lag, _ in known]),
        "life_engagement": middle([lag + 0.5 for lag, _ in known], 0.9),
        "shares_half": sum(time <= age - half for time in shares),
        "rest_half": survival(age - half - by_half).sum(),
        "nodes_half": len(by_half),
    } | {
        f"rest_{k}": (weight * np.exp(-(age - nodes) / tau)).sum()
        for k, (weight, tau) in enumerate(zip(WEIGHTS, MINUTES, strict=True), 1)
    }

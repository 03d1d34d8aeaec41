"""The forecast of the next hour on simulated Hawkes processes of several regimes, and its reasons for silence."""

import numpy as np
import pytest

from processors.virality.columns import NO_POST, NO_SHARES, TOO_FEW, spread_columns
from processors.virality.fit.cascades import Cascades, spread_at
from processors.virality.generation import MINUTES, WEIGHTS, decay_table, survival_table
from processors.virality.next_hour import posterior, shares_of_next_hour
from processors.virality.parameters import load_parameters
from processors.virality.spread import FIELDS, Lookups
from schemas.spread import FADED, GENERATIONS, KERNEL, MOST_NEXT, NEXT_MINUTES, SPREAD_REASONS, arrivals
from tests.hawkes import cascades_with, expected_shares
from tests.test_reproduction import SHARE, START, Happened, folded

LOOKUPS = Lookups()


def test_components_sum_to_the_survival() -> None:
    assert decay_table().sum(axis=1) == pytest.approx(survival_table()[: len(decay_table())], rel=1e-12)
    assert sum(weight for _, weight in KERNEL) == pytest.approx(1, abs=1e-12)


def test_arrivals_are_the_chances_of_simulated_chains() -> None:
    rng = np.random.default_rng(3)
    found, runs = np.array(arrivals()), 200_000
    assert found[:, 0] == pytest.approx(1 - np.exp(-NEXT_MINUTES / MINUTES), abs=1e-12)
    assert (np.diff(found) < 0).all()
    for first in (0, 2, 6):
        at = rng.exponential(MINUTES[first], runs)
        for generation in range(4):
            share = found[first, generation]
            assert (at <= NEXT_MINUTES).mean() == pytest.approx(share, abs=5 * np.sqrt(share / runs) + 1e-5)
            at = at + rng.exponential(MINUTES[rng.choice(len(MINUTES), runs, p=WEIGHTS)])


@pytest.mark.parametrize("r", [0.3, 1.0, MOST_NEXT])
def test_the_sum_over_generations_is_the_mean_of_the_process(r: float) -> None:
    rest = WEIGHTS * np.exp(-30 / MINUTES)
    by_generation = rest @ np.array(arrivals()) @ r ** np.arange(1, GENERATIONS + 1)
    assert by_generation == pytest.approx(expected_shares(np.zeros(1), 30.0, r), rel=1e-4)


REGIMES = [
    # R, shares at first, age, how far the mean of the forecasts may be off
    *((r, given, age, 0.25) for r in (0.8, 1.0, 1.2, 1.5) for given in (25, 100) for age in (10, 60)),
    *((r, given, age, 0.25) for r in (0.8, 1.0, 1.2) for given in (25, 100) for age in (360,)),
    *((0.5, 100, age, 0.25) for age in (10, 60, 360)),
    *((0.5, 25, age, 0.5) for age in (10, 60, 360)),
    *((r, 3, age, 0.5) for r in (0.8, 1.0, 1.2) for age in (60, 360)),
]


@pytest.mark.parametrize(("r", "given", "age", "off"), REGIMES)
def test_the_mean_forecast_is_the_mean_of_what_came(r: float, given: int, age: int, off: float) -> None:
    rng = np.random.default_rng(int(100 * r) + given + age)
    cascades = cascades_with(rng, r, {3: 3000, 25: 1200, 100: 400}[given], given, age + 61)
    predicted = shares_of_next_hour(spread_at(cascades, age, LOOKUPS))
    came = cascades.known(age + 60) - cascades.known(age)
    error = came.std() / np.sqrt(len(came))
    assert predicted.mean() == pytest.approx(came.mean(), rel=off, abs=2 * error)


def test_a_large_r_counts_at_most_double() -> None:
    """At R = 2 the estimates above 2 are cut, those below are not."""
    cascades = cascades_with(np.random.default_rng(1), 2.0, 200, 100, 121)
    spread = spread_at(cascades, 60, LOOKUPS)
    came = cascades.known(120) - cascades.known(60)
    assert 0.75 < shares_of_next_hour(spread).mean() / came.mean() < 1.0
    shape, rate = posterior(spread)
    assert (shape / rate).mean() == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("days", [2, 12, 29])
def test_nothing_comes_to_dead_posts(days: int) -> None:
    """The process went on to give each of its last shares within the first day."""
    rng = np.random.default_rng(days)
    alive = cascades_with(rng, 0.6, 500, 25, 1440)
    spread = spread_at(alive, days * 1440, LOOKUPS)
    assert shares_of_next_hour(spread).mean() < 0.02
    assert shares_of_next_hour(spread).max() < 0.2


def test_without_new_shares_the_forecast_falls_to_nothing() -> None:
    post = _post([2 * n for n in range(25)])
    falling = [float(shares_of_next_hour(spread_at(post, age, LOOKUPS))[0]) for age in (50, 80, 160, 640, 2880, 41_760)]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] > 10
    assert falling[-1] < 0.002
    assert float(shares_of_next_hour(spread_at(post, 10**7, LOOKUPS))[0]) == pytest.approx(0, abs=1e-12)


def test_state_of_a_post_by_hand() -> None:
    spread = dict(zip(FIELDS, spread_at(_post([0, 2, 7]), 10, LOOKUPS)[0], strict=True))
    ages = np.array([9.5, 9.5, 7.5, 2.5])
    for k in range(len(MINUTES)):
        assert spread[f"rest_{k + 1}"] == pytest.approx((WEIGHTS[k] * np.exp(-ages / MINUTES[k])).sum())
    old = [(3 * 1440, SHARE, None)]
    by_hand = WEIGHTS * (np.exp(-(7200 - 0.5) / MINUTES) + np.exp(-(2880 - 0.5) / MINUTES))
    columns = _columns(old, 7200)
    assert [columns[f"spread_rest_{k}"] for k in range(1, 8)] == pytest.approx(by_hand.tolist())


@pytest.mark.parametrize(
    ("shares", "age", "reason"),
    [
        ([2 * n for n in range(25)], 50, 0),
        ([2 * n for n in range(25)], 2 * 1440, FADED),
        ([2 * n for n in range(25)], 29 * 1440, FADED),
        ([*(2 * n for n in range(25)), 12 * 1440 - 2], 12 * 1440, TOO_FEW),
        ([0], 2, TOO_FEW),
        ([], 60, NO_SHARES),
    ],
)
def test_why_reproduction_is_not_known(shares: list[int], age: int, reason: int) -> None:
    columns = _columns([(minute, SHARE, None) for minute in shares], age)
    assert columns["spread_reason"] == reason
    assert np.isnan(columns["reproduction"]) == np.isnan(columns["reproduction_high"]) == bool(reason)
    assert np.isnan(columns["forecast_shares_next_1h"]) == np.isnan(columns["forecast_shares"]) == (not shares)


def test_codes_are_the_places_of_the_reasons() -> None:
    said = {FADED: "faded", TOO_FEW: "too few shares to tell", NO_SHARES: "no shares"}
    said[NO_POST] = "the post itself has not come"
    assert dict(enumerate(SPREAD_REASONS, 1)) == said


def _post(minutes: list[int]) -> Cascades:
    """One post, shared in these minutes after it."""
    count = len(minutes)
    return Cascades(
        ["p"],
        [""],
        np.zeros(1, np.int64),
        np.full(1, 10**9),
        np.zeros(count, np.int64),
        np.array(minutes),
        np.full(count, 1 << 40),
        np.ones(count, np.int64),
    )


def _columns(events: Happened, age: int) -> dict[str, float]:
    panes = folded(events).tables.post_panes(np.array([0]))
    columns = spread_columns(panes, np.array([START]), np.array([START + age]), load_parameters(), LOOKUPS)
    return {name: float(values[0]) for name, values in columns.items()}

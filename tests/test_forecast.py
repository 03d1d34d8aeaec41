"""The forecast: sane on any input, honest on simulated truth, and as good on real cascades as promised."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import SettingsError
from processors.virality import clock
from processors.virality.columns import NO_POST, NO_SHARES, TOO_FEW, spread_columns
from processors.virality.fit.cascades import FOREVER, Cascades, sample_at, spread_at
from processors.virality.fit.fitting import LEAST_POSTS, Sample, fit
from processors.virality.fit.kinds import read_kind
from processors.virality.forecast import forecast, reproduce
from processors.virality.parameters import SHIPPED_PATH, ForecastParameters, dump_parameters, load_parameters
from processors.virality.spread import FIELDS, Lookups, spread_of
from processors.virality.squares import add_squares, solve
from schemas.spread import FADED, FITTED_AGES
from tests.hawkes import cascade, cascades_with
from tests.test_reproduction import START, folded
from tests.test_reproduction import happened as some_events

LOOKUPS = Lookups()
SHIPPED_PARAMETERS = load_parameters()


@settings(max_examples=200, deadline=None)
@given(some_events, st.integers(1, 10**6))
def test_whatever_happened_it_is_a_number_not_below_what_there_is(events: Any, age: int) -> None:
    fold = folded(events)
    columns = spread_columns(
        fold.tables.post_panes(np.array([0])), np.array([START]), np.array([START + age]), SHIPPED_PARAMETERS, LOOKUPS
    )
    row = {name: values[0].item() for name, values in columns.items()}
    shares = sum(minute < age and taken is None for minute, measure, taken in events if measure == 1)
    if not shares:
        assert row["spread_reason"] == NO_SHARES
        assert np.isnan([row["reproduction"], row["forecast_shares"], row["forecast_shares_double_age_high"]]).all()
        return
    of_window = {name: row.pop(name) for name in ("reproduction", "reproduction_low", "reproduction_high")}
    assert row["spread_reason"] in (0, FADED, TOO_FEW)
    assert np.isfinite(list(of_window.values())).all() == (row["spread_reason"] == 0)
    assert np.isfinite(list(row.values())).all()
    assert row["forecast_shares_next_1h"] > 0
    for name in ("forecast_shares", "forecast_shares_double_age"):
        assert shares <= row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    assert row["forecast_shares_double_age"] <= row["forecast_shares"]


@pytest.mark.parametrize("age", [1, 10, 360, 10**6])
def test_a_burst_at_one_instant_does_not_run_away(age: int) -> None:
    shares = 5000
    found = columns_of(folded([(0, 1, None)] * shares), age)
    assert np.isfinite(found["reproduction"]) == (age < 10**6)
    assert found["spread_reason"] == (0 if age < 10**6 else FADED)
    assert shares <= found["forecast_shares"] <= 50 * shares
    assert 0 <= found["forecast_shares_next_1h"] <= 10 * shares


def test_nothing_is_known_without_the_post() -> None:
    fold = folded([(1, 1, None)])
    found = spread_columns(
        fold.tables.post_panes(np.array([0])),
        np.array([clock.NO_MINUTE], np.uint32),
        np.array([START + 2]),
        SHIPPED_PARAMETERS,
        LOOKUPS,
    )
    assert found["spread_reason"].tolist() == [NO_POST]
    assert found["spread_as_of"].tolist() == [(START + 2) * 60]
    assert all(np.isnan(values).all() for name, values in found.items() if name[:7] != "spread_")


def test_a_silent_post_is_forecast_less_and_less() -> None:
    fold = folded([(minute, 1, None) for minute in range(1, 60)])
    finals = [columns_of(fold, 10 << k)["forecast_shares"] for k in range(3, 13)]
    assert all(later < 1.01 * earlier for earlier, later in pairwise(finals))
    assert finals[-1] < 65


def test_numbers_are_interpolated_in_the_logarithm_of_age() -> None:
    ages = SHIPPED_PARAMETERS.ages
    between = SHIPPED_PARAMETERS.at(np.array([np.sqrt(ages[2] * ages[3]), ages[0] / 9, ages[-1] * 9]))["correction"]
    rows = SHIPPED_PARAMETERS.correction
    assert between == pytest.approx(np.array([(rows[2] + rows[3]) / 2, rows[0], rows[-1]]))


def test_parameters_survive_their_file(tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    copy.write_text(dump_parameters(SHIPPED_PARAMETERS))
    assert copy.read_text() == SHIPPED_PATH.read_text()
    read = load_parameters(copy)
    assert len(read.sample["networks"]) == 29
    assert list(read.kinds) == list(read.sample["kinds"])
    assert all(table.shape == read.table.shape for table in read.kinds.values())


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("ages", [5, 4], "ages: must be minutes, above 0 and rising"),
        ("correction", [[1, 2]], "correction: must be a row of 24 numbers"),
        ("scale", "wide", "scale: must be numbers"),
        ("low", [[float("nan"), 0]] * 9, "low: must be finite"),
        ("double", [[2]] * 9, "double: must be within 0 and 1"),
        ("date", 7, "date and sample: must name"),
        ("habits", [], "habits: must be an object"),
        ("habits", {"a": "much"}, "habits: must be an object of author_id: number"),
        ("habits", {"a": float("inf")}, "habits: must be finite"),
        ("kinds", ["fast"], "kinds: must be an object of name: table"),
        ("kinds", {"fast": [[1, 2]]}, "kinds.fast: must be a row of 45 numbers for each of the 9 ages"),
        ("kinds", {"fast": [[0] * 45] * 9}, "kinds.fast.scale: must be above 0"),
    ],
)
def test_broken_parameters_are_named(tmp_path: Path, field: str, value: Any, said: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(json.loads(SHIPPED_PATH.read_text()) | {field: value}))
    with pytest.raises(SettingsError, match=said) as raised:
        load_parameters(path)
    assert str(path) in str(raised.value)
    assert "forecast fit" in str(raised.value)


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_what_is_no_json_object_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(SettingsError, match=r"p\.json"):
        load_parameters(tmp_path / "p.json")
    with pytest.raises(SettingsError, match="No such file"):
        load_parameters(tmp_path / "none.json")


@pytest.mark.parametrize(("r", "immigrants", "age"), [(0.6, 60, 60), (0.9, 20, 240), (1.3, 20, 120)])
def test_interval_holds_the_simulated_truth(r: float, immigrants: int, age: int) -> None:
    # The first shares are given; from there on each node brings Poisson(R) others after kernel-distributed waits.
    rng = np.random.default_rng(4)
    found = spread_at(cascades_with(rng, r, runs=800, given=immigrants, until=age), age, LOOKUPS)
    interval = reproduce(found)
    held = ((interval.low <= r) & (r <= interval.high)).mean()
    assert 0.87 <= held <= 0.93


@pytest.mark.parametrize(("age", "worst"), [(10, 0.15), (60, 0.2), (360, 0.05)])
def test_forecast_carries_over_to_another_kernel(age: int, worst: float) -> None:
    # Exponential waits of twenty minutes: nothing like the network that the parameters were fitted on.
    rng = np.random.default_rng(5)
    data = cascades_with(rng, 0.5, runs=400, given=60, until=0, waits=lambda n: rng.exponential(20, n))
    samples = [sample_at(data, round(each), np.ones(400, np.bool_), LOOKUPS) for each in FITTED_AGES]
    read = read_kind(SHIPPED_PARAMETERS, samples, 400)
    ape, _ = judge(data, age, read)
    assert ape < worst
    # At an hour it is nearly over, and nothing to come is right, which no kind of the prior knows.
    assert ape < judge_naive(data, age) or age > 10
    assert ape < judge(data, age)[0]


def test_fit_refuses_too_few() -> None:
    # The same posts twice: as many rows as it takes, but not as many posts.
    few = Sample(
        60.0, np.arange(2 * LEAST_POSTS - 2) // 2, np.ones((2 * LEAST_POSTS - 2, len(FIELDS))), *[np.ones(9)] * 4
    )
    with pytest.raises(ValueError, match="99 finished posts"):
        fit([few], "2026-01-01", {})
    with pytest.raises(ValueError, match="at no age"):
        fit([], "2026-01-01", {})


def test_fit_learns_another_network() -> None:
    rng = np.random.default_rng(6)
    data = cascades_with(rng, 0.7, runs=600, given=60, until=60, waits=lambda n: rng.exponential(120, n))
    chosen = np.arange(600) < 300
    learned = fit([sample_at(data, age, chosen, LOOKUPS) for age in (30, 60, 180, 360)], "2026-01-01", {})
    sample = sample_at(data, 60, ~chosen, LOOKUPS)
    said = forecast(sample.spread, np.full(300, 60.0), learned)
    assert np.median(np.abs(said.final - sample.final) / sample.final) < 0.2
    assert 0.83 <= ((said.low <= sample.final) & (sample.final <= said.high)).mean() <= 0.96
    double = (said.double_low <= sample.double) & (sample.double <= said.double_high)
    assert 0.83 <= double.mean() <= 0.96


def test_history_and_fold_are_looked_at_alike() -> None:
    rng = np.random.default_rng(7)
    lags, gone = rng.integers(-3, 900, 300), rng.integers(0, 900, 300)
    taken = rng.random(300) < 0.2
    gone = np.where(taken, np.maximum(gone, lags), FOREVER)
    per_post = np.array([0]), np.array([900])
    data = Cascades(["p"], [""], *per_post, np.zeros(300, np.int64), lags, gone, np.ones(300, np.int64))
    for age in (10, 500):
        events = [(int(lag), 1, 0 if back < age else None) for lag, back in zip(lags, gone, strict=True)]
        fold = spread_of(
            folded(events).tables.post_panes(np.array([0])), np.array([START]), np.array([START + age]), LOOKUPS
        )
        shares = [
            name not in ("half_life_engagement", "life_engagement") for name in FIELDS
        ]  # history knows shares only
        assert spread_at(data, age, LOOKUPS)[0, shares] == pytest.approx(fold[0, shares])


def judge(data: Cascades, age: int, parameters: ForecastParameters = SHIPPED_PARAMETERS) -> tuple[float, float]:
    """Returns median APE and coverage of forecasts, the shipped ones if not told otherwise."""
    sample = sample_at(data, age, data.final >= 1, LOOKUPS)
    said = forecast(sample.spread, np.full(len(sample.post), float(age)), parameters)
    held = (said.low <= sample.final) & (sample.final <= said.high)
    return float(np.median(np.abs(said.final - sample.final) / sample.final)), float(held.mean())


def judge_naive(data: Cascades, age: int) -> float:
    """Returns the median APE of the forecast that no more shares come."""
    sample = sample_at(data, age, data.final >= 1, LOOKUPS)
    return float(np.median(np.abs(sample.spread[:, 0] - sample.final) / sample.final))


def columns_of(fold: Any, age: int) -> dict[str, float]:
    found = spread_columns(
        fold.tables.post_panes(np.array([0])), np.array([START]), np.array([START + age]), SHIPPED_PARAMETERS, LOOKUPS
    )
    return {name: values[0].item() for name, values in found.items()}


def test_simulated_cascades_are_what_they_say() -> None:
    rng = np.random.default_rng(8)
    sizes = [len(cascade(rng, 0.5, np.zeros(100), 10**9, lambda n: rng.exponential(10, n))) for _ in range(50)]
    assert np.mean(sizes) == pytest.approx(200, rel=0.1)  # 100 / (1 - R)


def test_normal_equations_are_solved() -> None:
    rng = np.random.default_rng(9)
    terms, pull, push = rng.normal(size=(50, 4)), rng.random(50), rng.random(50)
    normal, slope = np.zeros((8, 8)), np.zeros(8)
    for start in (0, 4):
        add_squares(terms, pull, push, start, normal, slope)
    normal[range(4, 8), range(4)] = -0.1
    full = np.tril(normal) + np.tril(normal, -1).T
    assert slope == pytest.approx(np.tile(terms.T @ push, 2))
    assert full[:4, :4] == pytest.approx((terms * pull[:, None]).T @ terms)
    exact = np.linalg.solve(full + 0.5 * np.diag(np.diag(full)), slope)
    assert solve(normal, 0.5, slope, 4) == pytest.approx(exact)

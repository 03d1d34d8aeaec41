"""What is learned of a channel's finished posts: when, from which posts, and what few posts can change."""

import numpy as np
import pytest

from pipeline.clickhouse.migrations import migrate
from pipeline.settings import Settings
from processors.calibration.runner import PAUSE_SECONDS, STEP_US, CalibrationProcess, CalibrationRunner
from processors.virality.fit.cascades import Cascades, sample_at
from processors.virality.fit.ends import weighted_quantile
from processors.virality.fit.fitting import fit
from processors.virality.fit.kinds import read_kind
from processors.virality.fit.progressive import backtest_progressive
from processors.virality.fit.versions import SETTLED_MINUTES, due_counts, known_at, learn, order_of
from processors.virality.fit.yardsticks import seismic
from processors.virality.forecast import forecast
from processors.virality.generation import survival
from processors.virality.parameters import load_parameters
from processors.virality.spread import Lookups
from schemas.spread import FITTED_AGES
from tests.hawkes import cascades_with

LOOKUPS = Lookups()
PRIOR = load_parameters()


def network(posts: int, wait: float, seed: int = 3) -> Cascades:
    """Returns a network whose posts come every six hours, with exponential waits."""
    rng = np.random.default_rng(seed)
    made = cascades_with(rng, 0.6, posts, 30, 0, waits=lambda count: rng.exponential(wait, count))
    return made._replace(made=25_000_000 + 360 * np.arange(posts))


def test_versions_do_not_depend_on_how_often_somebody_looks() -> None:
    rng = np.random.default_rng(1)
    finished_at = np.sort(rng.integers(0, 90 * 1440, 3_000))
    whole = due_counts(finished_at, 0, 0)
    parts, before, since, position = [], 0, 0, 0
    for reached in range(700, 91 * 1440, 700):
        new = finished_at[position:]
        found = due_counts(new[new < reached], before, since)
        if found:
            before, since = found[-1], int(finished_at[found[-1] - 1])
            position = before
        parts += found
    assert parts == whole
    assert whole[0] >= 10
    assert all(finished_at[count] > finished_at[count - 1] for count in whole[:-1])
    by_day = np.diff(finished_at[np.array(whole)[np.array(whole) > 1_000] - 1])
    assert by_day.min() >= 1440


def test_a_version_knows_nothing_of_what_came_after() -> None:
    data = network(80, 60.0)
    order = order_of(data, np.ones(80, np.bool_))[:60]
    minute = int(data.made[order[-1]]) + SETTLED_MINUTES
    late = data.made[data.post] + data.lag >= minute
    changed = data._replace(shares=np.where(late, 50, data.shares))
    assert known_at(data, minute).final.sum() == data.shares[~late].sum()
    one, other = (learn(some, order, minute, 60, PRIOR, LOOKUPS) for some in (data, changed))
    assert np.array_equal(one.table, other.table)
    assert one.habits == other.habits


def test_without_finished_posts_a_fit_is_its_prior() -> None:
    data = network(20, 60.0)
    nobody = np.zeros(20, np.bool_)
    learned = fit([sample_at(data, round(age), nobody, LOOKUPS) for age in FITTED_AGES], "", {}, prior=PRIOR)
    assert learned.table == pytest.approx(PRIOR.table)


@pytest.mark.parametrize("wait", [10.0, 600.0])
def test_a_hundred_posts_teach_a_network(wait: float) -> None:
    data = network(300, wait)
    taught = np.arange(300) < 100
    samples = [sample_at(data, round(age), taught, LOOKUPS) for age in FITTED_AGES]
    learned = fit(samples, "", {}, prior=read_kind(PRIOR, samples, 100))
    sample = sample_at(data, 60, ~taught, LOOKUPS)
    errors = []
    for parameters in (PRIOR, learned):
        said = forecast(sample.spread, sample.own_age, parameters)
        errors.append(np.median(np.abs(said.final / sample.final - 1)))
    assert errors[1] < 0.2
    assert errors[1] < errors[0]
    held = (said.low <= sample.final) & (sample.final <= said.high)
    assert 0.83 <= held.mean() <= 0.98


def test_progressive_forecasts_rest_on_finished_posts_alone() -> None:
    data = network(90, 60.0)
    half = int(data.made[60])
    future = data.made[data.post] + data.lag >= half
    # What comes later is ten times as much; forecasts of before may not know that.
    other = data._replace(shares=np.where(future, 10 * data.shares, data.shares))
    one, two = (backtest_progressive(some, (60,), 1, PRIOR, LOOKUPS)[0] for some in (data, other))
    before = data.made[one.quality.post] + 60 < half
    assert before.sum() > 30
    assert one.finished.max() > 30
    assert np.array_equal(one.quality.forecast[before], two.quality.forecast[before])
    assert not np.array_equal(one.quality.forecast[~before], two.quality.forecast[~before])


def test_conformal_quantile_counts_the_next_post_as_the_worst() -> None:
    values, ones = np.arange(1.0, 20.0), np.ones(19)
    assert weighted_quantile(values, ones, 0.95, 19) == 19  # of 20 posts with the next one, the 19th
    assert weighted_quantile(values, ones, 0.5, 19) == 10
    newest = np.where(values > 10, 1.0, 0.0)
    assert weighted_quantile(values, newest, 0.5, float("inf")) == 15


def test_seismic_on_a_post_by_hand() -> None:
    one = np.ones(2, np.int64)
    data = Cascades(
        ["p"], [""], np.zeros(1, np.int64), np.array([10**6]), 0 * one, np.array([20, 50]), 10**9 * one, one
    )
    said = float(seismic(data, 60, np.array([0]))[0])
    births = [0.0, 20.5, 50.5]
    steps = (np.arange(30_000) + 0.5) / 1_000 + 30  # minutes 30 to 60, the younger half
    weight = 1 - 2 * (60 - steps) / 60
    due = 0.0
    for born in births:
        density = np.where(steps > born, np.gradient(1 - survival(steps - born), steps), 0.0)
        due += float((density * weight).sum() / 1_000)
    came = sum(1 - 2 * (60 - born) / 60 for born in births[1:] if born > 30)
    p = came / due
    rest = sum(float(survival(60 - born)) for born in births)
    assert said == pytest.approx(2 + p * rest / (1 - p) if p < 1 else np.inf, rel=1e-2)


class _Child:
    def __init__(self) -> None:
        self.alive = True

    def is_alive(self) -> bool:
        return self.alive

    def terminate(self) -> None:
        self.alive = False


def test_the_runner_starts_one_calibration_an_hour_of_event_time() -> None:
    now, children = [0.0], []

    def start() -> _Child:
        children.append(_Child())
        return children[-1]

    runner = CalibrationRunner(start, lambda: now[0])
    runner.note(10 * STEP_US)
    assert not children  # it has just begun
    now[0] += PAUSE_SECONDS
    runner.note(10 * STEP_US)
    runner.note(20 * STEP_US)
    assert len(children) == 1  # it is still at work
    children[0].alive = False
    runner.note(20 * STEP_US)
    assert len(children) == 1  # a replay moves event time faster than the clock
    now[0] += PAUSE_SECONDS
    runner.note(10 * STEP_US + STEP_US - 1)
    assert len(children) == 1
    runner.note(20 * STEP_US)
    assert len(children) == 2
    runner.close()
    assert not children[1].alive


@pytest.mark.stack
def test_a_real_process_calibrates_by_the_settings_of_the_environment(
    settings: Settings, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    migrate(settings)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    process = CalibrationProcess()
    assert process.is_alive()
    assert process.wait() == 0
    assert not process.is_alive()
    assert "not calibrated" not in capfd.readouterr().err
    monkeypatch.setenv("ENGAGEMENT_CLICKHOUSE", "clickhouse://default@127.0.0.1:1/engagement")
    assert CalibrationProcess().wait() == 0
    assert "the forecast was not calibrated" in capfd.readouterr().err


def test_a_machine_that_cannot_start_a_process_goes_on() -> None:
    now = [0.0]

    def start() -> _Child:
        raise OSError("Cannot allocate memory")

    runner = CalibrationRunner(start, lambda: now[0])
    now[0] += PAUSE_SECONDS
    runner.note(10 * STEP_US)
    runner.close()

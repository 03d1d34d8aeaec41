"""The commands `engagement forecast`: promised quality on real cascades, and errors on bad input."""

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pipeline.errors import EngagementError
from processors.virality.commands import forecast_group, parse_age
from processors.virality.fit.backtest import backtest, samples_of
from processors.virality.fit.cascades import FOREVER, Cascades, thin_out
from processors.virality.fit.finished import cascades_from_panes, old_enough
from processors.virality.fit.fitting import fit
from processors.virality.fit.history import read_cascades
from processors.virality.fit.progressive import backtest_prior
from processors.virality.parameters import dump_parameters, load_parameters
from processors.virality.prior.fitting import HELD_OUT, LEARNED, NETWORK_KINDS, fit_prior, least_shares
from processors.virality.prior.networks import NetworkPlan, network
from processors.virality.spread import Lookups
from tests.hawkes import cascades_with

LOOKUPS = Lookups()
AGES = (10, 60, 360)


@pytest.fixture(scope="module")
def real(data: Path) -> Cascades:
    """The recorded cascades."""
    folder = data / "cascades"
    complaints: list[str] = []
    found = read_cascades(
        (str(folder / "twitter15_16.ndjson.gz"),), folder / "twitter15_16_posts.csv", complaints.append
    )
    assert complaints == []
    return found


def test_known_and_truth_are_the_counts_of_the_data(real: Cascades, data: Path) -> None:
    with (data / "cascades" / "twitter15_16_reference.csv").open() as stream:
        reference = {row["post_id"]: int(row["shares"]) for row in csv.DictReader(stream)}
    assert dict(zip(real.post_ids, real.final.astype(int).tolist(), strict=True)) == reference
    (judged,) = backtest(real, (60,), 1, load_parameters(), LOOKUPS)
    assert judged.known.tolist() == real.known(60)[judged.post].tolist()


def test_forecast_of_posts_that_it_was_not_fitted_on(real: Cascades) -> None:
    judged = backtest(real, AGES, 50, None, LOOKUPS)
    # 31, 16 and 5 % are the aim.
    for one, most in zip(judged, (0.31, 0.16, 0.05), strict=True):
        assert one.median_ape <= most
        assert 0.87 <= one.coverage <= 0.93
        assert len(one.post) + one.without_share == int((real.final >= 50).sum())


@pytest.mark.parametrize("part", [1.0, 0.3, 0.1])
def test_shipped_parameters_carry_over_to_smaller_posts(real: Cascades, part: float) -> None:
    data = thin_out(real, part) if part < 1 else real
    judged = backtest_prior(data, AGES, 5, load_parameters(), LOOKUPS)
    for one, most in zip(judged, (0.35, 0.19, 0.08) if part > 0.5 else (0.42, 0.25, 0.1), strict=True):
        assert one.median_ape <= most
        assert 0.85 <= one.coverage <= 0.96


def test_shipped_parameters_are_what_the_fit_gives(real: Cascades) -> None:
    shipped = load_parameters()
    found = fit_prior(real, shipped.date, shipped.sample)
    for again, before in (
        (found.table, shipped.table),
        *zip(found.kinds.values(), shipped.kinds.values(), strict=True),
    ):
        assert np.abs(again - before).max() < 0.05  # rounding, and libraries of another machine
    assert shipped.sample["networks"] == [plan.name for plan in LEARNED]
    assert list(shipped.kinds) == list(found.kinds) == list(NETWORK_KINDS)


def test_the_prior_holds_on_networks_that_it_was_not_made_from(real: Cascades) -> None:
    taught = {*LEARNED, *(plan for plans in NETWORK_KINDS.values() for plan in plans)}
    prior, alone, read = load_parameters(), {age: [] for age in AGES}, {age: [] for age in AGES}
    for number, plan in enumerate(HELD_OUT):
        assert plan not in taught
        made = network(plan, real, 300, 1000 + number)
        for judged, into in (
            (backtest(made, AGES, least_shares(plan), prior, LOOKUPS), alone),
            (backtest_prior(made, AGES, least_shares(plan), prior, LOOKUPS), read),
        ):
            for one in judged:
                held = (one.low <= one.truth) & (one.truth <= one.high)
                into[one.age].append(np.array([one.forecast / one.truth - 1, held]))
    for judged, most in ((alone, (0.7, 0.42, 0.24)), (read, (0.45, 0.35, 0.25))):
        for age, most_error in zip(AGES, most, strict=True):
            error, held = np.hstack(judged[age])
            assert np.median(np.abs(error)) <= most_error
            assert 0.85 <= held.mean() <= 0.95


def test_posts_a_day_old_show_the_kind_of_a_network(real: Cascades) -> None:
    prior = load_parameters()
    slow, fast = (network(NetworkPlan(pace), real, 200, 5) for pace in (6.0, 0.5))
    for made in (slow, fast):
        alone = backtest(made, (60,), 50, prior, LOOKUPS)[0]
        read = backtest_prior(made, (60,), 50, prior, LOOKUPS)[0]
        assert read.median_ape < alone.median_ape
    # Without kinds, as in a file of a fit, the prior stays as it is.
    plain = replace(prior, kinds={})
    (as_ever,), (judged,) = (f(slow, (60,), 50, plain, LOOKUPS) for f in (backtest, backtest_prior))
    assert np.allclose(as_ever.forecast, judged.forecast)


def test_forecasts_by_the_kind_know_nothing_of_what_came_after(real: Cascades) -> None:
    made, prior = network(NetworkPlan(3.0), real, 120, 5), load_parameters()
    half = int(np.median(made.made))
    future = made.made[made.post] + made.lag >= half
    other = made._replace(shares=np.where(future, 10 * made.shares, made.shares))
    one, two = (backtest_prior(some, (60,), 1, prior, LOOKUPS)[0] for some in (made, other))
    before = made.made[one.post] + 60 < half
    assert before.sum() > 30
    assert np.array_equal(one.forecast[before], two.forecast[before])


def test_the_next_hour_of_recorded_posts(real: Cascades) -> None:
    ages = (10, 60, 360, 4320)
    judged = backtest(real, ages, 1, load_parameters(), LOOKUPS)
    for age, one, most in zip(ages, judged, (3.0, 1.6, 1.5, 1.4), strict=True):
        came = (real.known(age + 60) - real.known(age))[one.post]
        assert np.array_equal(one.hour_truth, came)
        assert one.hour_ratio == pytest.approx(one.next_hour.mean() / came.mean())
        assert 1.0 < one.hour_ratio < most
        # The tenth with the highest forecasts gets three times its part or more.
        most_shared = np.argsort(one.next_hour)[-len(came) // 10 :]
        assert came[most_shared].sum() > 0.3 * came.sum()


def test_summary_and_rows(tmp_path: Path) -> None:
    events = write_events(tmp_path, simulated(40))
    out = tmp_path / "out.csv"
    result = run("backtest", events, "--ages", "10m,1h", "--least-shares", "1", "--out", str(out), "--json")
    said = json.loads(result.stdout)
    assert said["fit"] == "shipped"
    assert set(said["ages"]) == {"10m", "1h"}
    assert said["ages"]["1h"]["posts"] == 40
    rows = list(csv.DictReader(out.open()))
    assert list(rows[0]) == ["post_id", "age", "known", "forecast", "low", "high", "truth"]
    assert len(rows) == said["ages"]["10m"]["posts"] + said["ages"]["1h"]["posts"]
    for row in rows:
        numbers = [float(row[name]) for name in ("known", "low", "forecast", "high")]
        assert numbers == sorted(numbers)
    errors = [abs(float(row["forecast"]) - int(row["truth"])) / int(row["truth"]) for row in rows if row["age"] == "1h"]
    assert said["ages"]["1h"]["median_ape"] == pytest.approx(np.median(errors), abs=1e-3)
    held = [float(row["low"]) <= int(row["truth"]) <= float(row["high"]) for row in rows if row["age"] == "1h"]
    assert said["ages"]["1h"]["coverage"] == pytest.approx(np.mean(held))
    assert 0.2 < said["ages"]["1h"]["next_hour_ratio"] < 5
    text = run("backtest", events, "--least-shares", "1").stdout.splitlines()
    assert text[0].split()[:2] == ["age", "posts"]
    assert [line.split()[0] for line in text[1:]] == ["10m", "1h", "6h"]


def test_where_a_post_begins(tmp_path: Path) -> None:
    lines = [
        share("p", "a", "2026-01-01T10:05:00Z"),
        share("p", "b", "2026-01-01T10:25:00Z"),
        {**share("q", "c", "2026-01-01T10:05:00Z"), "kind": "post"},
        share("q", "d", "2026-01-01T10:25:00Z"),
        share("r", "e", "2026-01-01T10:25:00Z"),
        {**share("r", "f", "2026-01-01T10:20:30Z"), "kind": "like"},
        share("r", "e", "2026-01-01T10:55:00Z"),  # a duplicate
        share("s", "z", "2026-01-02T10:00:00Z"),
    ]
    posts = tmp_path / "posts.csv"
    posts.write_text("post_id,created_at\np,2026-01-01T10:00:00Z\nq,\n")
    found = read_cascades((write(tmp_path, lines),), posts, pytest.fail)
    lags = dict(zip(["a", "b", "d", "e", "z"], found.lag.tolist(), strict=True))
    assert lags == {"a": 5, "b": 25, "d": 20, "e": 4, "z": 0}
    assert found.observed[found.post_ids.index("p")] == 24 * 60


def test_retractions_count_from_their_own_minute(tmp_path: Path) -> None:
    undo = {**share("p", "a#undo", "2026-01-01T11:00:00Z"), "action": "retract", "target_id": "a"}
    lines = [undo, share("p", "a", "2026-01-01T10:05:00Z"), share("p", "b", "2026-01-01T10:00:00Z")]
    found = read_cascades((write(tmp_path, lines),), None, pytest.fail)
    assert (found.known(60)[0], found.known(61)[0], found.final[0]) == (2, 1, 1)


def test_posts_that_are_younger_are_left_out_and_counted(tmp_path: Path) -> None:
    lines = [share("old", f"o{n}", f"2026-01-01T10:{n:02}:00Z") for n in range(50)]
    lines += [share("new", f"n{n}", f"2026-01-01T11:{n:02}:00Z") for n in range(15)]
    result = run("backtest", write(tmp_path, lines), "--least-shares", "10", "--ages", "10m,1h", "--json")
    said = json.loads(result.stdout)["ages"]
    assert (said["10m"]["posts"], said["10m"]["younger"]) == (2, 0)
    assert (said["1h"]["posts"], said["1h"]["younger"]) == (1, 1)


def test_bad_lines_are_named_and_left_out(tmp_path: Path) -> None:
    lines: list[Any] = [share("p", f"e{n}", f"2026-01-01T10:{n:02}:00Z") for n in range(12)]
    lines += [{**lines[0], "occurred_at": "yesterday"}, {**lines[0], "kind": "poke"}, "no json", {"event_id": "x"}]
    lines.append({name: value for name, value in lines[0].items() if name != "event_id"})
    result = run("backtest", write(tmp_path, lines), "--least-shares", "1", "--ages", "10m", "--json")
    assert json.loads(result.stdout)["ages"]["10m"]["posts"] == 1
    said = result.stderr.splitlines()
    for number, field in ((13, "occurred_at"), (14, "kind"), (15, "Invalid JSON"), (16, "kind"), (17, "event_id")):
        assert any(f":{number}: {field}" in line for line in said), said
    assert said[-1] == "5 lines were not events and were left out"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ages", "10x"], "'10x' is not an age like 10m, 1h or 2d"),
        (["--ages", "0m"], "'0m' is not an age"),
        (["--fit", "folds", "--least-shares", "1"], "too few to learn from"),
        (["--posts", "nowhere.csv"], "nowhere.csv: No such file"),
        (["--out", "/nowhere/at/all.csv", "--least-shares", "1"], "--out: /nowhere/at/all.csv"),
    ],
)
def test_bad_options_are_named(tmp_path: Path, arguments: list[str], said: str) -> None:
    events = write(tmp_path, [share("p", f"e{n}", f"2026-01-01T10:{n:02}:00Z") for n in range(20)])
    result = CliRunner().invoke(forecast_group, ["backtest", events, *arguments])
    assert result.exit_code != 0
    assert said in result.output + str(result.exception)
    assert isinstance(result.exception, EngagementError | SystemExit)


def test_bad_posts_are_named_and_left_out(tmp_path: Path) -> None:
    posts = tmp_path / "posts.csv"
    posts.write_text(
        "post_id,created_at\np,2026-01-01T10:00:00Z\nq,noon\nr,2026-01-01T10:00:00\np,2026-01-01T09:00:00Z\n,\ns,\n"
    )
    complaints: list[str] = []
    events = write(tmp_path, [share("p", "a", "2026-01-01T10:05:00Z"), share("q", "b", "2026-01-01T10:25:00Z")])
    found = read_cascades((events,), posts, complaints.append)
    assert dict(zip(found.post_ids, found.lag.tolist(), strict=False)) == {"p": 5, "s": 0}
    for complaint, said in zip(
        complaints,
        (
            f"{posts}:3: created_at: 'noon' is not a time",
            f"{posts}:4: created_at: '2026-01-01T10:00:00' is not a time in ISO 8601 with its zone",
            f"{posts}:5: post_id: 'p' stands in a row before",
        ),
        strict=True,
    ):
        assert complaint.startswith(said)


def test_posts_of_which_none_can_be_read_are_refused(tmp_path: Path) -> None:
    posts = tmp_path / "posts.csv"
    events = write(tmp_path, [share("p", "a", "2026-01-01T10:05:00Z")])
    for text, said in (
        ("post_id,made\np,2026-01-01T10:00:00Z\n", ":1: no column created_at"),
        ("post_id,created_at\nq,noon\n", "no row is a post"),
        ("", ":1: no column post_id"),
    ):
        posts.write_text(text)
        with pytest.raises(EngagementError, match=said):
            read_cascades((events,), posts, lambda said: None)


def test_files_that_hold_nothing_are_named(tmp_path: Path) -> None:
    with pytest.raises(EngagementError, match="no event in the files"):
        read_cascades((write(tmp_path, []),), None, pytest.fail)
    damaged = tmp_path / "damaged.gz"
    damaged.write_bytes(gzip.compress(b"{}\n" * 1000)[:-9])
    complaints: list[str] = []
    with pytest.raises(EngagementError, match="no event in the files"):
        read_cascades((str(damaged),), None, complaints.append)
    assert "damaged gzip file: cut off" in complaints[-1]


def test_ages_are_minutes() -> None:
    assert [parse_age(said) for said in ("10m", "1h", "2d")] == [10, 60, 2880]


def test_panes_with_retractions_leave_what_stands() -> None:
    made, at = np.array([100, 100, 100, 200]), np.array([101, 105, 109, 207])
    authors = ["a", "a", "a", "b"]
    found = cascades_from_panes(
        ["p", "p", "p", "q"], authors, made, at, np.array([5, 3, 1, 2]), np.array([0, 1, 4, 0]), 1000
    )
    # Of p's 9 shares the three of minute 5 and one of minute 1 are gone before minute 9's comes.
    assert (found.post_ids, found.observed.tolist()) == (["p", "q"], [900, 800])
    assert (found.authors, found.made.tolist()) == (["a", "b"], [100, 200])
    assert list(zip(found.post, found.lag, found.shares, strict=True)) == [(0, 1, 4), (1, 7, 2)]
    only = old_enough(found, 850)
    assert (only.post_ids, only.lag.tolist(), only.final.tolist()) == (["p"], [1], [4])
    assert (only.authors, only.made.tolist()) == (["a"], [100])


def test_a_learned_file_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = simulated(150)
    events, learned = write_events(tmp_path, data), tmp_path / "learned.json"
    parameters = fit(samples_of(data, data.final >= 1, LOOKUPS, thin=True), "2026-01-01", {"posts": 150})
    learned.write_text(dump_parameters(parameters))
    arguments = ("backtest", events, "--least-shares", "1", "--ages", "1h", "--json")
    shipped = json.loads(run(*arguments).stdout)["ages"]["1h"]["median_ape"]
    monkeypatch.setenv("ENGAGEMENT_FORECAST", str(learned))
    assert json.loads(run(*arguments).stdout)["ages"]["1h"]["median_ape"] < shipped


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(forecast_group, list(arguments))
    assert result.exit_code == 0, result.output + str(result.exception)
    return result


def simulated(posts: int) -> Cascades:
    rng = np.random.default_rng(1)
    return cascades_with(rng, 0.8, posts, given=40, until=0, waits=lambda n: rng.exponential(60, n))


def write_events(folder: Path, data: Cascades) -> str:
    """The cascades as a file, with the post's own event and one more far later, so that all posts are old."""
    lines = [{**share(post_id, post_id, moment(0)), "kind": "post"} for post_id in data.post_ids]
    lines += [
        share(data.post_ids[post], f"s{number}", moment(lag))
        for number, (post, lag) in enumerate(zip(data.post, data.lag, strict=True))
        if data.gone[number] == FOREVER
    ]
    return write(folder, [*lines, share("last", "last", "2026-06-01T00:00:00Z")])


def moment(minute: int) -> str:
    return str(np.datetime64("2026-01-01T00:00:30") + np.timedelta64(int(minute), "m")) + "Z"


def share(post_id: str, event_id: str, at: str) -> dict[str, Any]:
    return {"event_id": event_id, "kind": "share", "post_id": post_id, "actor_id": event_id, "occurred_at": at}


def write(folder: Path, lines: list[Any]) -> str:
    path = folder / "events.ndjson"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)

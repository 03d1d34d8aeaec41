"""What a forecast learns of one network only: hours of the day, and habits of authors."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from processors.columnar.hashing import Hasher
from processors.engagement.rows.spread import Spreading
from processors.virality.fit.backtest import backtest, samples_of
from processors.virality.fit.cascades import Cascades
from processors.virality.fit.fitting import fit
from processors.virality.fit.history import read_cascades
from processors.virality.forecast import circumstances
from processors.virality.habits import PRIOR_POSTS, habits_of
from processors.virality.parameters import CIRCUMSTANCES, dump_parameters, load_parameters
from processors.virality.spread import Lookups
from tests.hawkes import cascades_with
from tests.test_forecast_backtest import share, write
from tests.test_reproduction import START, folded

DAY_MINUTES = 1440
LOOKUPS = Lookups()


def test_a_habit_is_a_mean_drawn_to_nobody() -> None:
    author = np.array([0, 0, 1, -1, 2, 0])
    error = np.array([1.0, 0.5, -0.2, 0.9, np.nan, np.nan])
    found = habits_of(author, error)
    others = np.array([0.5 / (1 + PRIOR_POSTS), 1.0 / (1 + PRIOR_POSTS), 0.0, 0.0, 0.0, 1.5 / (2 + PRIOR_POSTS)])
    unit = others[[0, 1, 5]].std()
    assert found.of_author == pytest.approx(np.array([1.5 / (2 + PRIOR_POSTS), -0.2 / (1 + PRIOR_POSTS), 0.0]) / unit)
    assert found.of_post == pytest.approx(others / unit)  # nobody is judged by the post itself


@pytest.mark.parametrize("author", [np.array([-1, -1]), np.array([0, 1])])
def test_habits_of_nobody_and_of_single_posts(author: Any) -> None:
    found = habits_of(author, np.array([0.3, -0.3]))
    assert found.of_post.tolist() == [0, 0]
    assert np.isfinite(found.of_author).all()


def test_circumstances_are_neutral_where_not_known() -> None:
    assert circumstances(2, None, None).tolist() == [[0.0] * len(CIRCUMSTANCES)] * 2
    found = circumstances(3, np.array([0, DAY_MINUTES // 4, 7 * DAY_MINUTES]), np.array([0.0, 2.0, -1.0]))
    assert found == pytest.approx(np.array([[0, 1, 0], [1, 0, 2], [0, 1, -1]]), abs=1e-12)


def test_hours_and_habits_are_learned_and_help() -> None:
    data = network(np.random.default_rng(2))
    chosen = data.final >= 1
    with_local, without = (backtest(data, (60,), 1, None, LOOKUPS, local=local)[0] for local in (True, False))
    assert with_local.median_ape < 0.9 * without.median_ape
    assert 0.85 <= with_local.coverage <= 0.95
    samples = samples_of(data, chosen, LOOKUPS, thin=False)
    learned = fit(samples, "2026-01-01", {}, data.authors)
    loud, quiet = (np.mean([learned.habits[f"{kind}{n}"] for n in range(20)]) for kind in ("loud", "quiet"))
    assert loud > 0.5 > -0.5 > quiet
    assert (learned.correction[:, -1] > 0).any()
    neutral = fit(samples, "2026-01-01", {})
    assert neutral.habits == {}
    assert not neutral.correction[:, -len(CIRCUMSTANCES) :].any()


def test_what_is_shipped_says_nothing_of_one_network() -> None:
    shipped = load_parameters()
    assert shipped.habits == {}
    assert not shipped.correction[:, -len(CIRCUMSTANCES) :].any()
    assert not shipped.sample.get("local")


def test_living_posts_are_forecast_by_their_author_and_hour(tmp_path: Path) -> None:
    fold = folded([(minute, 1, None) for minute in range(40)])
    shipped = load_parameters()
    weights = shipped.correction.copy()
    weights[:, -1], weights[:, -3] = 0.2, 0.1
    (tmp_path / "own.json").write_text(
        dump_parameters(replace(shipped, correction=weights, habits={"a": 1.5, "b": -1}))
    )
    own = load_parameters(tmp_path / "own.json")

    def said(author: str, at: int = START + 60, parameters: Any = own) -> float:
        fold.learn(np.array([0]), np.array([START], np.uint32), Hasher().actors([author]))
        found = Spreading(parameters).rows(fold, np.array([0]), np.array([at]))["forecast_shares"]
        return float(found[0]) - 40

    stranger = said("c")
    assert said("a") / stranger == pytest.approx(np.exp(1.5 * 0.2), rel=1e-6)
    assert said("b") / stranger == pytest.approx(np.exp(-0.2), rel=1e-6)
    hour = np.exp(0.1 * np.sin(2 * np.pi * ((START + 60) % DAY_MINUTES) / DAY_MINUTES))
    assert stranger / said("c", parameters=shipped) == pytest.approx(hour, rel=1e-6)


def test_whose_post_it_is(tmp_path: Path) -> None:
    posts = tmp_path / "posts.csv"
    posts.write_text("post_id,author_id,created_at\np,anna,\nq,,2026-01-01T10:00:00Z\n")
    lines = [
        {**share("p", "p1", "2026-01-01T10:00:00Z"), "kind": "post"},
        {**share("q", "q2", "2026-01-01T10:09:00Z"), "kind": "post", "actor_id": "bot", "author_id": "cleo"},
        {**share("q", "q1", "2026-01-01T10:05:00Z"), "kind": "post", "actor_id": "bert"},
        share("r", "r1", "2026-01-01T10:05:00Z"),
    ]
    found = read_cascades((write(tmp_path, lines),), posts, pytest.fail)
    assert dict(zip(found.post_ids, found.authors, strict=True)) == {"p": "anna", "q": "cleo", "r": ""}
    made = dict(zip(found.post_ids, found.made.tolist(), strict=True))
    assert made["q"] == made["r"] - 5 == 1767261600 // 60


def network(rng: np.random.Generator) -> Cascades:
    """Posts of twenty loud authors and of twenty quiet ones, an audience that brings 0.8 each and one that brings
    0.4."""
    kinds = [cascades_with(rng, r, 300, given=40, until=0, waits=lambda n: rng.exponential(120, n)) for r in (0.8, 0.4)]
    loud, quiet = kinds
    return Cascades(
        [*loud.post_ids, *(f"q{post_id}" for post_id in quiet.post_ids)],
        [f"{kind}{n % 20}" for kind in ("loud", "quiet") for n in range(300)],
        rng.integers(0, 1000 * DAY_MINUTES, 600),
        *(np.concatenate(both) for both in ((loud.observed, quiet.observed), (loud.post, quiet.post + 300))),
        *(np.concatenate([getattr(kind, name) for kind in kinds]) for name in ("lag", "gone", "shares")),
    )

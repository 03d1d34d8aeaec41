"""The severity of spikes: from people, novelty and size; few of a fortnight without a planted spike are delivered, and
planted and labelled ones are."""

from importlib.util import module_from_spec, spec_from_file_location
from math import log2, log10
from pathlib import Path
from random import Random
from types import ModuleType

import pytest

from processors.spikes.severity import severity_of
from schemas.alerts import SEVERITIES


def _benchmark() -> ModuleType:
    spec = spec_from_file_location("benchmark_alerts", Path(__file__).parents[1] / "benchmarks/alerts.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BENCHMARK = _benchmark()


def truth(observed: float, expected: float, score: float, voices: int | None, usual: float | None) -> str:
    """The formula of docs/spikes.md."""
    people = observed - expected if voices is None else min(observed - expected, voices - (usual or 0))
    points = log10(max(people, 1)) + min(log2(max(score, 1)) / 2, 1)
    if points < 1.5:
        return "info"
    if points < 1.95 or observed / max(expected, 1e-9) < 1.5:
        return "notice"
    return "critical" if points >= 3 else "warning"


def test_the_formula_is_that_of_the_documentation() -> None:
    rng = Random(2)
    seen = set()
    for _ in range(3000):
        expected, score = rng.choice((0.0, 10 ** rng.uniform(-3, 4))), rng.choice((0.0, rng.uniform(0.5, 12)))
        observed, usual = expected + 10 ** rng.uniform(-1, 5), 10 ** rng.uniform(-2, 3)
        voices = rng.choice((None, round(10 ** rng.uniform(0, 5))))
        wanted = truth(observed, expected, score, voices, usual)
        assert severity_of(observed, expected, score, voices, usual) == wanted
        seen.add(wanted)
    assert seen == set(SEVERITIES)


def test_more_people_and_more_novelty_never_matter_less_and_few_accounts_matter_little() -> None:
    ranks = [SEVERITIES.index(severity_of(10**5, 10, 1.0, voices, 5.0)) for voices in (1, 20, 60, 200, 2000)]
    assert ranks == [0, 0, 1, 2, 3]
    ranks = [SEVERITIES.index(severity_of(300, 10, score, 60, 5.0)) for score in (0.0, 1.0, 2.0, 8.0)]
    assert ranks == sorted(ranks)
    assert ranks[-1] > ranks[0]


def test_a_fortnight_delivers_a_handful_and_planted_spikes() -> None:
    outcome = BENCHMARK.fortnight(100_000, 2_000, 4, ("hashtag:stream@15000x60",))
    opened = [alert for alert in outcome.told if alert["state"] == "opened"]
    assert outcome.openings.total() > 100
    assert 0 < len(opened) <= 28
    assert any("hashtag:stream" in alert["conversations"] for alert in opened)
    assert len({alert["spike_id"] for alert in opened}) == len(opened), "a cause opens once"
    ended = [alert["spike_id"] for alert in outcome.told if alert["state"] == "resolved"]
    assert sorted(ended) == sorted(alert["spike_id"] for alert in opened), "and ends once"


def test_each_labelled_window_has_a_spike_that_is_delivered(data: Path) -> None:
    mentions = data / "mentions"
    if not (mentions / "labels.json").is_file():
        pytest.skip(f"no labelled series in {mentions}: set ENGAGEMENT_TEST_DATA to a folder that has mentions/")
    assert BENCHMARK.labelled(mentions) == (17, 17)

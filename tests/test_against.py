"""`whole_job.py --against`: what it reads of a run, and its verdict."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

PRINTED = """a Faust agent that counts, CPU us an event   185.5   (of 185.5)

214,000 events of 0.00556 hours, 10,700 a second
  the whole job, CPU us an event   12.3   (of 12.3; 40,000 events/s)
  ratio                            15.1 x
  ClickHouse, CPU us an event      5.3
    decode                 3.56

214,000 events of 24 hours, 2 a second
  the whole job, CPU us an event   26.9   (of 26.9; 20,000 events/s)
  ClickHouse, CPU us an event      15.6
"""


@pytest.fixture
def against() -> Any:
    spec = spec_from_file_location("benchmark_against", Path(__file__).parents[1] / "benchmarks/_against.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_figures_of_each_load_are_read(against: Any) -> None:
    assert against.figures_of(PRINTED) == {
        ("of 0.00556 hours, 10,700 a second", "the whole job"): 12.3,
        ("of 0.00556 hours, 10,700 a second", "ClickHouse"): 5.3,
        ("of 24 hours, 2 a second", "the whole job"): 26.9,
        ("of 24 hours, 2 a second", "ClickHouse"): 15.6,
    }


@pytest.mark.parametrize(
    ("here", "kept"),
    [((12.1, 14.0, 12.2), "+1.7%   (of +0.8%, +1.7%, +16.7%; at most +3%: kept)"), ((12.5, 14.0, 12.2), "NOT kept")],
)
def test_the_median_of_the_ratios_counts(
    against: Any, capsys: pytest.CaptureFixture[str], here: tuple[float, ...], kept: str
) -> None:
    found = [(12.0, figure) for figure in here]
    assert against.tell(("of 24 hours", "the whole job"), "eed98f8", found) is not kept.startswith("NOT")
    assert kept in capsys.readouterr().out


def test_clickhouse_may_take_more(against: Any) -> None:
    assert against.tell(("of 24 hours", "ClickHouse"), "eed98f8", [(10.0, 11.4)])
    assert not against.tell(("of 24 hours", "ClickHouse"), "eed98f8", [(10.0, 11.6)])

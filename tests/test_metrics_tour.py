"""The worked example of docs/metrics.md: its ten events through the real fold give the numbers of the page, and the
sums on the page are right."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from processors.engagement.fold.fold import Fold
from processors.engagement.rows import post_rows
from processors.virality.columns import spread_columns
from processors.virality.parameters import load_parameters
from processors.virality.spread import Lookups
from schemas.tables import POST_METRICS
from tests.folding import learn, plain, take
from tests.truth import truth_of

PAGE = (Path(__file__).parent.parent / "docs/metrics.md").read_text()
EVENTS = [json.loads(line) for line in re.findall(r"^    (\{.*\})$", PAGE, re.MULTILINE)]
SHOWN = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ", PAGE.partition("## The example")[2], re.MULTILINE)
SUMS = re.findall(r"`([^`=\n]+) = (-?[\d.]+)`", PAGE)


@pytest.fixture(scope="module")
def row() -> dict[str, Any]:
    fold = Fold()
    take(fold, EVENTS)
    truth = truth_of(EVENTS)
    learn(fold, truth)
    post = np.array([0])
    columns = dict(post_rows.of_posts(fold, post))
    created = np.array([truth["p"].facts()["created_at"] // 60_000_000])  # type: ignore[index]
    columns |= spread_columns(
        fold.tables.post_panes(post), created, fold.snapshot(post).as_of, load_parameters(), Lookups()
    )
    return {name: plain(values)[0] for name, values in columns.items()}


def test_there_are_ten_events() -> None:
    assert len(EVENTS) == 10


def test_the_page_shows_each_group_of_columns() -> None:
    shown = {name for name, _ in SHOWN}
    assert shown <= {column.name for column in POST_METRICS.columns}
    assert len(SHOWN) == len(shown) >= 50


@pytest.mark.parametrize(("name", "said"), SHOWN, ids=[name for name, _ in SHOWN])
def test_a_number_of_the_page(name: str, said: str, row: dict[str, Any]) -> None:
    found = row[name]
    if said == "NULL":
        assert found is None
    elif said.startswith("["):
        assert json.loads(found) == json.loads(said)
    elif "T" in said:
        assert np.datetime64(int(found), "s") == np.datetime64(said)
    else:
        digits = len(said.partition(".")[2])
        assert f"{found:.{digits}f}" == said


@pytest.mark.parametrize(("sum_", "said"), SUMS, ids=[sum_ for sum_, _ in SUMS])
def test_a_sum_of_the_page(sum_: str, said: str) -> None:
    assert re.fullmatch(r"[\d.\s()+*/-]+", sum_), "numbers alone, please"
    digits = len(said.partition(".")[2])
    assert f"{eval(sum_):.{digits}f}" == said


def test_there_are_sums() -> None:
    assert len(SUMS) >= 6

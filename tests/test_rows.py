"""Rows are those of the declared tables, and the version says which of two has seen more."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.columnar.arrays import Columns
from processors.engagement.fold.fold import Fold
from processors.engagement.rows import post_rows
from processors.engagement.rows.post_facts import Facts
from processors.engagement.rows.spread import Spreading
from processors.virality.parameters import load_parameters
from schemas.metrics import FOLD_VERSION
from schemas.tables import POST_METRICS, POST_MINUTES, POSTS, Table
from tests.folding import like, take, undo

LATE = "2026-03-01T10:30:00Z"


def _fold() -> Fold:
    fold = Fold()
    take(fold, [like("a"), like("b", LATE, kind="comment", post_id="q"), undo("a", LATE)])
    return fold


FACTS = Facts("a", "x", 1, "", [], [], [], "", None, None, ["campaign", "spring"], "Hello")


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (POST_METRICS, Spreading(load_parameters()).rows(_fold(), np.arange(2), np.full(2, 29_539_351))),
        (POST_MINUTES, post_rows.of_panes(_fold(), _fold().panes_of(np.arange(2)))),
        (POSTS, post_rows.posts(["p"], [FACTS], np.array([1], np.uint64))),
        (POSTS, post_rows.posts([], [], np.array([], np.uint64))),
    ],
    ids=["post_metrics", "post_minutes", "posts", "no posts"],
)
def test_columns_are_those_of_the_table(table: Table, columns: Columns) -> None:
    assert set(columns) == set(table.sent)
    assert len({len(column) for column in columns.values()}) == 1


counts, minutes = st.integers(1, 2**30 - 1), st.integers(1, 2**26 - 1)


@given(st.tuples(counts, minutes), st.tuples(counts, minutes))
def test_versions_order_as_what_was_seen(one: tuple[int, int], other: tuple[int, int]) -> None:
    found = post_rows.versions(np.array([one[0], other[0]], np.uint32), np.array([one[1], other[1]]))
    assert (found[0] < found[1]) == (one < other)
    assert (found >> np.uint64(56)).tolist() == [FOLD_VERSION] * 2


def test_a_version_of_too_many_events_stays_within_its_bits() -> None:
    (found,) = post_rows.versions(np.array([2**32 - 1], np.uint32), np.array([29_000_000])).tolist()
    assert found >> 56 == FOLD_VERSION
    assert (found >> 26) & (2**30 - 1) == 2**30 - 1
    assert found & (2**26 - 1) == 29_000_000


def test_the_version_of_a_pane_counts_the_events_that_can_change_it() -> None:
    fold = _fold()
    take(fold, [like("c", LATE, post_id="q"), undo("unknown", LATE, post_id="q")])
    minutes = post_rows.of_panes(fold, fold.panes_of(np.arange(2))[::-1])
    versions = minutes["version"].astype(np.uint64)
    seen = ((versions >> np.uint64(26)) & np.uint64(2**30 - 1)).tolist()
    found = sorted(zip(minutes["post_id"], (minutes["minute"] // 60 % 60).tolist(), seen, strict=True))
    # The minute of a retraction that has met its target: both can change it.
    assert found == [("p", 0, 1), ("p", 30, 2), ("q", 30, 2)]
    assert set((versions >> np.uint64(56)).tolist()) == {FOLD_VERSION}
    assert set((versions & np.uint64(2**26 - 1)).tolist()) == {0}


def test_windows_may_be_below_zero_and_z_is_null_there() -> None:
    columns = post_rows.of_posts(_fold(), np.array([0]))
    assert (columns["likes_5m"][0], columns["likes_velocity_5m"][0], columns["likes_1h"][0]) == (-1, -0.2, 0)
    assert np.isnan(columns["likes_z_5m"][0])
    assert np.isnan(columns["hot_6h"][0])


def test_entropy_is_shown_from_twenty_engagements_on() -> None:
    fold = Fold()
    take(fold, [like(f"l{number}", channel="ab"[number % 2]) for number in range(19)])
    assert np.isnan(post_rows.of_posts(fold, np.array([0]))["channel_entropy"][0])
    take(fold, [like("l19", channel="b")])
    columns = post_rows.of_posts(fold, np.array([0]))
    assert (columns["channel_entropy"][0], columns["channels_effective"][0], columns["channels"][0]) == (1.0, 2.0, 2)

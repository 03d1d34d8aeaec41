"""The fold of the conversation agent against plain Python: any cells, any order, any duplicates; voices by sketches."""

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.columnar.sets import Pool, Sets, count_voices
from processors.conversation.cells import Minutes
from processors.conversation.fold import ConversationFold
from processors.conversation.rows import minute_columns
from schemas.metrics import FOLD_VERSION, MEASURES
from tests.fakes_conversations import Cell, PaneKey, as_cells

COUNT = st.integers(0, 5)
CELLS = st.builds(
    Cell,
    conversation=st.sampled_from(["hashtag:a", "hashtag:b", "author:x/1"]),
    minute=st.integers(100, 103),
    post_id=st.sampled_from(["p", "q", "r"]),
    events=st.integers(1, 4),
)


def filled(cell: Cell) -> Cell:
    """Its content follows from its version, as it does in life: equal versions say the same."""
    rng = random.Random(repr((cell.key, cell.events)))
    voices = rng.sample(range(1, 40), rng.randrange(4))
    return Cell(
        cell.conversation,
        cell.minute,
        cell.post_id,
        cell.events,
        tuple(rng.randrange(4) for _ in cell.counts),
        tuple(voices),
        tuple(rng.sample(["x", "y", "z"], rng.randrange(3))),
    )


def truth_of(cells: Iterable[Cell]) -> dict[PaneKey, dict[str, Any]]:
    """What minutes come to, from cells in any order."""
    best: dict[tuple[str, int, str], Cell] = {}
    for cell in cells:
        if cell.key not in best or best[cell.key].events < cell.events:
            best[cell.key] = cell
    found: dict[PaneKey, list[Cell]] = {}
    for cell in best.values():
        found.setdefault((cell.conversation, cell.minute), []).append(cell)
    return {pane_key: _sum_of(own) for pane_key, own in found.items()}


def _sum_of(cells: list[Cell]) -> dict[str, Any]:
    posts, likes, shares, comments, *back = (
        sum(column) for column in zip(*(cell.counts for cell in cells), strict=True)
    )
    return {
        "posts": posts,
        "likes": likes - back[0],
        "shares": shares - back[1],
        "comments": comments - back[2],
        "voices": len(set().union(*(cell.voices for cell in cells))),
        "voices_exact": True,
        "channels": len(set().union(*(cell.channels for cell in cells))),
        "seen": sum(cell.events for cell in cells),
        "fold": FOLD_VERSION,
    }


def rows_of(minutes: Minutes) -> dict[PaneKey, dict[str, Any]]:
    names = ("posts", "voices", "voices_exact", "channels", "seen", "fold")
    columns = {name: getattr(minutes, name) for name in names} | dict(zip(MEASURES, minutes.net.T, strict=True))
    pane_keys = zip(minutes.conversation, minutes.minute.tolist(), strict=True)
    values = zip(*(column.tolist() for column in columns.values()), strict=True)
    return {pane_key: dict(zip(columns, row, strict=True)) for pane_key, row in zip(pane_keys, values, strict=True)}


@settings(max_examples=150, deadline=None)
@given(st.lists(CELLS, max_size=40), st.integers(1, 7), st.randoms(use_true_random=False))
def test_any_order_any_duplicates_any_batches(cells: list[Cell], size: int, rng: random.Random) -> None:
    known = [filled(cell) for cell in cells]
    fold, new = ConversationFold(), 0
    shuffled = known + rng.sample(known, len(known) // 2)
    rng.shuffle(shuffled)
    for start in range(0, len(shuffled), size):
        taken = fold.add_cells(as_cells(shuffled[start : start + size]))
        new += taken.new
        touched = rows_of(fold.add_up(taken.groups))
        now = truth_of(shuffled[: start + size])
        assert touched == {pane_key: now[pane_key] for pane_key in touched}
        assert touched.keys() == {(cell.conversation, cell.minute) for cell in shuffled[start : start + size]}
    assert rows_of(fold.add_up(fold.between(0, 1000))) == truth_of(known)
    assert new <= len(shuffled)
    assert len(fold) == len({cell.key for cell in known})


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(CELLS, st.integers(100, 104)), max_size=40))
def test_minutes_that_are_dropped_leave_no_trace(steps: list[Cell | int]) -> None:
    fold, known = ConversationFold(), list[Cell]()
    for step in steps:
        if isinstance(step, int):
            fold.drop(fold.between(0, step))
            known = [cell for cell in known if cell.minute >= step]
        else:
            fold.add_cells(as_cells([filled(step)]))
            known.append(filled(step))
        assert rows_of(fold.add_up(fold.since(0))) == truth_of(known)
        assert fold.minutes == len({cell.minute for cell in known})


def test_rooms_are_used_again() -> None:
    fold = ConversationFold()
    for number in range(60):
        cells = [Cell(f"c{number}", number, f"p{n}", 1, voices=(n + 1,), channels=("x",)) for n in range(100)]
        fold.add_cells(as_cells(cells))
        fold.drop(fold.between(0, number))
    assert len(fold) == 100
    assert len(fold._version) <= 1024
    assert len(fold._voices._values) <= 4096


def test_the_latest_minutes_that_do_not_fit() -> None:
    fold = ConversationFold()
    fold.add_cells(as_cells([Cell("c", minute, f"p{n}", 1) for minute in (5, 6, 9) for n in range(4)]))
    assert [fold.minute_beyond(cells) for cells in (1, 4, 5, 8, 11, 12, 99)] == [6, 6, 6, 9, 9, 10, 10]


def test_a_union_of_sketches_and_sets() -> None:
    """Beyond 256 only the smallest hashes are kept: the estimate is near the truth, and said to be one."""
    rng = np.random.default_rng(1)
    people = rng.permutation(np.unique(rng.integers(1, 2**64, 30_000, dtype=np.uint64)))
    errors = []
    for start in range(0, 20_000, 1000):
        groups = [people[start : start + 8000], people[start + 4000 : start + 10_000], people[start : start + 50]]
        kept = [np.sort(group)[:256] for group in groups]
        exact = np.array([False, False, True])
        lengths = np.array([len(group) for group in kept])
        found, is_exact = count_voices(np.zeros(3, np.int64), Sets(np.concatenate(kept), lengths), exact, 1)
        assert not is_exact[0]
        errors.append(found[0] / 10_000 - 1)
    assert abs(np.mean(errors)) < 0.04
    assert np.std(errors) < 0.1


def test_a_union_of_sets_is_exact_however_large() -> None:
    sets = [np.arange(start, start + 256, dtype=np.uint64) for start in range(0, 12_800, 128)]
    found, is_exact = count_voices(
        np.zeros(100, np.int64), Sets(np.concatenate(sets), np.full(100, 256)), np.ones(100, np.bool_), 1
    )
    assert (found[0], is_exact[0]) == (12_928, True)


def test_one_sketch_is_its_estimate() -> None:
    kept = (np.arange(1, 257) * (2**64 // 1000)).astype(np.uint64)
    found, is_exact = count_voices(np.array([1]), Sets(kept, np.array([256])), np.array([False]), 2)
    assert found.tolist() == [0, round(255 / (int(kept[-1]) / 2**64))]
    assert is_exact.tolist() == [True, False]


@pytest.mark.parametrize("seed", range(5))
def test_a_pool_keeps_what_was_put_last(seed: int) -> None:
    rng, pool, known = random.Random(seed), Pool(), dict[int, list[int]]()
    for _ in range(200):
        rows = rng.sample(range(300), rng.randrange(1, 60))
        sets = [[rng.randrange(2**64) for _ in range(rng.randrange(5))] for _ in rows]
        values = np.array([value for own in sets for value in own], np.uint64)
        pool.put(np.array(rows), Sets(values, np.array([len(own) for own in sets])))
        known |= dict(zip(rows, sets, strict=True))
        found = pool.get(np.array(list(known)))
        assert found.values.tolist() == [value for own in known.values() for value in own]
    assert len(pool._values) < 8 * 1024


def test_versions_grow_with_what_was_seen_and_final_beats_equal() -> None:
    def version(cells: list[Cell], final: bool) -> int:
        fold = ConversationFold()
        minutes = fold.add_up(fold.add_cells(as_cells(cells)).groups)
        found: int = minute_columns(minutes, np.ones(1, np.bool_), final)["version"][0]
        return found

    one, two = [Cell("c", 1, "p", 2)], [Cell("c", 1, "p", 2), Cell("c", 1, "q", 1)]
    huge = [Cell("c", 1, f"p{n}", 2**30 - 1) for n in range(3)]
    found = [version(cells, final) for cells in (one, two, huge) for final in (False, True)]
    assert found == sorted(set(found))
    assert {value >> 56 for value in found} == {FOLD_VERSION}

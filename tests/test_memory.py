"""What a worker keeps in memory: bounds of each part, and one budget over all of them."""

import gc
from collections.abc import Iterator

import numpy as np
import pytest

from pipeline.observability.metrics import MEMORY_PARTS, WorkerMetrics
from processors.columnar.hashing import Hasher
from processors.columnar.sets import Sets
from processors.conversation.cells import CellArrays, texts
from processors.conversation.fold import ConversationFold
from processors.engagement.known import KnownPosts
from processors.engagement.read_through import ColdPosts
from processors.runtime.memory import PART_SHARES, SERIES_BYTES, MemoryBudget
from processors.runtime.process_tuning import TIDY_SECONDS, TidyState
from processors.spikes.detection.bank import Bank
from processors.spikes.detection.tracked import TrackedSeries
from schemas.conversations import CELL_COUNTS
from tests.fakes_store import Database, FakeStore

RNG = np.random.default_rng(1)
MANY = 200_000


def some_hashes(count: int) -> np.ndarray:
    return RNG.integers(0, 2**64, count, np.uint64)


@pytest.mark.parametrize("most_bytes", [0, 1 << 14, 1 << 20, 1 << 26])
def test_a_known_post_is_never_unknown(most_bytes: int) -> None:
    known, added = KnownPosts(most_bytes), np.append(some_hashes(MANY), np.array([0, 1, 2**64 - 1], np.uint64))
    for start in range(0, len(added), 1_777):
        known.add(added[start : start + 1_777])
        assert known.has(added[: start + 1_777]).all()
    assert known.bytes <= max(most_bytes, 1 << 13)
    assert known.is_exact == (most_bytes == 1 << 26)


def test_an_unknown_post_is_seldom_known_and_never_while_all_have_room() -> None:
    strangers = some_hashes(MANY)
    assert not KnownPosts(1 << 20).has(strangers).any()
    exact, filtered = KnownPosts(1 << 26), KnownPosts(1 << 19)
    added = some_hashes(MANY)
    for known in (exact, filtered):
        known.add(added)
        known.add(added[:1000])
    assert not exact.has(strangers).any()
    # 21 bits each: (1 - e^(-4 / 21))^4
    assert 0.0002 < filtered.has(strangers).mean() < 0.002


def test_posts_are_read_from_the_log_however_little_is_known_of_it() -> None:
    database, hasher = Database(), Hasher()
    posts = [f"p{number}" for number in range(3_000)]
    for post in posts:
        database.known.add(post)
    reads: list[str] = []
    store = FakeStore(database, hasher, before_call=reads.append)
    cold = ColdPosts(store, hasher, lambda action: action(), WorkerMetrics(), known_bytes=0)
    cold.assign([0], 1)
    assert cold._load().has(hasher.hashes(posts)).all()
    cold.note_gone(["late"])
    assert cold._load().has(hasher.hashes(["late"])).all()
    assert cold.known_bytes <= 1 << 13
    assert reads == ["known"]


def test_posts_have_what_other_parts_leave_and_half_of_the_budget_at_least() -> None:
    shown: dict[str, int] = {}
    budget = MemoryBudget(1600 << 20, shown.__setitem__)
    assert {part: budget.most(part) >> 20 for part in PART_SHARES} == {"known_posts": 100, "cells": 300, "series": 200}
    assert budget.for_posts == 1600 << 20
    budget.note("posts", 1600 << 20)
    budget.note("cells", 300 << 20)
    budget.note("cells", 200 << 20)
    budget.note("spikes", 50 << 20)
    assert budget.for_posts == 1350 << 20
    assert shown == {"posts": 1600 << 20, "cells": 200 << 20, "spikes": 50 << 20}
    budget.note("spikes", 5000 << 20)
    assert budget.for_posts == 800 << 20
    assert {part: MemoryBudget(16 << 20).most(part) >> 20 for part in PART_SHARES} == {
        "known_posts": 1,
        "cells": 16,
        "series": 2,
    }
    assert set(PART_SHARES) | {"posts", "closed_minutes", "spikes"} == set(MEMORY_PARTS)


def test_a_batch_takes_no_more_than_the_budget_and_is_never_tiny() -> None:
    small, usual = MemoryBudget(16 << 20), MemoryBudget(2048 << 20)
    assert (small.batch_events(200_000), usual.batch_events(200_000), usual.batch_events(10)) == (8_388, 200_000, 10)
    assert MemoryBudget(1).batch_events(200_000) == 5_000
    assert (small.batch_cells_records(100), usual.batch_cells_records(100)) == (5, 100)
    assert MemoryBudget(1).batch_cells_records(100) == 4


def test_series_take_what_is_said_of_them() -> None:
    bank = Bank()
    tracked = TrackedSeries(bank, most=20_000)
    for start in range(0, 40_000, 700):
        names = [f"thread:at://did:plc:somebody/{number:015}" for number in range(start, start + 700)]
        bank.update_many(tracked.touch(names, start, ()), start * 60, [1] * 700)
        if start > 5_000:
            assert tracked.nbytes <= SERIES_BYTES * (len(tracked) + 1_000)
    assert len(tracked) <= 20_000
    assert tracked.nbytes <= 20_000 * SERIES_BYTES


def test_what_was_replaced_leaves_memory_with_what_is_dropped() -> None:
    fold = ConversationFold()
    sizes = []
    for minute in range(40):
        fold.add_cells(cells_with_voices(minute, 500, 200))
        if minute >= 20:
            fold.drop(fold.between(0, minute - 9))
            sizes.append(fold.bytes)
    held = 10 * 500 * 200 * 8
    assert held < max(sizes) < 1.7 * held
    assert max(sizes[10:]) <= max(sizes[:10])


def cells_with_voices(minute: int, count: int, voices: int) -> CellArrays:
    """Cells of one conversation and minute, each of a post of its own."""
    one = np.ones(count, np.int64)
    return CellArrays(
        texts(["hashtag:a"]),
        np.zeros(count, np.int64),
        some_hashes(count),
        np.full(count, minute),
        np.ones((count, len(CELL_COUNTS)), np.int64),
        Sets(one.astype(np.uint64), one),
        Sets(some_hashes(count * voices), np.full(count, voices)),
        one.astype(np.bool_),
        one.astype(np.uint64),
    )


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_cycles_are_collected_now_and_then() -> None:
    class Node:
        """One that names itself."""

        def __init__(self) -> None:
            self.me = self

    def alive() -> int:
        return sum(type(each) is Node for each in gc.get_objects())

    state = TidyState(100.0)
    for _ in range(1000):
        Node()
    assert not state.tidy(100.0 + TIDY_SECONDS - 1)
    assert alive() == 1000
    assert state.tidy(100.0 + TIDY_SECONDS)
    assert alive() == 0
    Node()
    assert not state.tidy(101.0 + TIDY_SECONDS)
    assert alive() == 1

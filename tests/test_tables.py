"""The fold's memory: growth, forgetting, the idlest, partitions; nothing is lost, nothing found twice."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2

from processors.columnar.panes import NONE
from processors.columnar.partitioning import partitions_of
from processors.engagement.fold import kernels, layout
from processors.engagement.fold.columns import Identities
from processors.engagement.fold.fold import Fold
from processors.engagement.fold.hash_index import find
from processors.engagement.fold.layout import KEYED
from processors.engagement.fold.tables import INDEX_LOAD, Tables, index_of
from tests.folding import Event, assert_true, like, metrics_of, minutes_of, take, undo
from tests.truth import truth_of


def _tables(fold: Fold) -> Tables:
    return fold.tables


def _assert_sound(fold: Fold) -> None:
    """Each row is found under its key, once; indexes are not too full; lists hold each pane and channel once."""
    tables = _tables(fold)
    for number, name in enumerate(KEYED):
        rows, index, size = getattr(tables, name), getattr(tables, index_of(name)), int(tables.sizes[number])
        assert np.count_nonzero(index) == size <= INDEX_LOAD * len(index)
        for row in range(0, size, max(1, size // 500)):
            assert find(rows, index, rows[row]["post"], rows[row]["key"]) == row
        assert len(np.unique(rows[:size][["post", "key"]])) == size
        assert (rows["post"][:size] < len(fold)).all()
    for heads, rows, size in (
        (("ordered", "late"), tables.panes, int(tables.sizes[layout.N_PANES])),
        (("channels",), tables.channels, int(tables.sizes[layout.N_CHANNELS])),
    ):
        starts = [tables.posts[post][head] for post in range(len(fold)) for head in heads]
        assert sorted(place for start in starts for place in _chain(rows, start)) == list(range(size))


def _chain(rows: np.ndarray, place: int) -> list[int]:
    places = []
    while place != NONE:
        places.append(int(place))
        place = rows[place]["next"]
    return places


def _some_events(seed: int, count: int, posts: int) -> list[Event]:
    rng = random.Random(seed)
    events = []
    for number in range(count):
        more = {
            "post_id": f"p{rng.randrange(posts)}",
            "kind": rng.choice(("like", "share", "comment")),
            "channel": rng.choice("abc"),
        }
        at = f"2026-03-{rng.randrange(1, 28):02}T10:{rng.randrange(60):02}:00Z"
        if rng.random() < 0.1:
            events.append(undo(f"e{rng.randrange(count)}", at, **more))
        else:
            events.append(like(f"e{number}", at, **more, actor_id=f"a{rng.randrange(50)}"))
    return events


def test_growth_and_forgetting_keep_every_row() -> None:
    fold, events, kept = Fold(), _some_events(1, 6000, 40), {f"p{number}" for number in range(40)}
    for start in range(0, 6000, 1000):
        take(fold, events[start : start + 1000])
        _assert_sound(fold)
    rng = random.Random(2)
    while kept:
        assert_true(fold, {post_id: post for post_id, post in truth_of(events).items() if post_id in kept})
        goes = rng.sample(sorted(kept), min(len(kept), rng.choice((1, 9, 17))))
        assert sorted(fold.forget(fold.find(goes))) == sorted(goes)
        kept -= set(goes)
        _assert_sound(fold)
    assert (len(fold), fold.events) == (0, 0)
    take(fold, events)
    assert_true(fold, truth_of(events))


def test_forgotten_memory_is_given_back() -> None:
    fold = Fold()
    take(fold, _some_events(3, 20_000, 10))
    full = fold.bytes
    fold.forget(fold.find([f"p{number}" for number in range(1, 10)]))
    assert fold.bytes < 0.3 * full


def test_hundreds_of_thousands_of_keys() -> None:
    rng = np.random.default_rng(4)
    fold = Fold()
    count, runs = 40_000, 8
    fold.add([f"p{number}" for number in range(50_000)], np.zeros(50_000, np.uint16))
    posts = rng.integers(0, 50_000, runs * count)
    keys, minutes = (
        rng.integers(0, 2**63, runs * count).astype(np.uint64),
        rng.integers(0, 2**22, runs * count).astype(np.uint32),
    )
    zeros = np.zeros(count, np.uint64)
    for start in range(0, runs * count, count):
        part = slice(start, start + count)
        small = np.zeros(count, np.int8)
        events = Identities(
            keys[part], zeros, keys[part], zeros, minutes[part], zeros.astype(np.uint32), small, small, zeros
        )
        assert (fold.add_events(posts[part], events).outcomes <= kernels.LATE).all()
        assert (fold.add_events(posts[part], events).outcomes == kernels.DUPLICATE).all()
    assert fold.events == runs * count
    assert (fold.snapshot(np.arange(50_000)).net[:, 0] == np.bincount(posts, minlength=50_000)).all()


def test_the_idlest_go_first_and_hold_about_their_share() -> None:
    fold = Fold()
    for number in range(10):
        take(fold, [like(f"{number}-{n}", post_id=f"p{number}") for n in range(20)])
    take(fold, [like("0-0", post_id="p0")])  # a duplicate is no idleness
    assert [fold.post_ids[row] for row in fold.idlest(0.5)] == ["p1", "p2", "p3", "p4", "p5"]
    assert len(fold.idlest(1.0)) == 10
    assert len(Fold().idlest(0.5)) == 0
    assert [fold.post_ids[row] for row in fold.touched_since(9)] == ["p0", "p9"]


def test_partitions_are_those_of_the_keys() -> None:
    fold = Fold()
    fold.add(["a", "b", "c"], np.array([7, 65535, 7], np.uint16))
    assert np.flatnonzero(fold.partitions(np.arange(len(fold))) == 7).tolist() == [0, 2]
    assert fold.partitions(np.arange(0)).tolist() == []
    assert fold.partitions(np.array([1])).tolist() == [65535]


@settings(max_examples=200, deadline=None)
@given(
    keys=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=40),
    of=st.integers(1, 1000),
)
def test_partitions_as_kafka_chooses_them(keys: list[str], of: int) -> None:
    assert partitions_of(keys, of).tolist() == [(murmur2(key.encode()) & 0x7FFFFFFF) % of for key in keys]


def test_a_viral_minute_is_one_pane() -> None:
    fold = Fold()
    take(fold, [like(f"l{number}") for number in range(5000)])
    assert len(minutes_of(fold)["p"]) == 1
    assert metrics_of(fold)["p"]["likes_5m"] == 5000

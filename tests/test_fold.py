"""The fold against the truth: whatever the order, duplicates and cuts, its rows follow from the set of events."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.columnar.hashing import Hasher
from processors.columnar.panes import NONE
from processors.engagement.fold import kernels
from processors.engagement.fold.fold import Fold
from tests.folding import Event, assert_true, like, metrics_of, minutes_of, same, take, undo
from tests.truth import microseconds, truth_of

MINUTES = (
    "1970-01-01T00:00:00Z",
    "1999-12-31T23:59:59.999999Z",
    *(f"2026-03-01T10:{m:02}:07+00:00" for m in (0, 1, 2, 4, 9, 11)),
)
MINUTES += ("2026-03-01T13:30:00+02:00", "2026-03-02T12:00:00Z", "2026-03-04T10:03:00Z", "2031-01-01T00:00:00Z")
IDS = "abc"

identity = st.fixed_dictionaries(
    {
        "post_id": st.sampled_from(["p", "q"]),
        "kind": st.sampled_from(["like", "like", "share", "comment", "post"]),
        "action": st.sampled_from(["add", "add", "retract"]),
        "event_id": st.sampled_from(IDS),
    }
)
content = st.fixed_dictionaries(
    {
        "actor_id": st.sampled_from(["u", "v", "w", ""]),
        "channel": st.sampled_from(["bluesky", "mastodon", "", None]),
        "target_id": st.sampled_from([*IDS, *IDS, "ghost"]),
        "occurred_at": st.sampled_from(MINUTES),
        "parent_id": st.sampled_from([*IDS, *IDS, "p", "q", "ghost", "", None]),
    }
)


def _event(parts: tuple[dict[str, Any], dict[str, Any]]) -> Event:
    event = parts[0] | parts[1]
    if event["action"] == "add":
        del event["target_id"]
    if not event["actor_id"]:
        event["actor_id"] = None if event["kind"] in ("like", "share") else "u"
    return event


def _identity(event: Event) -> tuple[str, ...]:
    return event["post_id"], event["kind"], event.get("action", "add"), event["event_id"]


events = st.tuples(identity, content).map(_event)
logs = st.lists(events, min_size=1, max_size=60)
"""With conflicting duplicates: the universe is small."""
takebacks = st.lists(
    st.builds(
        lambda number, at, add: like("a", at) if add else undo("a", at, event_id=f"u{number}"),
        st.integers(0, 5),
        st.sampled_from(MINUTES),
        st.integers(0, 3).map(lambda roll: roll == 0),
    ),
    min_size=1,
    max_size=12,
)
"""One like, and many who take it back."""
sets = st.lists(events, min_size=1, max_size=40, unique_by=_identity)


def _cut(log: Sequence[Event], cuts: Sequence[int]) -> list[Sequence[Event]]:
    places = sorted({cut % len(log) for cut in cuts} | {0, len(log)})
    return [log[start:end] for start, end in pairwise(places)]


@settings(max_examples=150, deadline=None)
@given(log=logs, cuts=st.lists(st.integers(0, 59), max_size=3))
def test_any_log_in_any_cut(log: list[Event], cuts: list[int]) -> None:
    fold = Fold()
    for part in _cut(log, cuts):
        take(fold, part)
        if len(part) % 2:
            metrics_of(fold)  # looking must change nothing
    assert_true(fold, truth_of(log))


@settings(max_examples=100, deadline=None)
@given(distinct=sets, order=st.randoms(use_true_random=False), again=st.integers(0, 40))
def test_order_and_duplicates_change_nothing(distinct: list[Event], order: Any, again: int) -> None:
    log = distinct + [order.choice(distinct) for _ in range(again)]
    order.shuffle(log)
    fold = Fold()
    outcomes = take(fold, log).outcomes
    assert_true(fold, truth_of(distinct))
    assert np.count_nonzero(outcomes <= kernels.LATE) == len(distinct)
    assert not np.count_nonzero(outcomes == kernels.CONFLICTING)
    assert fold.events == len(distinct)


@settings(max_examples=100, deadline=None)
@given(log=logs, cut=st.integers(0, 59), post=st.sampled_from("pq"), order=st.randoms(use_true_random=False))
def test_a_forgotten_post_is_read_again_in_any_order(log: list[Event], cut: int, post: str, order: Any) -> None:
    fold = Fold()
    before, after = log[: cut % len(log)], log[cut % len(log) :]
    if before:
        take(fold, before)
        gone = [row for row in fold.find([post]).tolist() if row >= 0]
        assert fold.forget(np.array(gone, np.int64)) == [post] * len(gone)
        stored = list({_identity(event): event for event in reversed(before) if event["post_id"] == post}.values())
        order.shuffle(stored)
        if stored:
            take(fold, stored)
    take(fold, after)
    assert_true(fold, truth_of(log))


@settings(max_examples=60, deadline=None)
@given(distinct=sets, order=st.randoms(use_true_random=False))
def test_what_is_taken_back_was_never_there(distinct: list[Event], order: Any) -> None:
    stands = [event for event in distinct if event["action"] == "add"]
    gone = [event | {"event_id": "gone-" + event["event_id"]} for event in stands if event["kind"] != "post"]
    undone = [
        undo(event["event_id"], **{name: event[name] for name in ("kind", "post_id", "occurred_at")}) for event in gone
    ]
    log = stands + gone + undone
    order.shuffle(log)
    with_, without = Fold(), Fold()
    take(with_, log)
    if stands:
        take(without, stands)
    found, clean = metrics_of(with_), metrics_of(without)
    for name in (
        "likes",
        "shares",
        "comments",
        "actors",
        "channels",
        "retractions_unmatched",
        "channel_entropy",
        "hot_6h",
    ):
        for post_id, row in clean.items():
            assert same(found[post_id][name], row[name]), name
    assert_true(with_, truth_of(log))


@settings(max_examples=150, deadline=None)
@given(log=st.one_of(logs, takebacks), cut=st.integers(0, 59), crash=st.integers(0, 59))
def test_a_run_read_again_dirties_all_rows_that_the_crash_left_stale(log: list[Event], cut: int, crash: int) -> None:
    cut, crash = sorted((cut % (len(log) + 1), crash % (len(log) + 1)))
    assert _minutes_after_a_crash(log, cut, crash) == _true_minutes(log)


def test_an_earlier_retraction_read_again_clears_the_minute_of_the_later_one() -> None:
    log = [
        like("a", "2026-03-01T10:00:00Z"),
        undo("a", "2026-03-01T10:09:00Z", event_id="later"),
        undo("a", "2026-03-01T10:03:00Z", event_id="earlier"),
    ]
    assert _minutes_after_a_crash(log, 2, 3) == _true_minutes(log)


def _minutes_after_a_crash(log: list[Event], cut: int, crash: int) -> dict[tuple[str, int], tuple[int, ...]]:
    """Rows were stored up to `cut`, events up to `crash`; then those came from the log, the rest again from Kafka."""
    fold, stored = Fold(), {}
    if cut:
        take(fold, log[:cut])
        for post_id, found in minutes_of(fold).items():
            stored |= {(post_id, minute): counts for minute, counts in found.items()}
    fold = Fold()
    logged = {_identity(event): event for event in reversed(log[:crash])}.values()
    if logged:
        take(fold, sorted(logged, key=lambda event: microseconds(event["occurred_at"])))
    if log[cut:]:
        panes = fold.panes(take(fold, log[cut:]).panes)
        for post, minute, adds, retracted, _ in zip(*(column.tolist() for column in panes), strict=True):
            stored[fold.post_ids[post], minute] = (*adds, *retracted)
    return {key: counts for key, counts in stored.items() if any(counts)}


def _versions(log: Sequence[Event]) -> dict[tuple[str, int], tuple[tuple[int, ...], int]]:
    """What each pane says after these events, and how many events it has seen that can change it."""
    fold = Fold()
    if log:
        take(fold, log)
    panes = fold.panes(fold.panes_of(np.arange(len(fold))))
    return {
        (fold.post_ids[post], minute): ((*adds, *retracted), seen)
        for post, minute, adds, retracted, seen in zip(*(column.tolist() for column in panes), strict=True)
    }


NOTHING = ((0,) * 6, 0)


@settings(max_examples=300, deadline=None)
@given(logs, st.randoms(use_true_random=False))
def test_the_version_of_a_pane_grows_with_every_event_that_changes_it(log: list[Event], rng: random.Random) -> None:
    """It follows from the set of events, whatever their order: so of two owners the one that has seen less, or other
    events, never beats the one that has seen all."""
    log = list({_identity(event): event for event in reversed(log)}.values())
    everything = _versions(log)
    for start in range(len(log)):
        known = log[:start] + log[start + 1 :]
        rng.shuffle(known)
        less = _versions(known)
        for pane in everything.keys() | less.keys():
            (before, few), (after, many) = less.get(pane, NOTHING), everything.get(pane, NOTHING)
            assert few <= many
            assert before == after or few < many, (pane, before, after)
    rng.shuffle(log)
    assert _versions(log) == everything


def _true_minutes(log: list[Event]) -> dict[tuple[str, int], tuple[int, ...]]:
    return {
        (post_id, minute): counts for post_id, post in truth_of(log).items() for minute, counts in post.minutes.items()
    }


def test_kinds_and_posts_share_no_identity() -> None:
    log = [like("a"), like("a", kind="share"), like("a", post_id="q"), undo("a", kind="share"), undo("a", post_id="r")]
    fold = Fold()
    assert take(fold, log).outcomes.tolist() == [kernels.NEW] * 5
    assert_true(fold, truth_of(log))
    found = metrics_of(fold)
    assert [found[post]["likes"] for post in "pqr"] == [1, 1, 0]
    assert (found["p"]["shares"], found["r"]["retractions_unmatched"]) == (0, 1)


def test_outcomes() -> None:
    log = [
        like("a", "2026-03-01T10:05:00Z"),
        like("b", "2026-03-01T10:04:00Z"),
        like("c", "2026-03-01T10:03:59Z"),
        like("a", "2026-03-01T10:05:00Z"),
        like("a", "2026-03-01T10:05:00Z", actor_id="else"),
        like("a", "2026-03-01T10:05:00.000001Z"),
        like("a", "2026-03-01T10:05:00Z", parent_id="x"),
        like("a", "2026-03-01T10:05:00Z", channel="x"),
        like("a", "2026-03-01T10:05:00Z", url="x"),
    ]
    n, late, d, c = kernels.NEW, kernels.LATE, kernels.DUPLICATE, kernels.CONFLICTING
    assert take(Fold(), log).outcomes.tolist() == [n, n, late, d, c, c, c, c, d]


def test_actors_alone_are_hashed_alike_in_all_processes() -> None:
    one, other = Hasher(), Hasher()
    assert (one.actors(["ann", ""]) == other.actors(["ann", ""])).all()
    assert (one.hashes(["ann"]) != other.hashes(["ann"])).all()
    assert (one.actors(["ann"]) != one.hashes(["ann"])).all()


def test_what_a_post_says_of_itself_stays_with_it() -> None:
    fold = Fold()
    take(fold, [like("a"), like("a", post_id="q")])
    assert fold.tables.posts["created"][:2].tolist() == [NONE] * 2
    fold.learn(np.array([1]), np.array([29_500_000]), np.array([7], np.uint64))
    fold.forget(np.array([0]))
    take(fold, [like("b", post_id="q"), like("a")])
    assert fold.tables.posts["created"][:2].tolist() == [29_500_000, NONE]
    assert fold.tables.posts["author"][:2].tolist() == [7, 0]


def test_a_retraction_of_a_retraction_changes_nothing() -> None:
    log = [like("a"), undo("a"), undo("a#undo")]
    fold = Fold()
    take(fold, log)
    assert_true(fold, truth_of(log))
    assert (metrics_of(fold)["p"]["likes"], metrics_of(fold)["p"]["retractions_unmatched"]) == (0, 1)


@pytest.mark.parametrize("seed", range(6))
def test_hot_over_decades_in_any_order(seed: int) -> None:
    rng = random.Random(seed)
    spans = (60, 3600, 86_400 * 30, 86_400 * 365 * 50)
    ends = [int(1.9e9 - rng.random() * rng.choice(spans)) for _ in range(400)]
    log = [
        like(f"e{number}", datetime.fromtimestamp(end, UTC).isoformat(), kind=rng.choice(("like", "share", "comment")))
        for number, end in enumerate(ends)
    ]
    log += [undo(event["event_id"], kind=event["kind"]) for event in rng.sample(log, 40)]
    rng.shuffle(log)
    fold = Fold()
    for start in range(0, len(log), 100):
        take(fold, log[start : start + 100])
        metrics_of(fold)
    found, true = metrics_of(fold)["p"]["hot_6h"], truth_of(log)["p"].hot
    assert true is not None
    assert abs(2 ** (found - true) - 1) < 1e-9


def test_a_large_term_taken_back_leaves_the_small_ones() -> None:
    log = [like("old", "1990-01-01T00:00:00Z"), *(like(f"n{n}", "2026-01-01T00:00:00Z") for n in range(1000))]
    log += [undo(f"n{n}", "2026-01-01T00:00:00Z") for n in range(1000)]
    fold = Fold()
    take(fold, log)
    assert metrics_of(fold)["p"]["hot_6h"] == truth_of(log)["p"].hot

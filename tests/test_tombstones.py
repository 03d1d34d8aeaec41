"""Tombstones in the fold against the truth: what a person did leaves the counts, and the trees keep their shape."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.engagement.fold.fold import Fold
from tests.folding import Event, assert_true, like, metrics_of, take, undo
from tests.test_fold import NOTHING, _identity, _versions, logs
from tests.truth import truth_of

GONE = "u"


def erased(event: Event) -> Event:
    """The tombstone of an event."""
    return event | {"actor_id": None, "is_erased": True}


def without(log: list[Event], person: str = GONE) -> list[Event]:
    """The log once a person is erased. Posts are left as they are: those of the person leave as a whole."""
    return [erased(event) if event["actor_id"] == person and event["kind"] != "post" else event for event in log]


def distinct(log: list[Event]) -> list[Event]:
    return list({_identity(event): event for event in reversed(log)}.values())


@settings(max_examples=300, deadline=None)
@given(logs, st.randoms(use_true_random=False), st.integers(0, 59))
def test_rows_follow_from_the_set_of_events_and_tombstones(log: list[Event], rng: random.Random, cut: int) -> None:
    left = without(distinct(log))
    rng.shuffle(left)
    fold = Fold()
    for part in (left[: cut % (len(left) + 1)], left[cut % (len(left) + 1) :]):
        if part:
            take(fold, part)
    assert_true(fold, truth_of(left))


@settings(max_examples=300, deadline=None)
@given(logs, st.randoms(use_true_random=False))
def test_a_row_without_the_person_wins_over_each_row_with_the_person(log: list[Event], rng: random.Random) -> None:
    log = distinct(log)
    clean = _versions(without(log))
    for _ in range(4):
        known = [event for event in log if rng.random() < 0.8]
        rng.shuffle(known)
        stale = _versions(known)
        for pane in clean.keys() | stale.keys():
            (before, few), (after, many) = stale.get(pane, NOTHING), clean.get(pane, NOTHING)
            assert few <= many
            assert before == after or few < many, (pane, before, after)
    left = without(log)
    rng.shuffle(left)
    assert _versions(left) == clean


def comment(name: str, parent: str = "", actor: str = "a", **more: Any) -> Event:
    return like(name, kind="comment", parent_id=parent, actor_id=actor, **more)


def test_a_like_stays_as_one_by_nobody_and_a_comment_leaves_a_ghost() -> None:
    log = [
        like("1", actor_id="u"),
        like("2", actor_id="v"),
        comment("c", actor="u"),
        comment("d", "c", actor="v"),
        like("s", kind="share", actor_id="u"),
    ]
    fold = Fold()
    take(fold, without(log))
    row = metrics_of(fold)["p"]
    assert (row["likes"], row["shares"], row["comments"]) == (2, 0, 1)
    assert (row["actors"], row["likes_actors"], row["comments_actors"]) == (1, 1, 1)
    assert (row["comment_size"], row["comment_depth"], row["comment_levels"]) == (2, 2, "[0, 1]")
    assert row["events_seen"] == len(log) + 3


def test_a_retraction_of_the_person_still_takes_back() -> None:
    """Of a like that the person took back nothing is left; a comment that the person removed stays removed."""
    log = [
        like("1", actor_id="u"),
        undo("1", actor_id="u"),
        comment("c", actor="v"),
        undo("c", kind="comment", actor_id="u"),
    ]
    fold = Fold()
    take(fold, without(log))
    row = metrics_of(fold)["p"]
    assert (row["likes"], row["comments"], row["actors"], row["retractions_unmatched"]) == (0, 0, 0, 0)


def test_a_retraction_of_a_ghost_changes_nothing() -> None:
    for order in (0, 1):
        log = [comment("c", actor="u"), comment("d", "c"), undo("c", kind="comment", actor_id="moderator")]
        fold = Fold()
        for event in without(log)[:: -1 if order else 1]:
            take(fold, [event])
        row = metrics_of(fold)["p"]
        assert (row["comments"], row["comment_depth"], row["retractions_unmatched"]) == (1, 2, 0)
        assert_true(fold, truth_of(without(log)))

"""Trees, cascade and thread of the page against the truth over a simulation with everything awkward in it."""

import random
from collections import Counter
from datetime import datetime
from typing import Any

from pipeline.page.parts.cascade import MOST_DRAWN, drawn_cascade, largest_branches
from pipeline.page.parts.thread import shown_thread, waiting_comments
from pipeline.page.parts.trees import ROOT, PostTree, build_trees
from tests.end_to_end.inputs import simulated

Event = dict[str, Any]


def row(event: Event) -> Event:
    """An event as `sql.READ_TREE_EVENTS` has it."""
    action = event.get("action", "add")
    return {
        "kind": event["kind"],
        "action": action,
        "event_id": event["event_id"],
        "parent_id": event.get("parent_id") or "",
        "target_id": event.get("target_id") or "",
        "actor_id": event["actor_id"],
        "channel": event.get("channel") or "",
        "text": "",
        "at": datetime.fromisoformat(event["occurred_at"].replace("Z", "+00:00")).timestamp(),
    }


def share(event_id: str, parent: str = "", at: float = 0.0, kind: str = "share", actor: str | None = None) -> Event:
    return {
        "kind": kind,
        "action": "add",
        "event_id": event_id,
        "parent_id": parent,
        "target_id": "",
        "actor_id": actor or f"by-{event_id}",
        "channel": "bluesky",
        "text": "",
        "at": at,
    }


def retraction(target: str, kind: str = "share") -> Event:
    return share(f"{target}#undo", kind=kind) | {"action": "retract", "target_id": target}


def tree_of(*rows: Event, kind: str = "share") -> PostTree:
    return build_trees(list(rows), "p")[kind]


def test_trees_are_those_of_the_truth() -> None:
    made = simulated(12_000, 120)
    by_post: dict[str, dict[tuple[str, str, str], Event]] = {}
    for event in made.events:
        if event["kind"] in ("share", "comment"):
            key = (event["kind"], event.get("action", "add"), event["event_id"])
            by_post.setdefault(event["post_id"], {}).setdefault(key, row(event))
    compared = 0
    for post_id, events in by_post.items():
        rows = list(events.values())
        random.Random(post_id).shuffle(rows)
        trees, truth = build_trees(rows, post_id), made.truth[post_id].metrics()
        for kind, tree in trees.items():
            counted = [depth for depth, counts in zip(tree.depths, tree.counted, strict=True) if counts]
            assert tree.total + 1 == truth[f"{kind}_size"]
            assert max(counted, default=0) == truth[f"{kind}_depth"]
            assert tree.waiting == truth[f"{kind}_waiting"]
            levels = Counter(counted)
            assert [levels[level] for level in range(1, max(levels, default=0) + 1)] == truth[f"{kind}_levels"]
        facts = made.truth[post_id].facts()
        if facts and facts["author_id"]:
            waiting = waiting_comments(trees["comment"], facts["author_id"].__eq__)
            assert len(waiting) == truth["unanswered"]
            compared += 1
    assert compared > 60


def test_parents_come_before_children_whatever_the_order_of_events() -> None:
    rows = [share("a"), share("b", "a"), share("c", "b"), share("d", "a"), share("x", "nowhere")]
    for seed in range(20):
        random.Random(seed).shuffle(rows)
        tree = tree_of(*rows)
        names = [event["event_id"] for event in tree.events]
        assert all(parent < place for place, parent in enumerate(tree.parents))
        assert {names[place]: tree.sizes[place] for place in range(4)} == {"a": 4, "b": 2, "c": 1, "d": 1}
        assert tree.waiting == 1


def test_a_share_below_a_comment_hangs_under_the_share_above() -> None:
    rows = [share("s"), share("c", "s", kind="comment"), share("t", "c"), share("d", "t", kind="comment")]
    trees = build_trees(rows, "p")
    assert [event["event_id"] for event in trees["share"].events] == ["s", "t"]
    assert trees["share"].parents == [ROOT, 0]
    assert trees["comment"].parents == [ROOT, 0]


def test_circles_and_parents_that_are_the_post() -> None:
    tree = tree_of(share("a", "p"), share("b", "c"), share("c", "b"), share("d", "d"))
    assert [event["event_id"] for event in tree.events] == ["a"]
    assert tree.waiting == 3


def test_what_was_taken_back_carries_others_and_goes_alone() -> None:
    tree = tree_of(share("a"), share("b", "a"), share("c"), retraction("a"), retraction("c"), retraction("gone"))
    assert ([event["event_id"] for event in tree.events], tree.counted) == (["a", "b"], [False, True])
    assert (tree.total, tree.sizes) == (1, [1, 1])


def test_a_large_cascade_keeps_its_shape_and_counts_what_is_hidden() -> None:
    chance = random.Random(5)
    rows = [share("0")]
    rows += [share(str(number), str(chance.randrange(number)) if number % 3 else "") for number in range(1, 9_000)]
    tree = tree_of(*rows)
    drawn = drawn_cascade(tree)
    assert len(drawn["parents"]) == MOST_DRAWN
    assert all(parent < place for place, parent in enumerate(drawn["parents"]))
    assert MOST_DRAWN + sum(drawn["hidden"].values()) + drawn["hidden_below_post"] == tree.total == 9_000
    smallest = min(drawn["sizes"])
    assert sum(size > smallest for size in tree.sizes) <= MOST_DRAWN


def test_branches_do_not_overlap_and_look_below_a_giant() -> None:
    # 0 carries nearly all; below it are 1 (40 shares), 2 (30) and 3 (20); 4 hangs under the post with 5.
    rows = [share("0"), share("4")]
    rows += [share(str(root), "0") for root in (1, 2, 3)]
    rows += [share(f"{root}-{n}", str(root)) for root, size in ((1, 40), (2, 30), (3, 20), (4, 5)) for n in range(size)]
    tree = tree_of(*rows)
    branches = largest_branches(tree)
    assert [tree.events[place]["event_id"] for place in branches] == ["1", "2", "3", "4"]
    drawn = drawn_cascade(tree)["branches"]
    assert [(branch["actor"], branch["size"], branch["direct"]) for branch in drawn] == [
        ("by-1", 40, 40),
        ("by-2", 30, 30),
        ("by-3", 20, 20),
        ("by-4", 5, 5),
    ]
    assert sum(branch["share"] for branch in drawn) <= 1


def test_those_who_wait_come_first_and_the_dead_are_silent() -> None:
    rows = [
        share("old", at=1, kind="comment", actor="ana"),
        share("new", at=5, kind="comment", actor="ben"),
        share("answer", "new", at=6, kind="comment", actor="host"),
        share("gone", at=2, kind="comment", actor="eve"),
        share("below", "gone", at=3, kind="comment", actor="host"),
        retraction("gone", kind="comment"),
    ]
    thread = shown_thread(tree_of(*rows, kind="comment"), "host".__eq__)
    assert [(c["actor"], c["waits"], c["brand"], c["gone"]) for c in thread["comments"]] == [
        ("ana", True, False, False),
        ("ben", False, False, False),
        ("host", False, True, False),
        ("", False, False, True),
        ("host", False, True, False),
    ]
    assert (thread["total"], thread["waiting"], thread["oldest_waiting_at"]) == (4, 1, 1)
    unknown = shown_thread(tree_of(*rows, kind="comment"), None)
    assert unknown["waiting"] is None
    assert not any(comment["waits"] for comment in unknown["comments"])


def test_an_empty_post_has_empty_trees() -> None:
    assert drawn_cascade(tree_of())["total"] == 0
    assert shown_thread(tree_of(kind="comment"), "host".__eq__)["comments"] == []

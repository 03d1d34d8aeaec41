"""Trees against brute force: whatever the shape, the order, the cuts and the hostility, they follow from the set."""

import csv
import gzip
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.engagement.fold import trees
from processors.engagement.fold.columns import Identities
from processors.engagement.fold.fold import Fold
from tests.folding import Event, assert_true, like, metrics_of, take, undo
from tests.truth import truth_of

AT = "2026-03-01T10:00:30Z"
TREES = {"share": ("share",), "comment": ("comment",), "all": ("share", "comment")}
POST = ("post", "p")
DATA = Path(os.environ.get("ENGAGEMENT_TEST_DATA") or Path(__file__).parents[2] / "shared/data") / "cascades"

Node = tuple[str, str]


def node(kind: str, name: str, parent: str | None, minute: int = 0) -> Event:
    return like(name, f"2026-03-01T10:{minute:02}:30Z", kind=kind, parent_id=parent)


def share(name: str, parent: str | None = None) -> Event:
    return node("share", name, parent)


def comment(name: str, parent: str | None = None) -> Event:
    return node("comment", name, parent)


def brute(events: Iterable[Event]) -> dict[str, Any]:
    """Tree columns of one post by networkx; all distances one by one."""
    adds = {(event["kind"], event["event_id"]): event.get("parent_id") for event in events if "target_id" not in event}
    gone = {(event["kind"], event["target_id"]) for event in events if "target_id" in event}
    graph = nx.DiGraph([])
    graph.add_node(POST)
    for (kind, name), parent in adds.items():
        other = "comment" if kind == "share" else "share"
        if parent in (None, "", "p"):
            graph.add_edge((kind, name), POST)
        else:
            graph.add_edge((kind, name), (kind, parent) if (kind, parent) in adds else (other, parent))
    reach = nx.ancestors(graph, POST)  # of a graph whose edges go up: all from which the post is reached
    columns: dict[str, Any] = {"tree_truncated": 0}
    for tree, kinds in TREES.items():
        skipped = nx.Graph()
        skipped.add_node(POST)
        for each in reach:
            if each[0] in kinds:
                above = next(graph.successors(each))
                while above != POST and above[0] not in kinds:
                    above = next(graph.successors(above))
                skipped.add_edge(each, above)
        counted = [each for each in skipped if each == POST or each not in gone]
        distances = dict(nx.all_pairs_shortest_path_length(skipped))
        levels = Counter(distances[POST][each] for each in counted)
        size, wiener = len(counted), sum(distances[a][b] for a in counted for b in counted) // 2
        net = [each for each in adds if each[0] in kinds and each not in gone]
        columns |= {
            f"{tree}_size": size,
            f"{tree}_depth": max(levels),
            f"{tree}_max_breadth": max(levels.values()),
            f"{tree}_wiener": wiener,
            f"{tree}_structural_virality": 2 * wiener / (size * (size - 1)) if size > 1 else None,
            f"{tree}_viral_fraction": 1 - levels[1] / (size - 1) if size > 1 else None,
            f"{tree}_parents_known": int(any(adds[each] not in (None, "", "p") for each in net)),
            f"{tree}_waiting": len(net) - size + 1,
        }
        if tree != "all":
            columns[f"{tree}_levels"] = str([levels[depth] for depth in range(1, min(max(levels), 32) + 1)])
    return columns


def assert_brute(fold: Fold, events: Sequence[Event]) -> None:
    expected, row = brute(events), metrics_of(fold)["p"]
    assert {name: row[name] for name in expected} == expected


def random_trees(rng: random.Random) -> list[Event]:
    """Adds and retractions of a post; deep or wide, with forests, circles and twins where the dice say so."""
    count, deep, lost, twins = rng.randint(1, 40), rng.random(), rng.random() * 0.2, rng.choice((0, 0, 0.2))
    log: list[Event] = []
    names: list[str] = []
    for number in range(count):
        kind = rng.choice(("share", "comment")) if rng.random() < 0.9 else "share"
        name = rng.choice(names) if names and rng.random() < twins else f"n{number}"
        roll = rng.random()
        if roll < lost:
            parent: str | None = rng.choice(("ghost", name, f"n{rng.randrange(count)}"))  # unknown, itself, a circle
        elif not names or roll > 0.8:
            parent = rng.choice((None, "", "p"))
        else:
            parent = names[-1] if rng.random() < deep else rng.choice(names)
        names.append(name)
        log.append(node(kind, name, parent, rng.randrange(4)))
    log = list({(event["kind"], event["event_id"]): event for event in log}.values())
    log += [
        undo(event["event_id"], kind=event["kind"]) for event in rng.sample(log, rng.randrange(min(9, len(log) + 1)))
    ]
    return log


def parts(rng: random.Random, log: Sequence[Event]) -> Iterator[Sequence[Event]]:
    places = sorted({rng.randrange(len(log)) for _ in range(rng.randrange(5))} | {0, len(log)})
    return (log[start:end] for start, end in pairwise(places))


@pytest.mark.parametrize("slack", [1000, 0], ids=["climbing", "anew"])
@pytest.mark.parametrize("seed", range(150))
def test_any_tree_in_any_order_and_cut(seed: int, slack: int) -> None:
    rng = random.Random(seed)
    log = random_trees(rng)
    shuffled = log + rng.choices(log, k=rng.randrange(10))
    rng.shuffle(shuffled)
    fold = Fold()
    fold.add(["q", "p"], np.zeros(2, np.uint16))
    for part in parts(rng, shuffled):
        if not slack:
            fold.tables.trees["climbed"] = 2**31  # as after many steps up
        take(fold, [*part, *(event | {"post_id": "q"} for event in part if rng.random() < 0.5)])
        if rng.random() < 0.5:
            metrics_of(fold)
        if rng.random() < 0.2:
            fold.forget(fold.find(["q"]))
            fold.add(["q"], np.zeros(1, np.uint16))
    assert_brute(fold, log)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), order=st.randoms(use_true_random=False))
def test_what_is_taken_back_and_has_nothing_below_was_never_there(seed: int, order: Any) -> None:
    log = random_trees(random.Random(seed))
    ids = [event["event_id"] for event in log]
    gone = [
        node(order.choice(("share", "comment")), f"x{n}", order.choice([*ids, None])) for n in range(order.randrange(9))
    ]
    mixed = log + gone + [undo(event["event_id"], kind=event["kind"]) for event in gone]
    order.shuffle(mixed)
    fold, without = Fold(), Fold()
    for part in parts(order, mixed):
        take(fold, part)
        metrics_of(fold)
    take(without, log)
    found, clean = metrics_of(fold)["p"], metrics_of(without)["p"]
    for name in brute(log):
        assert found[name] == clean[name], name


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), order=st.randoms(use_true_random=False))
def test_a_post_read_again_by_time_is_the_same(seed: int, order: Any) -> None:
    log = random_trees(random.Random(seed))
    cut = order.randrange(1, len(log) + 1)
    order.shuffle(log)
    fold = Fold()
    take(fold, [*log[:cut], like("other", post_id="q"), share("s", "p") | {"post_id": "q"}])
    metrics_of(fold)
    fold.forget(fold.find(["p"]))
    take(fold, sorted(log[:cut], key=lambda event: str(event["occurred_at"])))
    take(fold, log)
    assert_brute(fold, log)
    assert_true(fold, truth_of([*log, like("other", post_id="q"), share("s", "p") | {"post_id": "q"}]))


def test_by_hand() -> None:
    log = [share("a"), comment("b", "a"), share("c", "b"), share("d", "c"), comment("e", "nowhere"), share("f", "f")]
    fold = Fold()
    take(fold, log)
    row = metrics_of(fold)["p"]
    assert {name: row[f"share_{name}"] for name in ("size", "depth", "wiener", "levels", "waiting")} == {
        "size": 4,
        "depth": 3,
        "wiener": 10,  # a path of four: 3 x 1 + 2 x 2 + 1 x 3
        "levels": "[1, 1, 1]",
        "waiting": 1,
    }
    assert (row["comment_size"], row["comment_waiting"], row["comment_structural_virality"]) == (2, 1, 1.0)
    assert (row["all_size"], row["all_depth"], row["all_wiener"], row["all_waiting"]) == (5, 4, 20, 2)
    assert row["share_viral_fraction"] == pytest.approx(2 / 3)


def test_a_ghost_carries_depth_and_counts_nowhere() -> None:
    fold = Fold()
    take(fold, [share("a"), share("b", "a"), undo("a", kind="share")])
    row = metrics_of(fold)["p"]
    assert [row[f"share_{name}"] for name in ("size", "depth", "max_breadth", "wiener", "levels")] == [
        2,
        2,
        1,
        2,
        "[0, 1]",
    ]
    assert (row["share_viral_fraction"], row["share_waiting"]) == (1.0, 0)
    take(fold, [undo("b", kind="share")])
    row = metrics_of(fold)["p"]
    assert [row[f"share_{name}"] for name in ("size", "depth", "max_breadth", "wiener", "levels")] == [1, 0, 1, 0, "[]"]
    assert (row["share_structural_virality"], row["share_parents_known"]) == (None, 0)


def test_a_parent_of_ones_own_kind_is_meant_first() -> None:
    log = [comment("x"), comment("deep", "x"), share("x", "deep"), share("of", "x")]
    for order in (log, log[::-1]):
        fold = Fold()
        for event in order:
            take(fold, [event])
            metrics_of(fold)
        assert metrics_of(fold)["p"]["all_depth"] == 4
        assert_brute(fold, log)


def test_a_post_of_too_many_events_has_no_tree() -> None:
    fold = Fold(tree_events=10)
    log = [share(f"s{n}", f"s{n - 1}" if n else None) for n in range(10)]
    take(fold, log)
    row = metrics_of(fold)["p"]
    assert (row["share_size"], row["tree_truncated"]) == (11, 0)
    take(fold, [share("late", "s0"), undo("s1", kind="share")])
    row = metrics_of(fold)["p"]
    assert (row["share_size"], row["share_wiener"], row["share_waiting"], row["share_levels"]) == (0, 0, 0, "[]")
    assert (row["share_structural_virality"], row["share_parents_known"], row["tree_truncated"]) == (None, 0, 1)
    assert (row["shares"], row["shares_actors"]) == (10, 10)


def test_levels_are_told_as_far_as_32() -> None:
    fold = Fold()
    take(fold, [share(f"s{n}", f"s{n - 1}" if n else None) for n in range(40)])
    row = metrics_of(fold)["p"]
    assert (row["share_levels"], row["share_depth"]) == (str([1] * 32), 40)


def test_concentration_is_of_the_most_active_hundredth() -> None:
    rng = random.Random(5)
    log = [like(f"l{n}", actor_id=f"a{min(int(rng.expovariate(0.02)), 180)}") for n in range(1500)]
    log += [undo(event["event_id"]) for event in rng.sample(log, 600)]
    rng.shuffle(log)
    fold = Fold()
    for start in range(0, len(log), 50):
        take(fold, log[start : start + 50])
        assert_true(fold, truth_of(log[: start + 50]))
    assert metrics_of(fold)["p"]["concentration"] > 0.02


def run_of(ids: Any, parents: Any, kind: int = 1) -> Identities:
    """Shares by their numbers, 0 for the post."""
    count = len(ids)
    code, none = trees.code_of(kind), np.zeros(count, np.uint64)
    small = np.full(count, kind, np.int8)
    minutes = np.full(count, 29_500_000, np.uint32)
    return Identities(
        ids.astype(np.uint64) + np.uint64(code), none, none, none, minutes, minutes, small, small * 0,
        parents.astype(np.uint64),
    )  # fmt: skip


@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
def test_a_chain_of_100_000_costs_about_what_a_star_costs(backwards: bool) -> None:
    count, run = 100_000, 10_000
    ids = np.arange(1, count + 1)
    costs = {}
    for name, parents in (("star", ids * 0), ("chain", ids - 1)):
        fold = Fold()
        (post,) = fold.add(["p"], np.zeros(1, np.uint16))
        before = time.process_time()
        for start in range(0, count, run):
            part = slice(start, start + run)
            which, above = (ids[::-1][part], parents[::-1][part]) if backwards else (ids[part], parents[part])
            fold.add_events(np.full(run, post), run_of(which, above))
            found = fold.trees(np.array([post]))
        costs[name] = time.process_time() - before
        assert found.sizes[0, 1] == count + 1
        if name == "chain":
            assert found.depths[0, 1] == count
            n = count + 1
            assert found.wieners[0, 1] == (n - 1) * n * (n + 1) // 6
        else:
            assert found.wieners[0, 1] == count * count
    assert costs["chain"] < 5 * costs["star"] + 0.5


def cascades(share_of: float) -> tuple[list[Event], list[dict[str, str]]]:
    """Events and reference of some posts of the real cascades, or of all."""
    if not DATA.is_dir():
        pytest.skip("no real cascades: set ENGAGEMENT_TEST_DATA")
    with (DATA / "twitter15_16_reference.csv").open() as file:
        reference = list(csv.DictReader(file))
    reference = random.Random(7).sample(reference, int(share_of * len(reference)))
    wanted = {row["post_id"] for row in reference}
    found = []
    with gzip.open(DATA / "twitter15_16.ndjson.gz", "rt") as lines:
        for line in lines:
            if line.partition('"post_id":"')[2].partition('"')[0] in wanted:
                event = json.loads(line)
                found.append(event | {"kind": event["type"], "occurred_at": event["ts"]})
    return found, reference


@pytest.mark.parametrize(("order", "share_of"), [("as they came", 1), ("backwards", 0.15), ("shuffled", 0.15)])
def test_real_cascades_are_those_of_the_reference(order: str, share_of: float) -> None:
    log, reference = cascades(share_of)
    assert share_of < 1 or (len(log), len(reference)) == (877_288, 2_116)
    if order == "backwards":
        log.reverse()
    elif order == "shuffled":
        random.Random(1).shuffle(log)
    fold = Fold()
    for start in range(0, len(log), 20_000):
        take(fold, log[start : start + 20_000])
        if start % 60_000 == 0:
            metrics_of(fold)
    found = metrics_of(fold)
    names = {"size": "nodes", "depth": "depth", "max_breadth": "max_breadth", "wiener": "wiener"}
    for true in reference:
        row = found[true["post_id"]]
        for tree in TREES:
            for name, theirs in names.items():
                assert row[f"{tree}_{name}"] == int(true[f"{tree}_{theirs}"])
            virality = row[f"{tree}_structural_virality"]
            assert true[f"{tree}_sv"] == ("" if virality is None else str(round(virality, 9)))
            assert row[f"{tree}_waiting"] == 0
            levels = json.loads(row.get(f"{tree}_levels", "[0]")) or [0]
            assert tree == "all" or levels[0] == int(true[f"{tree}_root_children"])
        assert row["actors"] == int(true["unique_actors"])

"""What the state of the fold weighs and what an event costs as the number of posts grows.

    python benchmarks/memory.py

Bytes are printed as the fold counts them itself (that is its budget) and as the process grew (RSS). Each figure has a
process of its own, tuned as a worker's is. Exit 1 beyond what README promises.
"""

import multiprocessing
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil

from processors.columnar.sets import Sets
from processors.conversation.cells import CellArrays, texts
from processors.conversation.fold import ConversationFold
from processors.engagement.fold import trees
from processors.engagement.fold.columns import Identities
from processors.engagement.fold.fold import Fold
from processors.engagement.known import KnownPosts
from processors.runtime.process_tuning import tune
from processors.spikes.detection.bank import Bank
from processors.spikes.detection.tracked import TrackedSeries
from schemas.conversations import CELL_COUNTS

RUN = 20_000
LIKES = 1_000_000
POSTS = 100_000
MANY = 200_000
SIZES = (1_000, 10_000, 100_000, 1_000_000)
START = 29_500_000
"""A minute in 2026."""

TREES = (1_000, 10_000, 100_000, 1_000_000)
CHAIN = 100_000
TREE_RUNS = 1_000_000
"""Nodes that are taken for one figure, in as many trees as that makes."""

LIKE_BYTES, NODE_BYTES, POST_BYTES, GROWTH = 80, 120, 1500, 2.0
"""Promised: bytes a like, bytes a node of a tree that is no chain, bytes a post of ten events, cost of an event among a
million posts against a thousand."""


def main() -> int:
    """Prints all figures; 1 where one is beyond what is promised."""
    likes = _alone(viral_post)
    kept = max(likes) <= LIKE_BYTES
    print(f"one viral post, {LIKES:,} likes:      {likes[0]:7.1f} bytes a like by state, {likes[1]:7.1f} by RSS")
    for name, spread in (("ten minutes", True), ("one minute ", False)):
        posts = _alone(posts_of_ten, spread)
        print(f"{POSTS:,} posts of ten, {name}: {posts[0]:7.1f} bytes a post by state, {posts[1]:7.1f} by RSS")
        kept &= max(posts) <= POST_BYTES
    for name, work in (("cells of three voices", cells), ("series", series), ("known posts", known_posts)):
        part = _alone(work)
        print(f"{MANY:,} {name}: {part[0]:7.1f} bytes each by state, {part[1]:7.1f} by RSS")
    print("\nCPU of a share or comment (us), folded and looked at in runs of 20,000, and bytes a node by state")
    print(f"{'nodes':>10} {'wide':>15} {'deep':>15}")
    for size in TREES:
        wide, deep = (_alone(tree, size, steps) for steps in (3, 1_000))
        print(f"{size:>10,} {wide[0]:8.2f} {wide[1]:6.1f} {deep[0]:8.2f} {deep[1]:6.1f}   levels {wide[2]}, {deep[2]}")
        kept &= size < CHAIN or max(wide[1], deep[1]) <= NODE_BYTES
    chain = _alone(tree, CHAIN, CHAIN)
    print(f"chain of {CHAIN:,}: {chain[0]:.2f} us, {chain[1]:.1f} bytes a node")
    print("\nCPU of an event (us), rows of posts found or added, folded; runs of 20,000")
    print(f"{'posts':>10} {'uniform':>9} {'Zipf':>9}")
    first: tuple[float, ...] = ()
    for size in SIZES:
        costs = tuple(_alone(cost_of_an_event, size, uniform) for uniform in (True, False))
        first = first or costs
        ratios = " ".join(f"{cost / start:8.2f}x" for cost, start in zip(costs, first, strict=True))
        print(f"{size:>10,} " + " ".join(f"{cost:9.2f}" for cost in costs) + f"   {ratios}")
    return 0 if kept and costs[0] <= GROWTH * first[0] else 1


def viral_post() -> tuple[float, float]:
    """Bytes a like of one post: by state, by RSS."""
    rng = np.random.default_rng(1)
    fold = Fold()
    before = _rss()
    rows = fold.add(["viral"], np.zeros(1, np.uint16))
    for start in range(0, LIKES, RUN):
        minutes = START + (start + np.arange(RUN)) // 500
        fold.add_events(np.repeat(rows, RUN), likes(rng, minutes))
    return fold.bytes / LIKES, (_rss() - before) / LIKES


def posts_of_ten(spread: bool) -> tuple[float, float]:
    """Bytes a post of ten likes, all in minutes of their own or all in the same: by state, by RSS."""
    rng = np.random.default_rng(2)
    fold = Fold()
    before = _rss()
    ids = [f"at://did:plc:{number:024}/app.bsky.feed.post/{number:013}" for number in range(POSTS)]
    for start in range(0, POSTS, RUN):
        fold.add(ids[start : start + RUN], np.zeros(RUN, np.uint16))
    for number in range(10):
        for start in range(0, POSTS, RUN):
            minutes = np.full(RUN, START + (number if spread else 0))
            fold.add_events(np.arange(start, start + RUN), likes(rng, minutes))
    return fold.bytes / POSTS, (_rss() - before) / POSTS


def cells() -> tuple[float, float]:
    """Bytes a cell of the conversation fold, ten of each conversation and minute: by state, by RSS."""
    rng = np.random.default_rng(5)
    fold = ConversationFold()
    before = _rss()
    for start in range(0, MANY, RUN):
        groups = RUN // 10
        names = texts([f"thread:at://did:plc:{number:024}" for number in range(groups)])
        posts, voices = (rng.integers(0, 2**63, count).astype(np.uint64) for count in (RUN, 3 * RUN))
        one = np.ones(RUN, np.int64)
        fold.add_cells(
            CellArrays(
                names,
                np.arange(RUN) % groups,
                posts,
                np.full(RUN, START + start // RUN),
                np.ones((RUN, len(CELL_COUNTS)), np.int64),
                Sets(one.astype(np.uint64), one),
                Sets(voices, 3 * one),
                one.astype(np.bool_),
                one.astype(np.uint64),
            )
        )
    return fold.bytes / MANY, (_rss() - before) / MANY


def series() -> tuple[float, float]:
    """Bytes a series of the spike detector, with its name: by state, by RSS."""
    before = _rss()
    bank = Bank()
    tracked = TrackedSeries(bank, MANY)
    for start in range(0, MANY, RUN):
        names = [f"thread:at://did:plc:{number:024}" for number in range(start, start + RUN)]
        bank.update_many(tracked.touch(names, START, ()), START * 60, np.ones(RUN, np.int64))
    return tracked.nbytes / MANY, (_rss() - before) / MANY


def known_posts() -> tuple[float, float]:
    """Bytes a post that the log has: by state, by RSS."""
    rng = np.random.default_rng(6)
    before = _rss()
    known = KnownPosts(1 << 30)
    for _ in range(0, MANY, RUN):
        known.add(rng.integers(0, 2**63, RUN).astype(np.uint64))
    return known.bytes / MANY, (_rss() - before) / MANY


def cost_of_an_event(posts: int, uniform: bool) -> float:
    """CPU us an event, from its post_id on, with `posts` posts of about four events in memory."""
    rng = np.random.default_rng(3)
    fold = Fold()
    ids = [f"post-{number:012}" for number in range(posts)]
    for start in range(0, 3 * posts, RUN):
        chosen = np.arange(start, min(start + RUN, 3 * posts)) % posts
        _take(fold, [ids[number] for number in chosen], likes(rng, START + rng.integers(0, 120, len(chosen))))
    runs = []
    for _ in range(max(20, posts // RUN)):
        chosen = rng.integers(0, posts, RUN) if uniform else rng.zipf(1.2, RUN) % posts
        runs.append(([ids[number] for number in chosen], likes(rng, START + rng.integers(0, 120, RUN))))
    before = time.process_time()
    for post_ids, events in runs:
        _take(fold, post_ids, events)
    return (time.process_time() - before) / RUN / len(runs) * 1e6


def tree(nodes: int, depth: int) -> tuple[float, float, int]:
    """CPU us a node, bytes a node and levels of trees that one post in turn has: each node below one of those that came
    shortly before it, so that there are about `depth` levels. Two thirds are shares; a person has 1.3 on average."""
    rng = np.random.default_rng(4)
    count = max(1, TREE_RUNS // nodes)
    codes = np.array([0, trees.code_of(1), trees.code_of(2)], np.uint64)
    spent = 0.0
    fold = Fold()
    posts = fold.add([f"post-{number}" for number in range(count)], np.zeros(count, np.uint16))
    empty = fold.bytes
    for post in posts:
        ids = rng.integers(1, 2**63, nodes).astype(np.uint64)
        places = np.arange(nodes)
        parents = np.where(places, ids[np.maximum(places - 1 - _backwards(rng, nodes, depth), 0)], 0)
        kinds = np.where(rng.random(nodes) < 2 / 3, 1, 2).astype(np.int8)
        for start in range(0, nodes, RUN):
            part = slice(start, start + RUN)
            events = likes(rng, START + places[part] // 50)
            actors = events.actors % np.uint64(max(1, nodes * 3 // 4))
            keys = ids[part] + codes[kinds[part]]
            run = events._replace(keys=keys, actors=actors, measures=kinds[part], parents=parents[part])
            owners = np.full(len(keys), post)
            before = time.process_time()
            fold.add_events(owners, run)
            found = fold.trees(np.array([post]))
            spent += time.process_time() - before
    return spent / nodes / count * 1e6, (fold.bytes - empty) / nodes / count, int(found.depths[0, 0])


def _backwards(rng: np.random.Generator, nodes: int, depth: int) -> Any:
    """How many nodes before its predecessor each one's parent came."""
    if depth >= nodes:
        return np.zeros(nodes, np.int64)
    return rng.integers(
        0, np.maximum(np.arange(nodes) if depth < 10 else np.minimum(np.arange(nodes), 2 * nodes // depth), 1)
    )


def likes(rng: np.random.Generator, minutes: Any) -> Identities:
    """Distinct likes of random actors."""
    count = len(minutes)
    small = np.zeros(count, np.int8)
    keys, actors = (rng.integers(0, 2**63, count).astype(np.uint64) for _ in range(2))
    none = np.zeros(count, np.uint64)
    return Identities(keys, none, actors, none, minutes.astype(np.uint32), none.astype(np.uint32), small, small, none)


def _take(fold: Fold, post_ids: list[str], events: Identities) -> None:
    rows = fold.find(post_ids)
    missing = list(dict.fromkeys(post_ids[number] for number in np.flatnonzero(rows < 0).tolist()))
    if missing:
        fold.add(missing, np.zeros(len(missing), np.uint16))
        rows = fold.find(post_ids)
    fold.add_events(rows, events)


def _rss() -> int:
    return int(psutil.Process().memory_info().rss)


def _warm_up() -> None:
    """Loads every loop and lets the allocator have its arenas, so that they are not taken for state."""
    tune()
    fold, rng = Fold(), np.random.default_rng(0)
    for _ in range(3):
        _take(fold, [f"post-{number}" for number in range(RUN)], likes(rng, np.full(RUN, START)))


def _alone(work: Callable[..., Any], *arguments: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1, _warm_up) as pool:
        return pool.apply(work, arguments)


if __name__ == "__main__":
    sys.exit(main())

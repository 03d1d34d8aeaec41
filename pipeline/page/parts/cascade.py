"""The cascade of a post as the browser draws a tree, and the people who carried the post."""

from typing import Any, Final

from pipeline.page.parts.trees import ROOT, PostTree

MOST_DRAWN: Final = 4000
"""Nodes that are drawn: those with most nodes below them, so that the shape stays. Their parents are among them."""

MOST_NAMED: Final = 600
"""Drawn nodes whose person is named when one points at them."""

BRANCHES: Final = 6
"""Branches that have a colour and a line of words."""

LARGE_BRANCH: Final = 0.5
"""A branch with more than this share of the tree is divided into those below it."""


def drawn_cascade(tree: PostTree) -> dict[str, Any]:
    """Returns the drawn nodes as columns, and the largest branches, by place among the drawn nodes."""
    ranked = sorted(range(len(tree.events)), key=lambda place: (-tree.sizes[place], place))
    kept = sorted(ranked[:MOST_DRAWN])
    place_of = {place: new for new, place in enumerate(kept)} | {ROOT: ROOT}
    hidden = [0] * (len(kept) + 1)
    for place in ranked[MOST_DRAWN:]:
        above = tree.parents[place]
        while above not in place_of:
            above = tree.parents[above]
        hidden[place_of[above]] += tree.counted[place]
    return {
        "total": tree.total,
        "waiting": tree.waiting,
        "direct": sum(parent == ROOT for parent in tree.parents),
        "depth": max(tree.depths, default=0),
        "parents": [place_of[tree.parents[place]] for place in kept],
        "times": [round(tree.events[place]["at"]) for place in kept],
        "sizes": [tree.sizes[place] for place in kept],
        "gone": [new for new, place in enumerate(kept) if not tree.counted[place]],
        "hidden": {new: count for new, count in enumerate(hidden[:-1]) if count},
        "hidden_below_post": hidden[-1],
        "names": {place_of[place]: tree.events[place]["actor_id"] for place in ranked[: min(MOST_NAMED, MOST_DRAWN)]},
        "branches": [_branch(tree, place, place_of) for place in largest_branches(tree)],
    }


def largest_branches(tree: PostTree) -> list[int]:
    """Returns the roots of the largest subtrees that do not overlap, the largest first.

    They begin below the post. As long as one has most of the whole cascade, the branches below it take its place, so
    that the list names those who made the difference and not only the first who passed the post on.
    """
    children = tree.children()
    found = sorted(children[ROOT], key=lambda place: -tree.sizes[place])
    while found and tree.sizes[found[0]] > LARGE_BRANCH * tree.total:
        below = [place for place in children[found[0]] if tree.sizes[place] > 1]
        if len(below) < 2:
            break
        found = sorted([*found[1:], *below], key=lambda place: -tree.sizes[place])
    return [place for place in found[:BRANCHES] if tree.sizes[place] > 1]


def _branch(tree: PostTree, place: int, place_of: dict[int, int]) -> dict[str, Any]:
    event = tree.events[place]
    direct = sum(parent == place for parent in tree.parents)
    return {
        "node": place_of.get(place, ROOT),
        "actor": event["actor_id"],
        "channel": event["channel"],
        "at": event["at"],
        "size": tree.sizes[place] - tree.counted[place],
        "direct": direct,
        "depth": tree.depths[place],
        "share": tree.sizes[place] / max(tree.total, 1),
    }

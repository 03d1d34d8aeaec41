"""The thread under a post: who answered whom, and who waits for an answer by the author or an account of the brand."""

from collections.abc import Callable
from typing import Any, Final

from pipeline.page.parts.trees import ROOT, PostTree

MOST_COMMENTS: Final = 120
"""Comments that are shown: threads of those who wait come first, then the newest."""

TEXT: Final = 600
"""Characters of a comment that are shown."""


def waiting_comments(tree: PostTree, speaks: Callable[[str], bool]) -> set[int]:
    """Returns the places of counted audience comments without a direct answer of the brand. `speaks` tells whether an
    account speaks for the brand of this post."""
    answered = {
        parent
        for place, parent in enumerate(tree.parents)
        if tree.counted[place] and speaks(tree.events[place]["actor_id"])
    }
    return {
        place
        for place, event in enumerate(tree.events)
        if tree.counted[place] and place not in answered and not speaks(event["actor_id"])
    }


def shown_thread(tree: PostTree, speaks: Callable[[str], bool] | None) -> dict[str, Any]:
    """Returns the thread in reading order. Without `speaks` nobody knows who waits, because the author is not known."""
    waiting = waiting_comments(tree, speaks) if speaks else set()
    children = tree.children()
    # For each top-level comment: does somebody below wait, and when was the newest comment?
    newest = [event["at"] for event in tree.events]
    waits = [place in waiting for place in range(len(tree.events))]
    for place in range(len(tree.events) - 1, -1, -1):
        if (parent := tree.parents[place]) != ROOT:
            newest[parent] = max(newest[parent], newest[place])
            waits[parent] = waits[parent] or waits[place]
    order: list[int] = []
    tops = sorted(children[ROOT], key=lambda place: (not waits[place], -newest[place]))
    stack = list(reversed(tops))
    while stack and len(order) < MOST_COMMENTS:
        place = stack.pop()
        order.append(place)
        stack += sorted(children[place], key=lambda child: -tree.events[child]["at"])
    return {
        "total": tree.total,
        "unplaced": tree.waiting,
        "waiting": len(waiting) if speaks else None,
        "oldest_waiting_at": min((tree.events[place]["at"] for place in waiting), default=None),
        "comments": [
            {
                "actor": tree.events[place]["actor_id"] if tree.counted[place] else "",
                "text": tree.events[place]["text"][:TEXT] if tree.counted[place] else "",
                "at": tree.events[place]["at"],
                "depth": tree.depths[place],
                "gone": not tree.counted[place],
                "waits": place in waiting,
                "brand": bool(speaks and speaks(tree.events[place]["actor_id"])),
                "answers": len(children[place]),
            }
            for place in order
        ],
    }

"""The trees of a post from its events: who passed it on from whom, and who answered whom.

A share hangs under its nearest share ancestor, a comment under its nearest comment ancestor, or under the post. Added
events alone make the shape; a node that was taken back stays, uncounted, where others hang under it. A node whose
chain of parents has a gap or a circle waits outside the tree (docs/metrics.md).
"""

from dataclasses import dataclass, field
from typing import Final

from pipeline.page.query import PageRow

ROOT: Final = -1
"""The place of the post itself, the root of both trees."""

TREE_KINDS: Final = ("share", "comment")


@dataclass
class PostTree:
    """The tree of one kind. Nodes are in breadth-first order, so a parent comes before its children."""

    events: list[PageRow] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    """Place of each node's parent, ROOT for the post."""
    counted: list[bool] = field(default_factory=list)
    """Whether a node counts: False for one that was taken back and still carries others."""
    depths: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    """Counted nodes at and below each node."""
    waiting: int = 0
    """Nodes outside the tree, because their parents are not known."""

    @property
    def total(self) -> int:
        """The number of counted nodes."""
        return sum(self.counted)

    def children(self) -> list[list[int]]:
        """Returns the places of each node's children; those of the post are the last list."""
        found: list[list[int]] = [[] for _ in range(len(self.events) + 1)]
        for place, parent in enumerate(self.parents):
            found[parent].append(place)
        return found


def build_trees(rows: list[PageRow], post_id: str) -> dict[str, PostTree]:
    """Builds the trees of shares and of comments from rows of `sql.READ_TREE_EVENTS`, in any order."""
    adds = [row for row in rows if row["action"] == "add"]
    gone = {(row["kind"], row["target_id"]) for row in rows if row["action"] == "retract"}
    at = {(row["kind"], row["event_id"]): place for place, row in enumerate(adds)}
    below: dict[int, list[int]] = {}
    for place, row in enumerate(adds):
        below.setdefault(_parent_of(row, at, post_id), []).append(place)
    # Walk from the post downwards; each step knows its nearest ancestor of either kind.
    nearest = {ROOT: (ROOT, ROOT)}
    reached = [ROOT]
    for above in reached:
        for place in below.get(above, ()):
            shares, comments = nearest[above]
            nearest[place] = (place, comments) if adds[place]["kind"] == "share" else (shares, place)
            reached.append(place)
    above_of = {
        place: nearest[_parent_of(adds[place], at, post_id)][TREE_KINDS.index(adds[place]["kind"])]
        for place in reached[1:]
    }
    return {kind: _tree(kind, adds, reached[1:], above_of, gone) for kind in TREE_KINDS}


_NOWHERE: Final = -2


def _parent_of(row: PageRow, at: dict[tuple[str, str], int], post_id: str) -> int:
    parent = row["parent_id"]
    if parent in ("", post_id):
        return ROOT
    other = TREE_KINDS[1 - TREE_KINDS.index(row["kind"])]
    return at.get((row["kind"], parent), at.get((other, parent), _NOWHERE))


def _tree(
    kind: str, adds: list[PageRow], reached: list[int], above_of: dict[int, int], gone: set[tuple[str, str]]
) -> PostTree:
    mine = [place for place in reached if adds[place]["kind"] == kind]
    counts = {place: (kind, adds[place]["event_id"]) not in gone for place in mine}
    sizes = dict.fromkeys(mine, 0)
    for place in reversed(mine):
        sizes[place] += counts[place]
        if above_of[place] != ROOT:
            sizes[above_of[place]] += sizes[place]
    tree = PostTree()
    new_place: dict[int, int] = {ROOT: ROOT}
    for place in mine:
        if not sizes[place]:
            continue
        parent = new_place[above_of[place]]
        new_place[place] = len(tree.events)
        tree.events.append(adds[place])
        tree.parents.append(parent)
        tree.counted.append(counts[place])
        tree.depths.append(1 if parent == ROOT else tree.depths[parent] + 1)
        tree.sizes.append(sizes[place])
    known = set(mine)
    tree.waiting = sum(
        row["kind"] == kind and place not in known and (kind, row["event_id"]) not in gone
        for place, row in enumerate(adds)
    )
    return tree

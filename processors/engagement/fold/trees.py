"""The trees of a post: its shares, its comments, and both. Compiled loops, which run after the loop over events.

The structure follows from the adds alone, so it only grows: a retraction leaves the node as a carrier of the nodes
below it, without counting it. A node is in the trees once all its ancestors are known; until then it waits in the list
of its parent's hash. Each node keeps its nearest ancestor of either kind, one of which is its parent, so its place in
the tree of all and in the tree of its own kind (which skips the other kind) is found in O(1) at any depth.

Structural virality needs s(v), the counted nodes at and below v: W = n S - sum of s(v)^2 over all v but the post, S the
sum of depths (each edge is on s (n - s) of the paths). A new node changes s for all its ancestors: O(depth). Once the
steps up exceed the nodes of the post, sizes are left stale until the trees are read and are then computed anew in
O(nodes), so that a chain of 100,000 nodes costs as much as a star.

Where a share and a comment have the same event_id (twins), the node that a parent_id names depends on all other events:
all trees of such a post are built anew before they are read.
"""

from typing import Final

import numpy as np
from numba import njit

from processors.columnar.panes import NONE
from processors.engagement.fold.columns import KEY_CODE
from processors.engagement.fold.hash_index import append, find
from processors.engagement.fold.layout import (
    COMMENT,
    COMMENT_TREE,
    COUNTED,
    MEASURE_OF_TREE,
    MIXED,
    N_LEVELS,
    N_NODES,
    N_WAITERS,
    N_WAITING,
    NAMES,
    SHARE_TREE,
    TREE_COUNT,
)

ALL: Final = 0
"""The tree of shares and comments together: a place in `levels` and `squares` of a post, beside SHARE_TREE and
COMMENT_TREE."""

SLACK: Final = 1000
"""Steps up that are always taken between two readings of the trees."""


@njit(cache=True, nogil=True, inline="always")
def own_tree(t, node):
    """Returns the tree of the node's own kind: SHARE_TREE or COMMENT_TREE."""
    return COMMENT_TREE if t.nodes[node].flags & COMMENT else SHARE_TREE


@njit(cache=True, nogil=True, inline="always")
def kin_of(t, node):
    """Returns the nearest ancestor of the node's own kind, NONE for the post."""
    return t.nodes[node].across if t.nodes[node].flags & MIXED else t.nodes[node].parent


@njit(cache=True, nogil=True)
def code_of(tree):
    """Returns the difference between the key of an event and the hash of its event_id (columns.py), for nodes of a
    tree."""
    return np.uint64(2 * (MEASURE_OF_TREE[tree] + 1) + 1) * KEY_CODE


@njit(cache=True, nogil=True)
def id_of(t, node):
    """Returns the hash of the node's event_id."""
    return t.events[t.nodes[node].event].key - code_of(own_tree(t, node))


@njit(cache=True, nogil=True)
def named_by(t, post, parent, kind):
    """Finds the node that a node of this kind names by the hash of its parent, one of its own kind first; NONE where
    there is none."""
    event = find(t.events, t.event_index, post, parent + code_of(kind))
    if event < 0:
        event = find(t.events, t.event_index, post, parent + code_of(SHARE_TREE + COMMENT_TREE - kind))
    return t.events[event].actor if event >= 0 else NONE


@njit(cache=True, nogil=True)
def grow(t, first, faded, limit):
    """Puts the nodes from row `first` on into the trees, and takes `faded` nodes out of the counts. Skips posts of more
    than `limit` events. Amortised O(1) per node, and O(depth) while depths are small."""
    # Older nodes come first: whether a new node counts is told by its flag.
    for i in range(len(faded)):
        if faded[i] < first and t.posts[t.events[t.nodes[faded[i]].event].post].events_seen <= limit:
            fade(t, np.uint32(faded[i]))
    for node in range(first, t.sizes[N_NODES]):
        if t.posts[t.events[t.nodes[node].event].post].events_seen <= limit:
            plant(t, np.uint32(node))


@njit(cache=True, nogil=True)
def fade(t, node):
    """Takes a node out of all counts of its trees."""
    post, kind = t.events[t.nodes[node].event].post, own_tree(t, node)
    tree = t.posts[post].tree
    if t.nodes[node].flags & NAMES:
        t.trees[tree].named[kind - 1] -= 1
    if t.trees[tree].twins:
        t.trees[tree].stale = 1
    elif t.nodes[node].level != NONE:
        t.levels[t.nodes[node].level].count -= 1
        t.levels[t.nodes[node].kin_level].count -= 1
        climb(t, post, node, -1)


@njit(cache=True, nogil=True)
def plant(t, node):
    """Puts a new node into the trees, with all nodes that waited for it, or into the list of its missing parent."""
    event = t.nodes[node].event
    post, kind, flags = t.events[event].post, own_tree(t, node), t.nodes[node].flags
    tree = t.posts[post].tree
    if flags & NAMES and flags & COUNTED:
        t.trees[tree].named[kind - 1] += 1
    if not t.trees[tree].twins:
        twin = find(t.events, t.event_index, post, id_of(t, node) + code_of(SHARE_TREE + COMMENT_TREE - kind))
        t.trees[tree].twins = 1 if twin >= 0 else 0
    if t.trees[tree].twins:
        t.trees[tree].stale = 1
        return
    parent = NONE
    if flags & NAMES:
        hash_ = parent_hash(t, node)
        parent = named_by(t, post, hash_, kind)
        if parent == NONE or t.nodes[parent].level == NONE:
            wait(t, post, tree, node, hash_)
            return
    # The nodes form a queue: `parent` is the next one in the queue, `across` the parent to be.
    queue = node
    t.nodes[node].parent, t.nodes[node].across = NONE, parent
    while queue != NONE:
        node, parent = queue, t.nodes[queue].across
        queue = t.nodes[node].parent
        attach(t, post, node, parent)
        climb(t, post, node, 1)
        if t.trees[tree].waits:
            row = find(t.waiting, t.waiting_index, post, id_of(t, node))
            if row >= 0:
                waiter = t.waiting[row].head
                t.waiting[row].head = NONE
                while waiter != NONE:
                    next_ = t.nodes[waiter].parent
                    t.nodes[waiter].parent, t.nodes[waiter].across = queue, node
                    queue = waiter
                    t.trees[tree].waits -= 1
                    t.sizes[N_WAITERS] -= 1
                    waiter = next_


@njit(cache=True, nogil=True)
def parent_hash(t, node):
    """Returns the hash of the parent_id of a node that is in no tree."""
    return np.uint64(t.nodes[node].size) | np.uint64(t.nodes[node].kin_size) << np.uint64(32)


@njit(cache=True, nogil=True)
def wait(t, post, tree, node, hash_):
    """Puts a node into the list of those that wait for the parent with this hash."""
    row = find(t.waiting, t.waiting_index, post, hash_)
    if row < 0:
        row = append(t.waiting, t.waiting_index, t.sizes, N_WAITING, row, post, hash_)
        t.waiting[row].head = NONE
    t.nodes[node].parent = t.waiting[row].head
    t.waiting[row].head = node
    t.trees[tree].waits += 1
    t.sizes[N_WAITERS] += 1


@njit(cache=True, nogil=True)
def attach(t, post, node, parent):
    """Attaches a node without children to its parent, which is in the trees (NONE: the post)."""
    kind = own_tree(t, node)
    t.nodes[node].parent = parent
    t.nodes[node].across = NONE
    t.nodes[node].flags &= ~MIXED
    if parent != NONE:
        # The nearest ancestor of the kind that the parent is not: the parent's own parent, or its `across`.
        above = t.nodes[parent].parent if t.nodes[parent].flags & MIXED else t.nodes[parent].across
        t.nodes[node].across = above
        if own_tree(t, parent) != kind:
            t.nodes[node].flags |= MIXED
    kin = kin_of(t, node)
    above = t.nodes[parent].level if parent != NONE else NONE
    t.nodes[node].level = level_below(t, post, ALL, above)
    above = t.nodes[kin].kin_level if kin != NONE else NONE
    t.nodes[node].kin_level = level_below(t, post, kind, above)
    if t.nodes[node].flags & COUNTED:
        t.levels[t.nodes[node].level].count += 1
        t.levels[t.nodes[node].kin_level].count += 1
    t.nodes[node].size = 0
    t.nodes[node].kin_size = 0


@njit(cache=True, nogil=True)
def level_below(t, post, which, above):
    """Finds or makes the level of a tree below the level `above` (NONE: below the post)."""
    level = t.posts[post].levels[which] if above == NONE else t.levels[above].next
    if level == NONE:
        level = np.uint32(t.sizes[N_LEVELS])
        t.sizes[N_LEVELS] += 1
        t.levels[level].next = NONE
        t.levels[level].count = 0
        if above == NONE:
            t.levels[level].depth = 1
            t.posts[post].levels[which] = level
        else:
            t.levels[level].depth = t.levels[above].depth + 1
            t.levels[above].next = level
    return level


@njit(cache=True, nogil=True)
def climb(t, post, node, change):
    """Adds `change` (1 or -1) to the sizes of this node and its ancestors, in both trees of the node."""
    tree = t.posts[post].tree
    if t.trees[tree].stale or (change > 0 and not t.nodes[node].flags & COUNTED):
        return
    t.trees[tree].climbed += t.levels[t.nodes[node].level].depth + t.levels[t.nodes[node].kin_level].depth
    if t.trees[tree].climbed > t.trees[tree].nodes + SLACK:
        t.trees[tree].stale = 1
        return
    kind, above = own_tree(t, node), node
    squares = np.int64(0)
    while above != NONE:
        squares += 2 * change * np.int64(t.nodes[above].size) + 1
        t.nodes[above].size += change
        above = t.nodes[above].parent
    t.trees[tree].squares[ALL] += np.uint64(squares)
    squares, above = np.int64(0), node
    while above != NONE:
        squares += 2 * change * np.int64(t.nodes[above].kin_size) + 1
        t.nodes[above].kin_size += change
        above = kin_of(t, above)
    t.trees[tree].squares[kind] += np.uint64(squares)


@njit(cache=True, nogil=True)
def describe_trees(t, posts, limit, sizes, depths, breadths, wieners, levels, named):
    """Writes the numbers of each post's three trees (all, shares, comments): nodes with the post, greatest depth,
    largest level, Wiener index, nodes of level 1, 2, ... as far as `levels` has room, and nodes that name a parent.
    Leaves the zeros of posts of more than `limit` events."""
    for i in range(len(posts)):
        post = posts[i]
        if t.posts[post].events_seen > limit:
            continue
        tree = t.posts[post].tree
        for which in range(TREE_COUNT):
            size, depth, breadth, total = np.uint64(1), np.uint32(0), np.uint32(1), np.uint64(0)
            level = t.posts[post].levels[which]
            while level != NONE:
                count = t.levels[level].count
                if count:
                    depth = t.levels[level].depth
                    breadth = max(breadth, count)
                    size += np.uint64(count)
                    total += np.uint64(count) * np.uint64(depth)
                    if depth <= levels.shape[2]:
                        levels[i, which, depth - 1] = count
                level = t.levels[level].next
            sizes[i, which], depths[i, which], breadths[i, which] = size, depth, breadth
            if tree != NONE:
                wieners[i, which] = size * total - t.trees[tree].squares[which]
                named[i, which] = (
                    t.trees[tree].named[which - 1] if which else t.trees[tree].named[0] + t.trees[tree].named[1]
                )


@njit(cache=True, nogil=True)
def mark_levels(posts, chosen, levels, marks):
    """Sets `marks` for the levels of the chosen posts."""
    for post in range(len(chosen)):
        if chosen[post]:
            for which in range(TREE_COUNT):
                level = posts[post].levels[which]
                while level != NONE:
                    marks[level] = True
                    level = levels[level].next

"""The trees of a post: what was shared from what, and what answers what. Compiled loops over the tables of tables.py,
which run after those of kernels.py.

The structure follows from the adds alone, so it only grows: a retraction makes a ghost of a node, which carries what
hangs below it and is in no count. A node is in the trees once all parents up to the post are known; until then it waits
in the list of its parent's hash. It keeps its nearest ancestor of either kind, one of which is the parent: so its place
in the tree of all and in that of its own kind (where the other kind is skipped) is found in O(1), whatever the depth.

Structural virality needs s(v), the counted nodes at and below v: W = n S - sum of s(v)^2 over all v but the post, S the
sum of depths (each edge is on s (n - s) of the paths). A new node changes it for all above it: O(depth), which is fine
for what people do. Once the steps up exceed the nodes of the post, the sizes are left alone until somebody looks, and
are then built anew in O(nodes): a chain of 100,000 costs what a star costs.

A share and a comment of one event_id (twins) make the parent that an id names depend on what else there is: all trees
of such a post are built anew for whoever looks.
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
"""The tree of shares and comments; 1 is that of shares, 2 that of comments. Order of levels and squares of a post."""

SLACK: Final = 1000
"""Steps up that are always allowed between two looks."""


@njit(cache=True, nogil=True, inline="always")
def own_tree(t, node):
    """The tree of the node's own kind: SHARE_TREE or COMMENT_TREE."""
    return COMMENT_TREE if t.nodes[node].flags & COMMENT else SHARE_TREE


@njit(cache=True, nogil=True, inline="always")
def kin_of(t, node):
    """The nearest ancestor of the node's own kind, NONE where it is the post."""
    return t.nodes[node].across if t.nodes[node].flags & MIXED else t.nodes[node].parent


@njit(cache=True, nogil=True)
def code_of(tree):
    """The difference between the hash of an event_id and the key of that event (columns.py), for nodes of a tree."""
    return np.uint64(2 * (MEASURE_OF_TREE[tree] + 1) + 1) * KEY_CODE


@njit(cache=True, nogil=True)
def id_of(t, node):
    """Hash of the node's event_id."""
    return t.events[t.nodes[node].event].key - code_of(own_tree(t, node))


@njit(cache=True, nogil=True)
def named_by(t, post, parent, kind):
    """The node that a node of this kind means by the hash of its parent, NONE where it is not there: of its own kind if
    there is one."""
    event = find(t.events, t.event_index, post, parent + code_of(kind))
    if event < 0:
        event = find(t.events, t.event_index, post, parent + code_of(SHARE_TREE + COMMENT_TREE - kind))
    return t.events[event].actor if event >= 0 else NONE


@njit(cache=True, nogil=True)
def grow(t, first, faded, limit):
    """Puts the nodes from row `first` on into the trees, and takes `faded` nodes out of the counts. Posts of more than
    `limit` events are left alone. Amortised O(1) per node, and O(depth) as long as that is little."""
    # First what was there before: a node that comes in below is counted, or not, by its flag.
    for i in range(len(faded)):
        if faded[i] < first and t.posts[t.events[t.nodes[faded[i]].event].post].events_seen <= limit:
            fade(t, np.uint32(faded[i]))
    for node in range(first, t.sizes[N_NODES]):
        if t.posts[t.events[t.nodes[node].event].post].events_seen <= limit:
            plant(t, np.uint32(node))


@njit(cache=True, nogil=True)
def fade(t, node):
    """A node that is not counted any more."""
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
    """A new node: into the trees with all that waited for it, or to wait itself."""
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
    # A queue through the nodes themselves: `parent` is the next in it, `across` the parent to be.
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
    """Hash of the parent_id of a node that is in no tree."""
    return np.uint64(t.nodes[node].size) | np.uint64(t.nodes[node].kin_size) << np.uint64(32)


@njit(cache=True, nogil=True)
def wait(t, post, tree, node, hash_):
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
    """Hangs a node under its parent, which is in the trees (NONE: the post), with nothing below it yet."""
    kind = own_tree(t, node)
    t.nodes[node].parent = parent
    t.nodes[node].across = NONE
    t.nodes[node].flags &= ~MIXED
    if parent != NONE:
        # The nearest of the kind that the parent is not: above the parent, or what the parent has across.
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
    """The level under another one of that tree (NONE: under the post), made when it is not there."""
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
    """One counted node more or less (`change` 1 or -1) at this node and above it, in both its trees."""
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
    """The trees of these posts, three each (all, shares, comments), as their levels tell: nodes with the post, greatest
    depth, largest level, Wiener index, nodes of level 1, 2, ... as far as there is room in `levels`, and those that
    name a parent. 0 for a post of more than `limit` events."""
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
    """Marks the levels of the posts that are chosen."""
    for post in range(len(chosen)):
        if chosen[post]:
            for which in range(TREE_COUNT):
                level = posts[post].levels[which]
                while level != NONE:
                    marks[level] = True
                    level = levels[level].next

"""The compiled loops that build trees anew (trees.py): sizes in one pass where updates were put off, and the whole
structure of posts with twins. O(nodes) of a post, before its trees are read.
"""

from typing import Final

import numpy as np
from numba import njit

from processors.columnar.panes import NONE
from processors.engagement.fold.layout import COUNTED, NAMES, TREE_COUNT
from processors.engagement.fold.trees import ALL, attach, id_of, kin_of, named_by, own_tree, parent_hash

UNSEEN: Final = np.uint32(NONE - 1)
"""The level of a node that the rebuild has not met yet."""


@njit(cache=True, nogil=True)
def settle(t, posts, limit, nodes, order, starts):
    """Builds the trees of these posts anew where they are stale. `nodes` and `order` have room for the nodes of any one
    post, `starts` for two more."""
    for i in range(len(posts)):
        post = posts[i]
        tree = t.posts[post].tree
        if tree == NONE or t.posts[post].events_seen > limit:
            continue
        t.trees[tree].climbed = 0
        if t.trees[tree].stale:
            count = collect(t, post, nodes)
            if t.trees[tree].twins:
                replant(t, post, nodes[:count], order)
            resize(t, post, nodes[:count], order, starts)
            t.trees[tree].stale = 0


@njit(cache=True, nogil=True)
def collect(t, post, nodes):
    """Writes the nodes of the post to `nodes`, in no order; returns their number."""
    count = 0
    for pane in (t.posts[post].ordered, t.posts[post].late):
        while pane != NONE:
            node = t.panes[pane].nodes
            while node != NONE:
                nodes[count] = node
                count += 1
                node = t.nodes[node].beside
            pane = t.panes[pane].next
    return count


@njit(cache=True, nogil=True)
def replant(t, post, nodes, path):
    """Builds the structure of the post's trees anew from the parents that its nodes name. `path` has room for all
    nodes.

    Each node is reset to the state of a new one, gets the parent that it names now, and is attached once its parent is.
    Nodes that end in no tree are in no list of waiting ones either.
    """
    for which in range(TREE_COUNT):
        level = t.posts[post].levels[which]
        while level != NONE:
            t.levels[level].count = 0
            level = t.levels[level].next
    for i in range(len(nodes)):
        node = nodes[i]
        if t.nodes[node].level != NONE and t.nodes[node].flags & NAMES:
            # The parent may have been reset already, which leaves its id as it is.
            hash_ = id_of(t, t.nodes[node].parent)
            t.nodes[node].size = np.uint32(hash_ & np.uint64(0xFFFFFFFF))
            t.nodes[node].kin_size = np.uint32(hash_ >> np.uint64(32))
        t.nodes[node].level = NONE
        t.nodes[node].kin_level = UNSEEN
    for i in range(len(nodes)):
        length, node = 0, nodes[i]
        while node != NONE and t.nodes[node].kin_level == UNSEEN:
            path[length] = node
            length += 1
            t.nodes[node].kin_level = NONE
            parent = NONE
            if t.nodes[node].flags & NAMES:
                parent = named_by(t, post, parent_hash(t, node), own_tree(t, node))
                if parent == NONE:
                    break
            t.nodes[node].parent = parent
            node = parent
        else:
            # The path ends at the post or at a node that was met before, which is in the trees, waits, or is part of a
            # circle.
            if node == NONE or t.nodes[node].level != NONE:
                while length:
                    length -= 1
                    attach(t, post, path[length], t.nodes[path[length]].parent)


@njit(cache=True, nogil=True)
def resize(t, post, nodes, order, starts):
    """Computes sizes and squares of the post anew, from the deepest attached nodes up (counting sort by level)."""
    deepest = np.int64(0)
    starts[: len(nodes) + 2] = 0
    for i in range(len(nodes)):
        level = t.nodes[nodes[i]].level
        if level != NONE:
            depth = np.int64(t.levels[level].depth)
            starts[depth] += 1
            deepest = depth if depth > deepest else deepest
            counted = np.uint32(1) if t.nodes[nodes[i]].flags & COUNTED else np.uint32(0)
            t.nodes[nodes[i]].size = counted
            t.nodes[nodes[i]].kin_size = counted
    attached = 0
    for back in range(deepest):
        depth = deepest - back
        starts[depth], attached = attached, attached + starts[depth]
    for i in range(len(nodes)):
        level = t.nodes[nodes[i]].level
        if level != NONE:
            depth = np.int64(t.levels[level].depth)
            order[starts[depth]] = nodes[i]
            starts[depth] += 1
    tree = t.posts[post].tree
    for which in range(TREE_COUNT):
        t.trees[tree].squares[which] = 0
    for i in range(attached):
        node = order[i]
        kind, parent, kin = own_tree(t, node), t.nodes[node].parent, kin_of(t, node)
        size, kin_size = np.uint64(t.nodes[node].size), np.uint64(t.nodes[node].kin_size)
        t.trees[tree].squares[ALL] += size * size
        t.trees[tree].squares[kind] += kin_size * kin_size
        if parent != NONE:
            t.nodes[parent].size += t.nodes[node].size
        if kin != NONE:
            t.nodes[kin].kin_size += t.nodes[node].kin_size

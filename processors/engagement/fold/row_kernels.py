"""The compiled loops that find or make the rows of one event: its pane, channel, actor, node, and the tallies and hot
score of its post.

`t` is a `Tables`. Nothing here allocates.
"""

import numpy as np
from numba import njit

from processors.columnar.hashing import NOBODY
from processors.columnar.panes import NONE
from processors.engagement.fold.hash_index import append, find
from processors.engagement.fold.layout import (
    COMMENT,
    COUNTED,
    N_ACTORS,
    N_CHANNELS,
    N_NODES,
    N_PANES,
    N_TAKEN,
    N_TALLIES,
    N_TREES,
    NAMES,
)
from schemas.metrics import COMMENTS, MEASURE_COUNT


@njit(cache=True, nogil=True)
def pane_at(t, post, minute):
    """Finds or makes the pane of (post, minute). A post has two lists of panes: an ordered one, and one of panes that
    came when a newer one was there."""
    pane = find(t.panes, t.pane_index, post, minute)
    if pane >= 0:
        return pane
    pane = append(t.panes, t.pane_index, t.sizes, N_PANES, pane, post, minute)
    t.panes[pane].taken = NONE
    t.panes[pane].nodes = NONE
    head = t.posts[post].ordered
    if head == NONE or t.panes[head].key < minute:
        t.panes[pane].next = head
        t.posts[post].ordered = pane
    else:
        t.panes[pane].next = t.posts[post].late
        t.posts[post].late = pane
    return pane


@njit(cache=True, nogil=True)
def taken_at(t, pane):
    """Finds or makes the row of `taken` for a pane."""
    taken = np.int64(t.panes[pane].taken)
    if taken == NONE:
        post, minute = t.panes[pane].post, t.panes[pane].key
        missing = find(t.taken, t.taken_index, post, minute)
        taken = append(t.taken, t.taken_index, t.sizes, N_TAKEN, missing, post, minute)
        t.panes[pane].taken = taken
    return taken


@njit(cache=True, nogil=True)
def channel_at(t, post, key):
    """Finds or makes the row of (post, channel)."""
    row = find(t.channels, t.channel_index, post, key)
    if row < 0:
        row = append(t.channels, t.channel_index, t.sizes, N_CHANNELS, row, post, key)
        t.channels[row].next = t.posts[post].channels
        t.posts[post].channels = row
    return row


@njit(cache=True, nogil=True)
def actor_at(t, post, key):
    """Finds or makes the row of (post, actor)."""
    row = find(t.actors, t.actor_index, post, key)
    return row if row >= 0 else append(t.actors, t.actor_index, t.sizes, N_ACTORS, row, post, key)


@njit(cache=True, nogil=True)
def count_actor(t, post, actor, m, change):
    """Counts one engagement of measure m more or less (`change` 1 or -1) for an actor of the post; not for NOBODY,
    since how many people it stands for is not known."""
    if t.actors[actor].key == NOBODY:
        return
    before = np.int64(0)
    for measure in range(MEASURE_COUNT):
        before += np.int64(t.actors[actor].counts[measure])
    t.actors[actor].counts[m] += change
    if change > 0 and t.actors[actor].counts[m] == 1:
        t.posts[post].actors_of[m] += 1
    elif change < 0 and t.actors[actor].counts[m] == 0:
        t.posts[post].actors_of[m] -= 1
    if before + change == 0:
        t.posts[post].actors -= 1
    elif before == 0:
        t.posts[post].actors += 1
    if max(before, before + change) >= 2:
        tally(t, post, before, before + change)


@njit(cache=True, nogil=True)
def tally(t, post, before, after):
    """Moves an actor of the post from the tally of `before` engagements to the one of `after`, which differs by 1.
    Numbers below 2 have no tally.

    Tallies stand in ascending order and none is removed: an empty tally is used again for another number between its
    neighbours. So a post has about as many tallies as its actors have distinct numbers of engagements, at most
    sqrt(2 x its events).
    """
    low = max(min(before, after), 2)
    last, row = NONE, t.posts[post].tallies
    while row != NONE and t.tallies[row].value < low:
        last, row = row, t.tallies[row].next
    if before >= 2:
        old = row if t.tallies[row].value == before else t.tallies[row].next
        t.tallies[old].actors -= 1
        if after > before:
            last, row = row, t.tallies[row].next
    if after < 2:
        return
    if row != NONE and t.tallies[row].value == after:
        t.tallies[row].actors += 1
    elif last != NONE and t.tallies[last].actors == 0:
        t.tallies[last].value, t.tallies[last].actors = after, 1
    elif row != NONE and t.tallies[row].actors == 0:
        t.tallies[row].value, t.tallies[row].actors = after, 1
    else:
        new = t.sizes[N_TALLIES]
        t.sizes[N_TALLIES] = new + 1
        t.tallies[new].post, t.tallies[new].value, t.tallies[new].actors = post, after, 1
        t.tallies[new].next = row
        if last == NONE:
            t.posts[post].tallies = new
        else:
            t.tallies[last].next = new


@njit(cache=True, nogil=True)
def node_of(t, post, event, actor, pane, parent):
    """Makes a node for an event of a share or comment. The node is in no tree yet; its sizes hold the hash of its
    parent until then."""
    tree = np.int64(t.posts[post].tree)
    if tree == NONE:
        tree = t.sizes[N_TREES]
        t.sizes[N_TREES] = tree + 1
        t.trees[tree].post = post
        t.posts[post].tree = tree
    t.trees[tree].nodes += 1
    node = t.sizes[N_NODES]
    t.sizes[N_NODES] = node + 1
    t.nodes[node].event = event
    t.nodes[node].actor = actor
    t.nodes[node].beside = t.panes[pane].nodes
    t.panes[pane].nodes = node
    t.nodes[node].parent = NONE
    t.nodes[node].across = NONE
    t.nodes[node].level = NONE
    t.nodes[node].kin_level = NONE
    t.nodes[node].size = np.uint32(parent & np.uint64(0xFFFFFFFF))
    t.nodes[node].kin_size = np.uint32(parent >> np.uint64(32))
    t.nodes[node].flags = (
        COUNTED | (NAMES if parent else np.uint8(0)) | (COMMENT if t.events[event].measure == COMMENTS else np.uint8(0))
    )
    return node


@njit(cache=True, nogil=True)
def warm(t, post, minute, weight, half_life):
    """Adds weight at the end of `minute` to the hot score of the post, which is kept as of its newest term (forward
    decay)."""
    newest = t.posts[post].hot_minute
    if t.posts[post].hot == 0.0:
        t.posts[post].hot = weight
        t.posts[post].hot_minute = minute
    elif minute > newest:
        t.posts[post].hot = t.posts[post].hot * 2.0 ** (-(np.float64(minute) - newest) / half_life) + weight
        t.posts[post].hot_minute = minute
    else:
        t.posts[post].hot += weight * 2.0 ** (-(np.float64(newest) - minute) / half_life)

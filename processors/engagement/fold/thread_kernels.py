"""The compiled loops behind threads.py, which pass over the comments of a post once."""

from typing import Final

import numpy as np
from numba import njit

from processors.columnar.panes import NONE
from processors.engagement.fold.hash_index import find
from processors.engagement.fold.layout import COMMENT, COMMENT_TREE, COUNTED, N_NODES
from processors.engagement.fold.trees import kin_of
from schemas.metrics import COMMENTS

STRANGER: Final = np.uint32(NONE - 1)
"""Stands for the actor row of an author without any engagement with the own post."""

NEVER_ANSWERED: Final = np.uint32(0xFFFFFFFF)

ONE_WAY: Final = np.uint8(1)
OTHER_WAY: Final = np.uint8(2)
BOTH_WAYS: Final = np.uint8(3)


NUMBERS: Final = ("h_index", "pairs", "mutual", "brand", "audience", "answered", "oldest")
"""The columns of `numbers` in `converse`: h-index, pairs, pairs who answered each other, turns of brand and audience,
audience comments with an answer, minute of the oldest one without (0: none)."""


@njit(cache=True, nogil=True)
def slots_for(most):
    """Returns the size of a hash table for `most` keys: a power of two, so that it is at most half full."""
    places = 4
    while places < 2 * (most + 1):
        places *= 2
    return places


@njit(cache=True, nogil=True)
def converse(
    t,
    posts,
    said,
    newest,
    before,
    own,
    accounts,
    starts,
    members,
    nodes,
    minutes,
    ours,
    table,
    values,
    numbers,
    owners,
    asked,
    waited,
):
    """Reads the conversation under each post. `said` is an upper bound of the net comments in its tree; 0 skips the
    post.

    Writes `numbers` (columns NUMBERS) and, for each audience comment with an answer, the index of its post into
    `owners`, its minute into `asked` and the minutes until the brand's first answer into `waited`; returns the number
    of these. `nodes`, `minutes` and `ours` have room for the comments of any one post, `table` and `values` for
    `slots_for` them.
    """
    answers = 0
    for i in range(len(posts)):
        if said[i] == 0:
            continue
        post = posts[i]
        numbers[i, 0] = h_index(t, t.posts[post].levels[COMMENT_TREE], t.posts[post].net[COMMENTS])
        author = t.posts[post].author
        brand = np.searchsorted(accounts, author)
        beside = members[0:0]
        if brand < len(accounts) and accounts[brand] == author:
            beside = members[starts[brand] : starts[brand + 1]]
        host = find(t.actors, t.actor_index, post, author) if author else np.int64(NONE)
        host = np.uint32(host if host >= 0 else STRANGER)
        size = slots_for(said[i])
        table[:size] = 0
        count = turns = 0
        node = newest[post]
        while node != NONE:
            if t.nodes[node].flags & COUNTED and t.nodes[node].level != NONE:
                actor, kin = t.nodes[node].actor, kin_of(t, node)
                if kin == NONE:
                    pair_up(table, values, size, actor, host, numbers[i])
                elif t.nodes[kin].flags & COUNTED:
                    pair_up(table, values, size, actor, t.nodes[kin].actor, numbers[i])
                if author:
                    key = t.actors[actor].key
                    ours[count] = key == author or among(own, key) or among(beside, key)
                    turns += ours[count]
                    nodes[count], minutes[count] = node, t.events[t.nodes[node].event].minute
                count += 1
            node = before[node]
        if not author:
            continue
        numbers[i, 3], numbers[i, 4] = turns, count - turns
        if turns:
            size = slots_for(turns)
            table[:size] = 0
            for k in range(count):
                kin = kin_of(t, nodes[k])
                if ours[k] and kin != NONE:
                    place = slot_of(table, size, np.uint64(kin) + np.uint64(1))
                    if table[place] == 0:
                        table[place] = np.uint64(kin) + np.uint64(1)
                        values[place] = NEVER_ANSWERED
                    values[place] = min(values[place], minutes[k])
        oldest = NEVER_ANSWERED
        for k in range(count):
            if ours[k]:
                continue
            answer = NEVER_ANSWERED
            if turns:
                place = slot_of(table, size, np.uint64(nodes[k]) + np.uint64(1))
                answer = values[place] if table[place] else NEVER_ANSWERED
            if answer != NEVER_ANSWERED:
                owners[answers] = i
                asked[answers] = minutes[k]
                waited[answers] = max(np.int64(answer) - np.int64(minutes[k]), 0)
                answers += 1
                numbers[i, 5] += 1
            else:
                oldest = min(oldest, minutes[k])
        numbers[i, 6] = oldest if oldest != NEVER_ANSWERED else np.uint32(0)
    return answers


@njit(cache=True, nogil=True)
def link(t, first, newest, before):
    """Adds the comments among the nodes from row `first` on to the lists of their posts, newest first."""
    for node in range(first, t.sizes[N_NODES]):
        if t.nodes[node].flags & COMMENT:
            post = t.events[t.nodes[node].event].post
            before[node] = newest[post]
            newest[post] = node


@njit(cache=True, nogil=True)
def h_index(t, level, left):
    """Returns the largest h with at least h net comments at level h. `level` is the first level, `left` the number of
    net comments."""
    largest = 0
    while level != NONE and t.levels[level].depth <= left:
        depth, count = t.levels[level].depth, t.levels[level].count
        if count >= depth:
            largest = depth
        left -= count
        level = t.levels[level].next
    return largest


@njit(cache=True, nogil=True, inline="always")
def among(accounts, key):
    """Returns whether a sorted array has this key."""
    if len(accounts) == 0:
        return False
    place = np.searchsorted(accounts, key)
    return place < len(accounts) and accounts[place] == key


@njit(cache=True, nogil=True)
def slot_of(table, size, key):
    """Returns the place of a key in the first `size` places of the table, or the free place (0) for the key."""
    place = (key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32) & np.uint64(size - 1)
    while table[place] != 0 and table[place] != key:
        place = (place + np.uint64(1)) & np.uint64(size - 1)
    return place


@njit(cache=True, nogil=True)
def pair_up(table, values, size, actor, answered, numbers):
    """Notes that one actor answered another: counts a new pair, and a pair that has answered both ways."""
    if answered in (NONE, actor):
        return
    low, high = min(actor, answered), max(actor, answered)
    key = np.uint64(low) << np.uint64(32) | np.uint64(high)
    place = slot_of(table, size, key)
    way = ONE_WAY if actor == low else OTHER_WAY
    if table[place] == 0:
        table[place] = key
        values[place] = way
        numbers[1] += 1
    elif values[place] != way and values[place] != BOTH_WAYS:
        values[place] = BOTH_WAYS
        numbers[2] += 1

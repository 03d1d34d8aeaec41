"""The compiled loops behind threads.py: one pass over the comments of a post."""

from typing import Final

import numpy as np
from numba import njit

from processors.columnar.panes import NONE
from processors.engagement.fold.hash_index import find
from processors.engagement.fold.layout import COMMENT, COMMENT_TREE, COUNTED, N_NODES
from processors.engagement.fold.trees import kin_of
from schemas.metrics import COMMENTS

STRANGER: Final = np.uint32(NONE - 1)
"""In place of the actor row of an author who did nothing under his own post."""

NO_MINUTE: Final = np.uint32(0xFFFFFFFF)

ONE_WAY: Final = np.uint8(1)
OTHER_WAY: Final = np.uint8(2)
BOTH_WAYS: Final = np.uint8(3)


NUMBERS: Final = ("h_index", "pairs", "mutual", "brand", "audience", "answered", "oldest")
"""What `converse` writes of each post: h-index, pairs, pairs who answered each other, turns of brand and audience,
audience comments that were answered, minute of the oldest that was not (0: none)."""


@njit(cache=True, nogil=True)
def slots_for(most):
    """Places of a hash table for so many keys: a power of two, at most half full."""
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
    """Reads the conversation of each post that has `said` (most net comments in its tree; 0: it is left alone).

    Writes `numbers` (as NUMBERS has it) and, one place per answered audience comment, its post's place in `posts`, its
    minute and the minutes until the brand's first answer; returns how many of these. Room for the comments of any one
    post in `nodes`, `minutes`, `ours`, and `slots_for` them in `table` and `values`.
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
                        values[place] = NO_MINUTE
                    values[place] = min(values[place], minutes[k])
        oldest = NO_MINUTE
        for k in range(count):
            if ours[k]:
                continue
            answer = NO_MINUTE
            if turns:
                place = slot_of(table, size, np.uint64(nodes[k]) + np.uint64(1))
                answer = values[place] if table[place] else NO_MINUTE
            if answer != NO_MINUTE:
                owners[answers] = i
                asked[answers] = minutes[k]
                waited[answers] = max(np.int64(answer) - np.int64(minutes[k]), 0)
                answers += 1
                numbers[i, 5] += 1
            else:
                oldest = min(oldest, minutes[k])
        numbers[i, 6] = oldest if oldest != NO_MINUTE else np.uint32(0)
    return answers


@njit(cache=True, nogil=True)
def link(t, first, newest, before):
    """Puts the comments among the nodes from row `first` on before those that their posts have."""
    for node in range(first, t.sizes[N_NODES]):
        if t.nodes[node].flags & COMMENT:
            post = t.events[t.nodes[node].event].post
            before[node] = newest[post]
            newest[post] = node


@njit(cache=True, nogil=True)
def h_index(t, level, left):
    """The largest h with at least h of the `left` net comments at level h, from the first level on."""
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
    """Whether a sorted array has this key."""
    if len(accounts) == 0:
        return False
    place = np.searchsorted(accounts, key)
    return place < len(accounts) and accounts[place] == key


@njit(cache=True, nogil=True)
def slot_of(table, size, key):
    """Where the key stands in the first `size` places of the table, or the free place (0) where it belongs."""
    place = (key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32) & np.uint64(size - 1)
    while table[place] != 0 and table[place] != key:
        place = (place + np.uint64(1)) & np.uint64(size - 1)
    return place


@njit(cache=True, nogil=True)
def pair_up(table, values, size, actor, answered, numbers):
    """Notes that one actor answered another; counts the pair once, and once more when it goes both ways."""
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

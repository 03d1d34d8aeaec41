"""The compiled loops that run for every event. Each is a page of plain code over the tables of tables.py; nothing here
allocates or knows of time.

`t` is a `Tables`. The order in which events come changes nothing but which row number a thing gets; tests/test_fold.py
shuffles.
"""

from typing import Final

import numpy as np
from numba import njit

from processors.columnar.panes import NONE as NONE
from schemas.metrics import COMMENTS, MEASURES, NODE_MEASURES, SHARES

NEW: Final = 0
LATE: Final = 1  # new, and more than a minute older than the newest of its post
DUPLICATE: Final = 2
CONFLICTING: Final = 3  # a duplicate that says something else than the first

ADD: Final = 0
RETRACT: Final = 1

EVENTS: Final = 0
ACTORS: Final = 1
TAKEBACKS: Final = 2
PANES: Final = 3
TAKEN: Final = 4
CHANNELS: Final = 5
WAITING: Final = 6
NODES: Final = 7
LEVELS: Final = 8
TALLIES: Final = 9
TREES: Final = 10
WAITERS: Final = 11

MEASURE_COUNT: Final = len(MEASURES)

SHARE_TREE: Final = 1
COMMENT_TREE: Final = 2
TREE_COUNT: Final = 3
"""The trees of a post: 0 that of all its nodes, one of its shares, one of its comments."""

MEASURE_OF_TREE: Final = np.array([-1, SHARES, COMMENTS], np.int8)

TREE_OF: Final = np.zeros(MEASURE_COUNT + 1, np.int8)
"""The tree of the nodes of each measure; 0 where its events are only counted. The last place is that of -1, a post."""
TREE_OF[MEASURE_OF_TREE[1:]] = (SHARE_TREE, COMMENT_TREE)
assert set(np.flatnonzero(TREE_OF).tolist()) == set(NODE_MEASURES)

# Flags of a node.
COUNTED: Final = np.uint8(1)  # no retraction names it
NAMES: Final = np.uint8(2)  # it names a parent that is not the post
COMMENT: Final = np.uint8(4)  # it is a comment, not a share
MIXED: Final = np.uint8(8)  # its parent is a share or comment of the other kind

# An index entry is a row number (26 bits) and one more than 6 bits of the key's hash, so that a probe reads a row of
# another key once in 63.
ROW_BITS: Final = 26
ROW_MASK: Final = (1 << ROW_BITS) - 1
MOST_ROWS: Final = 1 << ROW_BITS


@njit(cache=True, nogil=True, inline="always")
def mix(post, key):
    """64 well-spread bits of (post, key): the finalizer of SplitMix64 (Steele et al. 2014)."""
    h = np.uint64(key) + np.uint64(post) * np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(cache=True, nogil=True, inline="always")
def tag_of(h):
    return np.uint32(np.uint64(h >> np.uint64(58)) % np.uint64(63) + np.uint64(1))


@njit(cache=True, nogil=True, inline="always")
def place_of(h, places):
    """Where the search for a hash begins in an index of so many places (Lemire 2019: no division, any size)."""
    return ((h & np.uint64(0xFFFFFFFF)) * np.uint64(places)) >> np.uint64(32)


@njit(cache=True, nogil=True, inline="always")
def after(place, places):
    place += np.uint64(1)
    return place if place < np.uint64(places) else np.uint64(0)


@njit(cache=True, nogil=True)
def find(rows, index, post, key):
    """The row of (post, key), or -1 - (the free place of the index where it belongs)."""
    h = mix(post, key)
    tag = tag_of(h)
    place = place_of(h, len(index))
    while True:
        entry = index[place]
        if entry == 0:
            return -1 - np.int64(place)
        if entry >> np.uint32(ROW_BITS) == tag:
            row = np.int64(entry & np.uint32(ROW_MASK))
            if rows[row].key == key and rows[row].post == post:
                return row
        place = after(place, len(index))


@njit(cache=True, nogil=True)
def append(rows, index, sizes, table, missing, post, key):
    """A new row for (post, key), which `find` has just answered with `missing`."""
    row = sizes[table]
    sizes[table] = row + 1
    rows[row].post = post
    rows[row].key = key
    index[-1 - missing] = (tag_of(mix(post, key)) << np.uint32(ROW_BITS)) | np.uint32(row)
    return row


@njit(cache=True, nogil=True)
def build_index(rows, size, index):
    """Fills an empty index from the first `size` rows."""
    for row in range(size):
        h = mix(rows[row].post, rows[row].key)
        place = place_of(h, len(index))
        while index[place] != 0:
            place = after(place, len(index))
        index[place] = (tag_of(h) << np.uint32(ROW_BITS)) | np.uint32(row)


@njit(cache=True, nogil=True)
def pane_at(t, post, minute):
    """The pane of (post, minute), made when it is not there; kept in two lists, the ordered one and that of
    latecomers."""
    pane = find(t.panes, t.pane_index, post, minute)
    if pane >= 0:
        return pane
    pane = append(t.panes, t.pane_index, t.sizes, PANES, pane, post, minute)
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
    """What retractions did to this pane, made when nothing did so far."""
    taken = np.int64(t.panes[pane].taken)
    if taken == NONE:
        post, minute = t.panes[pane].post, t.panes[pane].key
        missing = find(t.taken, t.taken_index, post, minute)
        taken = append(t.taken, t.taken_index, t.sizes, TAKEN, missing, post, minute)
        t.panes[pane].taken = taken
    return taken


@njit(cache=True, nogil=True)
def channel_at(t, post, key):
    """The row of (post, channel), made when it is not there."""
    row = find(t.channels, t.channel_index, post, key)
    if row < 0:
        row = append(t.channels, t.channel_index, t.sizes, CHANNELS, row, post, key)
        t.channels[row].next = t.posts[post].channels
        t.posts[post].channels = row
    return row


@njit(cache=True, nogil=True)
def actor_at(t, post, key):
    """The row of (post, actor), made when it is not there."""
    row = find(t.actors, t.actor_index, post, key)
    return row if row >= 0 else append(t.actors, t.actor_index, t.sizes, ACTORS, row, post, key)


@njit(cache=True, nogil=True)
def count_actor(t, post, actor, m, change):
    """One engagement of measure m more or less (`change` 1 or -1) by this actor of the post."""
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
    """Moves one actor of the post from the tally of `before` to its neighbour's, that of `after`. Values below 2 have
    none.

    Tallies stand in ascending order and none is ever removed; an empty one becomes that of another value between its
    neighbours. So a post has about as many as distinct values: sqrt(2 x its events) at most, and few where people are
    not counting on it.
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
        new = t.sizes[TALLIES]
        t.sizes[TALLIES] = new + 1
        t.tallies[new].post, t.tallies[new].value, t.tallies[new].actors = post, after, 1
        t.tallies[new].next = row
        if last == NONE:
            t.posts[post].tallies = new
        else:
            t.tallies[last].next = new


@njit(cache=True, nogil=True)
def node_of(t, post, event, actor, pane, parent):
    """A new node for an event of a share or comment, in no tree yet; its parent's hash waits in its sizes."""
    tree = np.int64(t.posts[post].tree)
    if tree == NONE:
        tree = t.sizes[TREES]
        t.sizes[TREES] = tree + 1
        t.trees[tree].post = post
        t.posts[post].tree = tree
    t.trees[tree].nodes += 1
    node = t.sizes[NODES]
    t.sizes[NODES] = node + 1
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
    """Adds weight at the end of `minute` to the post's hot score (forward decay: only the distance to the newest term
    matters)."""
    newest = t.posts[post].hot_minute
    if t.posts[post].hot == 0.0:
        t.posts[post].hot = weight
        t.posts[post].hot_minute = minute
    elif minute > newest:
        t.posts[post].hot = t.posts[post].hot * 2.0 ** (-(np.float64(minute) - newest) / half_life) + weight
        t.posts[post].hot_minute = minute
    else:
        t.posts[post].hot += weight * 2.0 ** (-(np.float64(newest) - minute) / half_life)


@njit(cache=True, nogil=True)
def take_back(t, event, minute):
    """Undoes one add in everything it was in; the retraction counts in its own minute. Returns that minute's pane, or
    -1."""
    m = t.events[event].measure
    if m < 0:
        return np.int64(-1)
    post = t.events[event].post
    t.posts[post].net[m] -= 1
    t.posts[post].hot_stale = 1
    actor = t.events[event].actor
    if TREE_OF[m]:
        t.nodes[actor].flags &= ~COUNTED
        actor = t.nodes[actor].actor
    count_actor(t, post, actor, m, -1)
    t.channels[t.events[event].channel].count -= 1
    t.taken[taken_at(t, find(t.panes, t.pane_index, post, t.events[event].minute))].lost[m] += 1
    pane = pane_at(t, post, minute)
    t.taken[taken_at(t, pane)].retracted[m] += 1
    return pane


@njit(cache=True, nogil=True)
def fold(
    t,
    run,
    posts,
    keys,
    targets,
    actors,
    channels,
    parents,
    minutes,
    checks,
    measures,
    actions,
    weights,
    half_life,
    outcomes,
    dirty,
    faded,
):
    """Takes events into the state, one after the other. Amortised O(1) each.

    Per event: post row, identity, identity of the target (retractions), actor, channel, hash of the parent (0: the
    post), minute, 32 bits of its content, measure (index into MEASURES, -1 for a post), action. Writes one outcome per
    event and, into `dirty` (2 places an event), the panes whose row has to be written, for a duplicate those that it
    would have changed as well; -1 - post stands for all panes of the post that retractions touched. Writes into `faded`
    the nodes that were taken back (1 place an event); new nodes are at the end of their table. Returns how many of
    both.

    `taken.changes` is what retractions add to the version of a pane's row: a function of the set of events that grows
    whenever an event comes that can change the row. Of one target that is known (k = 1) or not (k = 0), with
    retractions of which the earliest has minute e, each retraction in minute m adds 1 + 2 [m > e] to pane m, and the
    target adds k to pane e. A single retraction of an unknown target adds nothing: its pane has no row.
    """
    marks = fades = 0
    for i in range(len(posts)):
        post, key, minute, m = posts[i], keys[i], minutes[i], measures[i]
        t.posts[post].touched = run
        event = find(t.events, t.event_index, post, key)
        if event >= 0:
            outcomes[i] = DUPLICATE if t.events[event].check == checks[i] else CONFLICTING
            if m >= 0:
                pane = find(t.panes, t.pane_index, post, t.events[event].minute)
                if pane >= 0:
                    dirty[marks] = pane
                    marks += 1
                if t.posts[post].takebacks:
                    takeback = find(t.takebacks, t.takeback_index, post, targets[i] if actions[i] == RETRACT else key)
                    if takeback >= 0:
                        pane = find(t.panes, t.pane_index, post, t.takebacks[takeback].minute)
                        if t.takebacks[takeback].count > 1:
                            # Another retraction of the same target may have counted, in a minute that is not known.
                            dirty[marks] = -1 - post
                            marks += 1
                        elif pane >= 0:
                            dirty[marks] = pane
                            marks += 1
            continue

        outcomes[i] = LATE if minute + 1 < t.posts[post].newest else NEW
        event = append(t.events, t.event_index, t.sizes, EVENTS, event, post, key)
        t.events[event].minute = minute
        t.events[event].check = checks[i]
        t.events[event].measure = m
        t.events[event].actor = NONE
        t.events[event].channel = NONE
        t.posts[post].events_seen += 1
        t.posts[post].newest = max(t.posts[post].newest, minute)
        if m < 0:
            t.posts[post].post_events += 1

        if actions[i] == ADD:
            if m >= 0:
                actor = actor_at(t, post, actors[i])
                count_actor(t, post, actor, m, 1)
                channel = channel_at(t, post, channels[i])
                t.channels[channel].count += 1
                t.events[event].channel = channel
                t.posts[post].net[m] += 1
                pane = pane_at(t, post, minute)
                t.panes[pane].adds[m] += 1
                t.events[event].actor = node_of(t, post, event, actor, pane, parents[i]) if TREE_OF[m] else actor
                dirty[marks] = pane
                marks += 1
                if not t.posts[post].hot_stale:
                    warm(t, post, minute, weights[m], half_life)
            if t.posts[post].takebacks:
                takeback = find(t.takebacks, t.takeback_index, post, key)
                if takeback >= 0:  # it was taken back before it came
                    t.posts[post].unmatched -= t.takebacks[takeback].count
                    pane = take_back(t, event, t.takebacks[takeback].minute)
                    if pane >= 0:
                        alone = t.takebacks[takeback].count == 1
                        t.taken[t.panes[pane].taken].changes += 2 if alone else 1
                        # Of several retractions another owner may have met another one first.
                        dirty[marks] = pane if alone else -1 - post
                        marks += 1
        else:
            target = find(t.events, t.event_index, post, targets[i])
            takeback = find(t.takebacks, t.takeback_index, post, targets[i])
            if takeback < 0:
                takeback = append(t.takebacks, t.takeback_index, t.sizes, TAKEBACKS, takeback, post, targets[i])
                t.takebacks[takeback].minute = minute
                t.takebacks[takeback].ties = 1
                t.posts[post].takebacks += 1
                if target >= 0:
                    pane = take_back(t, target, minute)
                    if pane >= 0:
                        t.taken[t.panes[pane].taken].changes += 2
                        dirty[marks] = pane
                        marks += 1
                        if TREE_OF[m]:
                            faded[fades] = t.events[target].actor
                            fades += 1
            elif m < 0:
                t.takebacks[takeback].minute = min(t.takebacks[takeback].minute, minute)
            else:
                # Each one's pane is kept, of zeros perhaps: it had a row if it counted before an earlier one came.
                before, own = pane_at(t, post, t.takebacks[takeback].minute), pane_at(t, post, minute)
                taken_before, taken_own = taken_at(t, before), taken_at(t, own)
                known = 1 if target >= 0 else 0
                if t.takebacks[takeback].count + known == 1:  # nothing hung on the first one until now
                    t.taken[taken_before].changes += 1
                if minute < t.takebacks[takeback].minute:  # the earliest retraction is the one that counts
                    t.taken[taken_before].changes += 2 * t.takebacks[takeback].ties - known
                    t.taken[taken_own].changes += 1 + known
                    t.taken[taken_before].retracted[m] -= known
                    t.taken[taken_own].retracted[m] += known
                    t.takebacks[takeback].minute = minute
                    t.takebacks[takeback].ties = 1
                elif own == before:
                    t.taken[taken_own].changes += 1
                    t.takebacks[takeback].ties += 1
                else:
                    t.taken[taken_own].changes += 3
                if known:
                    # Also where it changes nothing: a slower owner may have met this one first.
                    dirty[marks] = before
                    dirty[marks + 1] = own
                    marks += 2
            t.takebacks[takeback].count += 1
            if target < 0:
                t.posts[post].unmatched += 1
    return marks, fades

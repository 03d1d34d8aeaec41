"""The compiled loop over events, which runs for every event of the log. It allocates nothing and reads no clock.

`t` is a `Tables`. The order of events decides nothing but row numbers; tests/test_fold.py shuffles events to show it.
"""

from typing import Final

import numpy as np
from numba import njit

from processors.columnar.panes import NONE
from processors.engagement.fold.columns import TOMBSTONE
from processors.engagement.fold.hash_index import append, find
from processors.engagement.fold.layout import COUNTED, ERASED, N_EVENTS, N_TAKEBACKS, TREE_OF
from processors.engagement.fold.row_kernels import actor_at, channel_at, count_actor, node_of, pane_at, taken_at, warm

NEW: Final = 0
LATE: Final = 1  # new, and more than a minute older than the newest event of its post
DUPLICATE: Final = 2
CONFLICTING: Final = 3  # a duplicate with other content than the first event of its identity

ADD: Final = 0
RETRACT: Final = 1


@njit(cache=True, nogil=True, inline="always")
def is_ghost(t, event):
    """Returns whether an add is an erased share or comment."""
    return TREE_OF[t.events[event].measure] != 0 and t.nodes[t.events[event].actor].flags & ERASED != 0


@njit(cache=True, nogil=True)
def take_back(t, event, minute):
    """Undoes an add in all counts, and counts the retraction in its own `minute`; an erased share or comment is in no
    count. Returns the pane of that minute, or -1 where the add is of a post."""
    m = t.events[event].measure
    if m < 0:
        return np.int64(-1)
    post = t.events[event].post
    if is_ghost(t, event):
        pane = pane_at(t, post, minute)
        taken_at(t, pane)
        return pane
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
    """Adds events to the tables, one after the other. Amortised O(1) each.

    Per event: post row, identity, identity of the target (retractions), actor, channel, hash of the parent (0: the
    post), minute, 32 bits of its content, measure (index into MEASURES, -1 for a post), action. Writes one outcome per
    event, and into `dirty` (room for 2 an event) the panes whose rows have to be written: for a duplicate those that a
    new event would have changed. -1 - post stands for all panes of the post that retractions touched. Writes into
    `faded` (room for 1 an event) the nodes that were taken back; new nodes are at the end of their table. Returns the
    numbers of both.

    `taken.changes` is what retractions and erasures add to the version of a pane's row: a function of the set of events
    that grows whenever an event comes that can change the row. Of one target that is known (k = 1) or not (k = 0), with
    retractions of which the earliest has minute e, each retraction in minute m adds 1 + 2 [m > e] to pane m, and the
    target adds k to pane e. A single retraction of an unknown target adds nothing: its pane has no row.

    An action with TOMBSTONE is an erased event, which counts as two: the event and its erasure. A like stays, as one by
    nobody, and adds 1 to the changes of its pane. A share or comment becomes a ghost in its tree that is in no count:
    it adds 2 instead of the 1 that it added before, and as the target of retractions it adds k = 2. A retraction stays
    what it is.
    """
    marks = fades = 0
    for i in range(len(posts)):
        post, key, minute, m = posts[i], keys[i], minutes[i], measures[i]
        action, erased = actions[i] & ~TOMBSTONE, 1 if actions[i] & TOMBSTONE else 0
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
                    takeback = find(t.takebacks, t.takeback_index, post, targets[i] if action == RETRACT else key)
                    if takeback >= 0:
                        pane = find(t.panes, t.pane_index, post, t.takebacks[takeback].minute)
                        if t.takebacks[takeback].count > 1:
                            # Another retraction of the same target may have counted, in an unknown minute.
                            dirty[marks] = -1 - post
                            marks += 1
                        elif pane >= 0:
                            dirty[marks] = pane
                            marks += 1
            continue

        outcomes[i] = LATE if minute + 1 < t.posts[post].newest else NEW
        event = append(t.events, t.event_index, t.sizes, N_EVENTS, event, post, key)
        t.events[event].minute = minute
        t.events[event].check = checks[i]
        t.events[event].measure = m
        t.events[event].actor = NONE
        t.events[event].channel = NONE
        t.posts[post].events_seen += 1 + erased
        t.posts[post].newest = max(t.posts[post].newest, minute)
        if m < 0:
            t.posts[post].post_events += 1 + erased

        if action == ADD:
            if m >= 0:
                actor = actor_at(t, post, actors[i])
                channel = channel_at(t, post, channels[i])
                t.events[event].channel = channel
                pane = pane_at(t, post, minute)
                t.events[event].actor = node_of(t, post, event, actor, pane, parents[i]) if TREE_OF[m] else actor
                if erased:
                    t.taken[taken_at(t, pane)].changes += 2 if TREE_OF[m] else 1
                if erased and TREE_OF[m]:
                    t.nodes[t.events[event].actor].flags = t.nodes[t.events[event].actor].flags & ~COUNTED | ERASED
                else:
                    count_actor(t, post, actor, m, 1)
                    t.channels[channel].count += 1
                    t.posts[post].net[m] += 1
                    t.panes[pane].adds[m] += 1
                    if not t.posts[post].hot_stale:
                        warm(t, post, minute, weights[m], half_life)
                dirty[marks] = pane
                marks += 1
            if t.posts[post].takebacks:
                takeback = find(t.takebacks, t.takeback_index, post, key)
                if takeback >= 0:  # it was taken back before it came
                    t.posts[post].unmatched -= t.takebacks[takeback].count
                    pane = take_back(t, event, t.takebacks[takeback].minute)
                    if pane >= 0:
                        alone = t.takebacks[takeback].count == 1
                        ghost = 1 if is_ghost(t, event) else 0
                        t.taken[t.panes[pane].taken].changes += (2 if alone else 1) + ghost
                        # Another owner may have met another one of several retractions first.
                        dirty[marks] = pane if alone else -1 - post
                        marks += 1
        else:
            target = find(t.events, t.event_index, post, targets[i])
            takeback = find(t.takebacks, t.takeback_index, post, targets[i])
            ghost = 1 if target >= 0 and is_ghost(t, target) else 0
            if takeback < 0:
                takeback = append(t.takebacks, t.takeback_index, t.sizes, N_TAKEBACKS, takeback, post, targets[i])
                t.takebacks[takeback].minute = minute
                t.takebacks[takeback].ties = 1
                t.posts[post].takebacks += 1
                if target >= 0:
                    pane = take_back(t, target, minute)
                    if pane >= 0:
                        t.taken[t.panes[pane].taken].changes += 2 + ghost
                        dirty[marks] = pane
                        marks += 1
                        if TREE_OF[m] and not ghost:
                            faded[fades] = t.events[target].actor
                            fades += 1
            elif m < 0:
                t.takebacks[takeback].minute = min(t.takebacks[takeback].minute, minute)
            else:
                # Both panes stay, of zeros perhaps: a retraction that counted until an earlier one came had a row.
                before, own = pane_at(t, post, t.takebacks[takeback].minute), pane_at(t, post, minute)
                taken_before, taken_own = taken_at(t, before), taken_at(t, own)
                known = 1 if target >= 0 else 0
                if t.takebacks[takeback].count + known == 1:  # the first retraction decided nothing until now
                    t.taken[taken_before].changes += 1
                if minute < t.takebacks[takeback].minute:  # the earliest retraction is the one that counts
                    t.taken[taken_before].changes += 2 * t.takebacks[takeback].ties - known - ghost
                    t.taken[taken_own].changes += 1 + known + ghost
                    t.taken[taken_before].retracted[m] -= known - ghost
                    t.taken[taken_own].retracted[m] += known - ghost
                    t.takebacks[takeback].minute = minute
                    t.takebacks[takeback].ties = 1
                elif own == before:
                    t.taken[taken_own].changes += 1
                    t.takebacks[takeback].ties += 1
                else:
                    t.taken[taken_own].changes += 3
                if known:
                    # Also where nothing changes: a slower owner may have met this retraction first.
                    dirty[marks] = before
                    dirty[marks + 1] = own
                    marks += 2
            t.takebacks[takeback].count += 1
            if target < 0:
                t.posts[post].unmatched += 1
    return marks, fades

"""The compiled loops behind cells.py. They read the counts, voices and channels of minutes of posts, and the
conversations that shares and comments name.

`t` is a `Tables`. A spot is a minute of a post, as the number post << 32 | minute; spots are sorted, each once.
"""

from typing import Final

import numpy as np
from numba import njit

from processors.columnar.hashing import NOBODY
from processors.columnar.panes import NONE
from processors.engagement.fold.hash_index import find
from processors.engagement.fold.layout import COUNTED, ERASED, TREE_OF
from schemas.metrics import MEASURE_COUNT

TOUCHED: Final = 2 * MEASURE_COUNT
"""The change that an own conversation has in a spot: the number of a measure for an add, MEASURE_COUNT more for a
retraction, TOUCHED where a retraction may have counted before."""


@njit(cache=True, nogil=True)
def panes_of(t, posts, out):
    """Writes the panes of these posts to `out` as far as it has room; returns the number of all."""
    count = 0
    for i in range(len(posts)):
        for head in (t.posts[posts[i]].ordered, t.posts[posts[i]].late):
            pane = head
            while pane != NONE:
                if count < len(out):
                    out[count] = pane
                count += 1
                pane = t.panes[pane].next
    return count


@njit(cache=True, nogil=True)
def count_spots(t, spots, counts, seen, ends):
    """Reads the counts of each spot (each measure, then the same taken back). Writes to `seen` the events that can
    change these, as the version of the pane's row counts them, and to `ends` the cumulated upper bound of its voices.
    Returns for each spot whether the post itself was made then."""
    total = np.int64(0)
    born = np.zeros(len(spots), np.bool_)
    for i in range(len(spots)):
        post, minute = np.int64(spots[i] >> np.uint64(32)), np.uint32(spots[i] & np.uint64(0xFFFFFFFF))
        pane = find(t.panes, t.pane_index, post, minute)
        if pane >= 0:
            taken = t.panes[pane].taken
            for m in range(MEASURE_COUNT):
                counts[i, m] = t.panes[pane].adds[m]
                seen[i] += t.panes[pane].adds[m]
                if TREE_OF[m]:
                    total += np.int64(t.panes[pane].adds[m])
                if taken != NONE:
                    counts[i, MEASURE_COUNT + m] = t.taken[taken].retracted[m]
            if taken != NONE:
                seen[i] += t.taken[taken].changes
        if t.posts[post].created == minute:
            born[i] = True
            total += 1
        ends[i] = total
    return born


@njit(cache=True, nogil=True)
def listen(t, spots, channels, most, starts, voices, spoken, voice_ends, spoken_ends, exact):
    """Reads the voices of each spot, at most `most`, and their channels: sorted hashes, each once, one spot after the
    other in `voices` and `spoken`, which have the room that `starts`, the `ends` of `count_spots`, says."""
    filled = heard = 0
    for i in range(len(spots)):
        post, minute = np.int64(spots[i] >> np.uint64(32)), np.uint32(spots[i] & np.uint64(0xFFFFFFFF))
        count = starts[i] - (starts[i - 1] if i else 0)
        exact[i] = 1
        if count:
            first, start = filled, heard
            if t.posts[post].created == minute:
                voices[filled] = t.posts[post].author
                filled += 1
                heard = note(spoken, start, heard, channels[post])
            pane = find(t.panes, t.pane_index, post, minute)
            if pane >= 0:
                node = t.panes[pane].nodes
                while node != NONE:
                    if not t.nodes[node].flags & ERASED:
                        key = t.actors[t.nodes[node].actor].key
                        if key != NOBODY:
                            voices[filled] = key
                            filled += 1
                        heard = note(spoken, start, heard, t.channels[t.events[t.nodes[node].event].channel].key)
                    node = t.nodes[node].beside
            voices[first:filled].sort()
            spoken[start:heard].sort()
            distinct = first
            for place in range(first, filled):
                if place == first or voices[place] != voices[distinct - 1]:
                    voices[distinct] = voices[place]
                    distinct += 1
            if distinct - first > most:
                distinct = first + most
                exact[i] = 0
            filled = distinct
        voice_ends[i] = filled
        spoken_ends[i] = heard


@njit(cache=True, nogil=True)
def note(spoken, start, heard, channel):
    """Appends a channel to those of a spot unless it is the last or among the first 16; returns the new end."""
    if heard > start and spoken[heard - 1] == channel:
        return heard
    for place in range(start, min(heard, start + 16)):
        if spoken[place] == channel:
            return heard
    spoken[heard] = channel
    return heard + 1


@njit(cache=True, nogil=True)
def own_conversations(t, spots, own, posts, held, out_spot, out_name, out_what, out_event):
    """Finds the changes by shares and comments that name conversations of their own. Writes them to the `out` arrays as
    far as these have room, and returns the number of all. Leaves out conversations that the post belongs to as well.

    `own`, `posts` and `held` as in memberships.py.
    """
    count = 0
    for i in range(len(own)):
        post = own[i].post
        name, first = own[i].name, np.int64(posts[post].first)
        shared = False
        for place in range(first, first + posts[post].current):
            if held[place] == name:
                shared = True
                break
        if shared:
            continue
        event = find(t.events, t.event_index, post, own[i].key)
        if event < 0:
            continue
        node = t.events[event].actor
        what = t.events[event].measure
        spot = spot_at(spots, post, t.events[event].minute)
        if spot >= 0:
            if count < len(out_spot):
                out_spot[count], out_name[count], out_what[count], out_event[count] = spot, name, what, event
            count += 1
        if t.nodes[node].flags & COUNTED:
            continue
        takeback = find(t.takebacks, t.takeback_index, post, own[i].key)
        spot = spot_at(spots, post, t.takebacks[takeback].minute)
        if spot >= 0:
            if count < len(out_spot):
                out_spot[count], out_name[count], out_event[count] = spot, name, event
                out_what[count] = MEASURE_COUNT + what
            count += 1
        if t.takebacks[takeback].count > 1:
            # The minutes of the other retractions are not known: each minute with a retraction may be one.
            spot = np.searchsorted(spots, np.uint64(post) << np.uint64(32))
            while spot < len(spots) and spots[spot] >> np.uint64(32) == post:
                pane = find(t.panes, t.pane_index, post, np.uint32(spots[spot] & np.uint64(0xFFFFFFFF)))
                if pane >= 0 and t.panes[pane].taken != NONE:
                    if count < len(out_spot):
                        out_spot[count], out_name[count], out_what[count], out_event[count] = spot, name, TOUCHED, event
                    count += 1
                spot += 1
    return count


@njit(cache=True, nogil=True)
def spot_at(spots, post, minute):
    """Returns the index of a spot, -1 where it is not among them."""
    spot = (np.uint64(post) << np.uint64(32)) | np.uint64(minute)
    place = np.searchsorted(spots, spot)
    return place if place < len(spots) and spots[place] == spot else -1


@njit(cache=True, nogil=True)
def present(t, posts, keys):
    """Returns whether the event of each key is in memory."""
    found = np.zeros(len(posts), np.bool_)
    for i in range(len(posts)):
        found[i] = find(t.events, t.event_index, posts[i], keys[i]) >= 0
    return found


@njit(cache=True, nogil=True)
def speakers(t, events, actors, channels):
    """Reads actor and channel of each of these shares and comments."""
    for i in range(len(events)):
        actors[i] = t.actors[t.nodes[t.events[events[i]].actor].actor].key
        channels[i] = t.channels[t.events[events[i]].channel].key

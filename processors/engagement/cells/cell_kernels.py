"""The compiled loops behind cells.py: what stands in a post's minute, who spoke there, and what shares and comments
named themselves.

`t` is a `Tables`. A spot is a post and a minute; spots are numbers post << 32 | minute, sorted, each once.
"""

from typing import Final

import numpy as np
from numba import njit

from processors.columnar.panes import NONE
from processors.engagement.fold.hash_index import find
from processors.engagement.fold.layout import COUNTED, TREE_OF
from schemas.metrics import MEASURE_COUNT

TOUCHED: Final = 2 * MEASURE_COUNT
"""What an own conversation has in a spot: the number of a measure where one was added there, MEASURE_COUNT more where
one was taken back there, TOUCHED where something may have been there."""


@njit(cache=True, nogil=True)
def panes_of(t, posts, out):
    """All panes of these posts, as far as there is room in `out`; returns how many there are."""
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
    """Counts of each spot (of each measure, the same taken back); in `seen` the events that can change these,
    as the version of the pane's row counts them; and in `ends` how many voices it has at most, added up. Returns where
    the post itself was made then."""
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
    """Who spoke in each spot, and on which channels: sorted hashes, each once, at most `most` voices, one spot after
    the other in `voices` and `spoken`, which have room from `starts` of `count_spots` on."""
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
                    voices[filled] = t.actors[t.nodes[node].actor].key
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
    """Appends a channel to those of this spot unless it was the last, or is among the first few."""
    if heard > start and spoken[heard - 1] == channel:
        return heard
    for place in range(start, min(heard, start + 16)):
        if spoken[place] == channel:
            return heard
    spoken[heard] = channel
    return heard + 1


@njit(cache=True, nogil=True)
def own_conversations(t, spots, own, posts, held, out_spot, out_name, out_what, out_event):
    """What shares and comments that name conversations of their own add to these spots, in places of the `out` arrays
    as far as there is room; returns how many there are. Those that their post belongs to as well are left out.

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
            # Which minutes the others are of is not known: any in which something was taken back.
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
    """The place of a spot, -1 where it is not among them."""
    spot = (np.uint64(post) << np.uint64(32)) | np.uint64(minute)
    place = np.searchsorted(spots, spot)
    return place if place < len(spots) and spots[place] == spot else -1


@njit(cache=True, nogil=True)
def present(t, posts, keys):
    """Whether the event of each of these keys is there."""
    found = np.zeros(len(posts), np.bool_)
    for i in range(len(posts)):
        found[i] = find(t.events, t.event_index, posts[i], keys[i]) >= 0
    return found


@njit(cache=True, nogil=True)
def speakers(t, events, actors, channels):
    """Actor and channel of each of these events of shares and comments."""
    for i in range(len(events)):
        actors[i] = t.actors[t.nodes[t.events[events[i]].actor].actor].key
        channels[i] = t.channels[t.events[events[i]].channel].key

"""The compiled loops behind snapshots. They compute the numbers that the fold does not keep as events come: windows,
channels, the hot score after a retraction, the engagements of the most active actors.
"""

from math import log2

import numpy as np
from numba import njit

from processors.columnar.panes import NONE
from processors.engagement.fold.row_kernels import warm
from schemas.metrics import MEASURE_COUNT


@njit(cache=True, nogil=True)
def measure(t, posts, windows, weights, half_life, sums, channels, entropies):
    """Measures each of `posts` as of the end of its newest minute.

    Adds to `sums[i, w, 0, m]` the net of measure m in window w, and to `sums[i, w, 1, m]` the net of the window before.
    Writes the number of channels with engagement to `channels[i]` and their Shannon entropy in bits to `entropies[i]`
    (NaN without engagement). Walks the panes of twice the longest window and the late panes.
    """
    longest = 2 * windows.max()
    for i in range(len(posts)):
        post = posts[i]
        end = np.int64(t.posts[post].newest) + 1
        for start in (t.posts[post].ordered, t.posts[post].late):
            pane = start
            while pane != NONE:
                age = end - np.int64(t.panes[pane].key)
                if age > longest:
                    if start == t.posts[post].ordered:
                        break
                else:
                    taken = t.panes[pane].taken
                    for w in range(len(windows)):
                        if age <= 2 * windows[w]:
                            before = 0 if age <= windows[w] else 1
                            for m in range(MEASURE_COUNT):
                                sums[i, w, before, m] += np.int64(t.panes[pane].adds[m])
                                if taken != NONE:
                                    sums[i, w, before, m] -= np.int64(t.taken[taken].retracted[m])
                pane = t.panes[pane].next
        if t.posts[post].hot_stale:
            warm_again(t, post, weights, half_life)
        used, total, weighted = 0, 0.0, 0.0
        channel = t.posts[post].channels
        while channel != NONE:
            count = np.float64(t.channels[channel].count)
            if count > 0:
                used += 1
                total += count
                weighted += count * log2(count)
            channel = t.channels[channel].next
        channels[i] = used
        # The entropy of a single channel is 0; the difference of two logarithms would be rounded.
        entropies[i] = np.nan if used == 0 else max(log2(total) - weighted / total, 0.0) if used > 1 else 0.0


@njit(cache=True, nogil=True)
def warm_again(t, post, weights, half_life):
    """Computes the hot score anew from the panes, because subtracting a large term would leave its rounding error."""
    t.posts[post].hot = 0.0
    t.posts[post].hot_minute = 0
    for pane in (t.posts[post].ordered, t.posts[post].late):
        while pane != NONE:
            weight = 0.0
            taken = t.panes[pane].taken
            for m in range(MEASURE_COUNT):
                lost = t.taken[taken].lost[m] if taken != NONE else np.uint32(0)
                weight += weights[m] * (np.float64(t.panes[pane].adds[m]) - np.float64(lost))
            if weight > 0.0:
                warm(t, post, t.panes[pane].key, weight, half_life)
            pane = t.panes[pane].next
    t.posts[post].hot_stale = 0


@njit(cache=True, nogil=True)
def concentrate(t, posts, top, known):
    """Writes to `top` the net engagements of the most active hundredth (rounded up) of the actors of each post, and to
    `known` those of all actors."""
    for i in range(len(posts)):
        post = posts[i]
        actors = np.int64(t.posts[post].actors)
        several, total, row = np.int64(0), np.int64(0), t.posts[post].tallies
        while row != NONE:
            several += t.tallies[row].actors
            total += np.int64(t.tallies[row].actors) * np.int64(t.tallies[row].value)
            row = t.tallies[row].next
        known[i] = actors - several + total
        wanted = (actors + 99) // 100
        top[i] = max(wanted - several, 0)  # actors with one engagement each
        others, row = several - wanted, t.posts[post].tallies
        while row != NONE:
            actors = np.int64(t.tallies[row].actors)
            skipped = np.int64(0) if others < 0 else others if others < actors else actors
            top[i] += (actors - skipped) * np.int64(t.tallies[row].value)
            others -= skipped
            row = t.tallies[row].next

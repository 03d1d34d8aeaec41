"""What is not kept as events come, but found when somebody looks at a post: windows, channels, the hot score after
something was taken back, the most active. Compiled loops over the tables of tables.py.
"""

from math import log2

import numpy as np
from numba import njit

from processors.columnar.panes import NONE
from processors.engagement.fold.row_kernels import warm
from schemas.metrics import MEASURE_COUNT


@njit(cache=True, nogil=True)
def measure(t, posts, windows, weights, half_life, sums, channels, entropies):
    """What each of `posts` looks like as of the end of its newest minute.

    `sums[i, w, 0, m]` net adds of measure m in the window w, `sums[i, w, 1, m]` in the window before it; `channels[i]`
    channels in use and `entropies[i]` their Shannon entropy in bits (NaN without engagement). Walks the panes of two of
    the longest windows and the latecomers.
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
        # Of a single channel it is 0, whatever rounding makes of the difference of two logarithms.
        entropies[i] = np.nan if used == 0 else max(log2(total) - weighted / total, 0.0) if used > 1 else 0.0


@njit(cache=True, nogil=True)
def warm_again(t, post, weights, half_life):
    """The hot score built anew from the panes: a sum cannot forget a large term."""
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
def concentrate(t, posts, top):
    """Net engagements of the most active hundredth (rounded up) of the actors of each of these posts."""
    for i in range(len(posts)):
        post = posts[i]
        actors = np.int64(t.posts[post].actors)
        several, row = np.int64(0), t.posts[post].tallies
        while row != NONE:
            several += t.tallies[row].actors
            row = t.tallies[row].next
        wanted = (actors + 99) // 100
        top[i] = max(wanted - several, 0)  # of those who did one thing
        others, row = several - wanted, t.posts[post].tallies
        while row != NONE:
            actors = np.int64(t.tallies[row].actors)
            skipped = np.int64(0) if others < 0 else others if others < actors else actors
            top[i] += (actors - skipped) * np.int64(t.tallies[row].value)
            others -= skipped
            row = t.tallies[row].next

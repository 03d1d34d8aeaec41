"""The compiled walk over a post's panes, which sums all that R_t, the forecast and half-lives need.

Panes are minutes: the events of minute m count as at m + 0.5, and the post itself as at created + 0.5. No sum decays in
memory: each is computed anew from the panes, so late events and retractions need no care.
"""

from math import exp
from typing import Final

import numpy as np
from numba import njit

from processors.columnar.arrays import Array
from processors.columnar.panes import NONE, PostPanes
from processors.virality.generation import MINUTES, WEIGHTS, decay_table, survival_table
from schemas.metrics import MEASURE_COUNT, SHARES
from schemas.spread import LEAST_WINDOW, MOST_WINDOW

FIELDS: Final = (
    "shares",  # net shares until as_of
    "rest",  # sum of 1 - Phi(as_of - t_i) over the post and its net shares
    "shares_before",  # the same at as_of - window
    "rest_before",
    "nodes_before",  # net shares at as_of - window, and the post if it was there
    "window",  # minutes
    "lag_sum",  # sum of (t_i - created) over net shares, minutes
    "log_lag_sum",  # sum of ln(t_i - created + 1/2 minute)
    "half_life_shares",  # minutes from the post to its ceil(N/2)-th net share, NaN without one
    "half_life_engagement",  # ... and to its ceil(M/2)-th net like, share or comment
    "life_engagement",  # ... and to its ceil(0.9 M)-th
    "shares_half",  # net shares, rest and nodes at half of the age, or five minutes ago
    "rest_half",
    "nodes_half",
    *(f"rest_{k}" for k in range(1, len(MINUTES) + 1)),  # the parts of rest by the kernel's components
)
"""Columns of the rows that `walk` fills."""

FIRST_PART: Final = FIELDS.index("rest_1")

LOG_MINUTES: Final = 60 * 1440


class Lookups:
    """The tables that the walk reads. One instance is enough for a process."""

    def __init__(self) -> None:
        self.survival: Array = survival_table()
        self.decays: Array = decay_table()
        self.logs: Array = np.log(np.arange(LOG_MINUTES) + 0.5)


def spread_of(posts: PostPanes, created: Array, as_of: Array, lookups: Lookups) -> Array:
    """Returns one row of FIELDS per post. `created` and `as_of` are minutes since 1970, one per post; the row is all
    NaN where `created` is NONE."""
    fields = np.full((len(created), len(FIELDS)), np.nan)
    walk(
        posts,
        created.astype(np.int64),
        as_of.astype(np.int64),
        lookups.survival,
        lookups.decays,
        lookups.logs,
        *(np.empty(len(posts.panes), np.int64) for _ in range(3)),  # pages are used only where written
        fields,
    )
    return fields


@njit(cache=True, nogil=True, inline="always")
def survives(half_minutes, table):
    """Returns 1 - Phi at an age in half-minutes."""
    if half_minutes < len(table):
        return table[half_minutes]
    total = 0.0
    for k in range(len(MINUTES)):
        total += WEIGHTS[k] * exp(-0.5 * half_minutes / MINUTES[k])
    return total


@njit(cache=True, nogil=True, inline="always")
def add_decays(count, half_minutes, decays, row):
    """Adds to the last fields of `row` the parts of `count` times 1 - Phi at an age in half-minutes."""
    for k in range(len(MINUTES)):
        if half_minutes < len(decays):
            row[FIRST_PART + k] += count * decays[half_minutes, k]
        else:
            row[FIRST_PART + k] += count * WEIGHTS[k] * exp(-0.5 * half_minutes / MINUTES[k])


@njit(cache=True, nogil=True)
def walk(posts, created, as_of, table, decays, logs, minutes, shares, events, fields):
    """Fills a row of `fields` (columns as FIELDS) per post whose `created` is known.

    A share that is dated before its post counts as at the post, and a post that is dated after its `as_of` as in the
    minute before. `minutes`, `shares` and `events` are room for the panes of a post. O(panes of the post).
    """
    panes, losses = posts.panes, posts.losses
    for i in range(len(created)):
        if created[i] == NONE:
            continue
        end = as_of[i]
        start = min(created[i], end - 1)
        age = end - start
        # In half-minutes, so that all lags are integers.
        half = max(age, np.int64(2 * LEAST_WINDOW))
        back = min(half, np.int64(2 * MOST_WINDOW))
        net, rest, net_before, rest_before, lags, log_lags = np.int64(0), 0.0, np.int64(0), 0.0, 0.0, 0.0
        net_half, rest_half = np.int64(0), 0.0
        size, ordered, total = 0, 0, np.int64(0)
        fields[i, FIRST_PART:] = 0.0
        for pane in (posts.ordered[i], posts.late[i]):
            ordered = size  # 0 in the first round; in the second the number of panes in the first list
            while pane != NONE:
                key = np.int64(panes[pane].key)
                if key < end:
                    lost = panes[pane].taken
                    share = np.int64(panes[pane].adds[SHARES])
                    event = np.int64(0)
                    for m in range(MEASURE_COUNT):
                        event += np.int64(panes[pane].adds[m])
                    if lost != NONE:
                        share -= np.int64(losses[lost].lost[SHARES])
                        for m in range(MEASURE_COUNT):
                            event -= np.int64(losses[lost].lost[m])
                    if event > 0:
                        lag = max(key - start, 0)
                        minutes[size], shares[size], events[size] = lag, share, event
                        size += 1
                        total += event
                    if share > 0:
                        since = 2 * (age - lag) - 1
                        net += share
                        rest += share * survives(since, table)
                        add_decays(share, since, decays, fields[i])
                        if since >= back:
                            net_before += share
                            rest_before += share * survives(since - back, table)
                            if back < half and since >= half:
                                net_half += share
                                rest_half += share * survives(since - half, table)
                        lags += share * lag
                        log_lags += share * (logs[lag] if lag < len(logs) else np.log(lag + 0.5))
                pane = panes[pane].next
        since = 2 * age - 1
        rest += survives(since, table)
        add_decays(1, since, decays, fields[i])
        nodes_before = net_before
        if since >= back:
            nodes_before += 1
            rest_before += survives(since - back, table)
        nodes_half = net_half
        if back < half and since >= half:
            nodes_half += 1
            rest_half += survives(since - half, table)
        if back == half:
            net_half, rest_half, nodes_half = net_before, rest_before, nodes_before
        fields[i, 0] = net
        fields[i, 1] = rest
        fields[i, 2] = net_before
        fields[i, 3] = rest_before
        fields[i, 4] = nodes_before
        fields[i, 5] = 0.5 * back
        fields[i, 6] = lags
        fields[i, 7] = log_lags
        if net > 0:
            fields[i, 8] = lag_of(minutes, shares, size, ordered, net, (net + 1) // 2)
        if total > 0:
            fields[i, 9] = lag_of(minutes, events, size, ordered, total, (total + 1) // 2)
            fields[i, 10] = lag_of(minutes, events, size, ordered, total, (9 * total + 9) // 10)
        fields[i, 11] = net_half
        fields[i, 12] = rest_half
        fields[i, 13] = nodes_half


@njit(cache=True, nogil=True)
def lag_of(lags, counts, size, ordered, total, wanted):
    """Returns the lag of the event `wanted` of `total` events, counted from 1. The first `ordered` of `size` lags fall,
    the others are in no order."""
    if ordered == size:
        newer = 0
        for j in range(size):
            newer += counts[j]
            if total - newer < wanted:
                return lags[j]
    # Bisection over the lag needs no sorted copy, and a pass over an array takes a few ns a dozen.
    low, high = np.int64(0), np.int64(0)
    for j in range(size):
        high = max(high, lags[j])
    while low < high:
        half = (low + high) // 2
        seen = 0
        for j in range(size):
            seen += counts[j] if lags[j] <= half else 0
        if seen >= wanted:
            high = half
        else:
            low = half + 1
    return low

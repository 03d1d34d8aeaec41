"""The conversation under a post: who answers whom, and how soon the brand does. One pass over its comments when its row
is written.

A comment answers its nearest comment ancestor, or the post's author where it has none; an answer to a comment that was
taken back answers nobody. Only net comments in the tree are turns. h-index: Gómez, Kaltenbrunner & López 2008.
"""

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit

from pipeline.brands import Brands
from processors.engagement.business import BusinessHours
from processors.engagement.hashing import Hasher
from processors.engagement.kernels import COMMENT, COUNTED, NONE, find
from processors.engagement.tables import Tables
from processors.engagement.trees import kin_of
from schemas.metrics import MINUTE

Array = np.ndarray[Any, Any]

COMMENTS: Final = 2
"""The comments' place among measures and among the trees of a post."""

STRANGER: Final = np.uint32(NONE - 1)
"""In place of the actor row of an author who did nothing under his own post."""

NEVER: Final = np.uint32(0xFFFFFFFF)

ONE_WAY: Final = np.uint8(1)
OTHER_WAY: Final = np.uint8(2)
BOTH_WAYS: Final = np.uint8(3)


class Turns(NamedTuple):
    """Accounts whose comments are the brand's, as sorted hashes. On the posts of `accounts[i]` those of
    `members[starts[i] : starts[i + 1]]` beside those of `own`."""

    own: Array
    accounts: Array
    starts: Array
    members: Array


def turns_of(brands: Brands, hasher: Hasher) -> Turns:
    """The accounts of brands in the hashes of the fold."""
    own = np.sort(hasher.actors(sorted(brands.own)))
    named = sorted(brands.beside)
    accounts = hasher.actors(named)
    order = np.argsort(accounts)
    beside = [np.sort(hasher.actors(sorted(brands.beside[named[place]] - brands.own))) for place in order.tolist()]
    starts = np.cumsum([0, *map(len, beside)], dtype=np.int64)
    return Turns(own, accounts[order], starts, np.concatenate([np.zeros(0, np.uint64), *beside]))


@dataclass(frozen=True)
class ThreadPolicy:
    """Whose turns are the brand's beside the author's, and when it can be expected to answer."""

    turns: Turns = field(default_factory=lambda: turns_of(Brands(), Hasher()))
    hours: BusinessHours = field(default_factory=BusinessHours)


def thread_columns(tables: Tables, rows: Array, truncated: Array, policy: ThreadPolicy) -> dict[str, Array]:
    """The columns of threads of schemas/tables.py for these posts, whose trees are settled (`Fold.settle`). O(comments)
    each; `truncated` ones have no trees."""
    count = len(rows)
    posts = tables.posts[rows]
    said = np.where(truncated, 0, posts["net"][:, COMMENTS]).astype(np.int64)
    numbers = np.zeros((count, len(_NUMBERS)), np.uint32)
    most, total = int(said.max(initial=0)), int(said.sum())
    asked, waited, owners = (np.empty(total, np.int64) for _ in range(3))
    answers = converse(
        tables,
        rows.astype(np.int64),
        said,
        policy.turns.own,
        policy.turns.accounts,
        policy.turns.starts,
        policy.turns.members,
        np.empty(most, np.uint32),
        np.empty(most, np.uint32),
        np.empty(most, np.uint8),
        np.empty(places_for(most), np.uint64),
        np.empty(places_for(most), np.uint32),
        numbers,
        owners,
        asked,
        waited,
    )
    named = dict(zip(_NUMBERS, numbers.T, strict=True))
    with np.errstate(invalid="ignore"):
        reciprocity = named["mutual"] / named["pairs"]
    known = (posts["author"] != 0) & ~truncated
    return {
        "thread_h_index": named["h_index"],
        "thread_pairs": named["pairs"],
        "thread_reciprocity": reciprocity,
        "brand_turns": named["brand"],
        "audience_turns": named["audience"],
        "answered": named["answered"],
        "unanswered": named["audience"] - named["answered"],
        "oldest_unanswered_at": named["oldest"] * np.uint32(MINUTE),
        **_responses(count, owners[:answers], asked[:answers], waited[:answers], policy.hours),
        "thread_reason": np.where(truncated, 2, np.where(known, 0, 1)).astype(np.uint8),
    }


_NUMBERS: Final = ("h_index", "pairs", "mutual", "brand", "audience", "answered", "oldest")
"""What `converse` writes of each post: h-index, pairs, pairs who answered each other, turns of brand and audience,
audience comments that were answered, minute of the oldest that was not (0: none)."""


def _responses(count: int, owners: Array, asked: Array, waited: Array, hours: BusinessHours) -> dict[str, Array]:
    """Quantiles of the minutes waited (at most 2^32) for each of `count` owners, of all and of what was asked in
    business hours."""
    # One number sorts by owner, then by wait, and keeps in its last bit whether it was in business hours.
    packed = np.sort(owners << 33 | waited << 1 | hours.contains(asked))
    columns = {}
    for name, chosen in (("", packed), ("_business", packed[packed & 1 == 1])):
        edges = np.searchsorted(chosen >> 33, np.arange(count + 1))
        waits = np.append(chosen >> 1 & NEVER, 0).astype(np.float64)
        for percent in (50, 90):
            columns[f"first_response{name}_p{percent}"] = _quantile(waits, edges, percent / 100)
    return columns


def _quantile(values: Array, edges: Array, share: float) -> Array:
    """The quantile of each sorted group `values[edges[i] : edges[i + 1]]`, linear between neighbours; NaN of none.
    `values` has one more at its end."""
    last = np.diff(edges) - 1
    place = np.maximum(last, 0) * share
    below = np.floor(place).astype(np.int64)
    low = values[edges[:-1] + below]
    high = values[edges[:-1] + np.minimum(below + 1, np.maximum(last, 0))]
    found: Array = np.where(last < 0, np.nan, low + (high - low) * (place - below))
    return found


@njit(cache=True, nogil=True)
def places_for(most):
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

    Writes `numbers` (as _NUMBERS has it) and, one place per answered audience comment, its post's place in `posts`, its
    minute and the minutes until the brand's first answer; returns how many of these. Room for the comments of any one
    post in `nodes`, `minutes`, `ours`, and `places_for` them in `table` and `values`.
    """
    answers = 0
    for i in range(len(posts)):
        if said[i] == 0:
            continue
        post = posts[i]
        numbers[i, 0] = h_index(t, t.posts[post].levels[COMMENTS], t.posts[post].net[COMMENTS])
        author = t.posts[post].author
        brand = np.searchsorted(accounts, author)
        beside = members[0:0]
        if brand < len(accounts) and accounts[brand] == author:
            beside = members[starts[brand] : starts[brand + 1]]
        host = find(t.actors, t.actor_index, post, author) if author else np.int64(NONE)
        host = np.uint32(host if host >= 0 else STRANGER)
        size = places_for(said[i])
        table[:size] = 0
        count = turns = 0
        for pane in (t.posts[post].ordered, t.posts[post].late):
            while pane != NONE:
                if t.panes[pane].adds[COMMENTS]:
                    node = t.panes[pane].nodes
                    while node != NONE:
                        flags = t.nodes[node].flags
                        if flags & COMMENT and flags & COUNTED and t.nodes[node].level != NONE:
                            actor, kin = t.nodes[node].actor, kin_of(t, node)
                            if kin == NONE:
                                pair_up(table, values, size, actor, host, numbers[i])
                            elif t.nodes[kin].flags & COUNTED:
                                pair_up(table, values, size, actor, t.nodes[kin].actor, numbers[i])
                            if author:
                                key = t.actors[actor].key
                                ours[count] = key == author or among(own, key) or among(beside, key)
                                turns += ours[count]
                                nodes[count], minutes[count] = node, t.panes[pane].key
                            count += 1
                        node = t.nodes[node].beside
                pane = t.panes[pane].next
        if not author:
            continue
        numbers[i, 3], numbers[i, 4] = turns, count - turns
        if turns:
            table[:size] = 0
            for k in range(count):
                kin = kin_of(t, nodes[k])
                if ours[k] and kin != NONE:
                    place = place_of(table, size, np.uint64(kin) + np.uint64(1))
                    if table[place] == 0:
                        table[place] = np.uint64(kin) + np.uint64(1)
                        values[place] = NEVER
                    values[place] = min(values[place], minutes[k])
        oldest = NEVER
        for k in range(count):
            if ours[k]:
                continue
            answer = NEVER
            if turns:
                place = place_of(table, size, np.uint64(nodes[k]) + np.uint64(1))
                answer = values[place] if table[place] else NEVER
            if answer != NEVER:
                owners[answers] = i
                asked[answers] = minutes[k]
                waited[answers] = max(np.int64(answer) - np.int64(minutes[k]), 0)
                answers += 1
                numbers[i, 5] += 1
            else:
                oldest = min(oldest, minutes[k])
        numbers[i, 6] = oldest if oldest != NEVER else np.uint32(0)
    return answers


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
def place_of(table, size, key):
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
    place = place_of(table, size, key)
    way = ONE_WAY if actor == low else OTHER_WAY
    if table[place] == 0:
        table[place] = key
        values[place] = way
        numbers[1] += 1
    elif values[place] != way and values[place] != BOTH_WAYS:
        values[place] = BOTH_WAYS
        numbers[2] += 1

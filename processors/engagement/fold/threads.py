"""The conversation under a post: who answers whom, and how soon the brand answers. The comments of a post are read once
when its row is written.

A comment answers its nearest comment ancestor, or the post's author where it has none; an answer to a comment that was
taken back answers nobody. Only net comments in the tree are turns. h-index: Gómez, Kaltenbrunner & López 2008.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from pipeline.brands import Brands
from processors.columnar.arrays import Array
from processors.columnar.hashing import Hasher
from processors.columnar.panes import NONE
from processors.engagement.business_hours import BusinessHours
from processors.engagement.fold.layout import N_NODES
from processors.engagement.fold.tables import Tables
from processors.engagement.fold.thread_kernels import NEVER_ANSWERED, NUMBERS, converse, link, slots_for
from schemas.metrics import COMMENTS, MINUTE

_RESPONSES: Final = tuple(f"first_response{name}_p{percent}" for name in ("", "_business") for percent in (50, 90))

_KEY: Final = ("nodes", "said", "author")

_FOUND: Final = np.dtype(
    [
        ("nodes", "u4"),
        ("said", "u4"),
        ("author", "u8"),
        *((name, "u4") for name in NUMBERS),
        *((name, "f8") for name in _RESPONSES),
    ]
)
"""The numbers of a thread, with the shares and comments, the net comments and the author that the post had then."""


class Turns(NamedTuple):
    """The accounts whose comments are turns of a brand, as sorted hashes: `own` on all posts, and
    `members[starts[i] : starts[i + 1]]` on the posts of `accounts[i]`."""

    own: Array
    accounts: Array
    starts: Array
    members: Array


def turns_of(brands: Brands, hasher: Hasher) -> Turns:
    """Returns the accounts of brands as hashes of the fold."""
    own = np.sort(hasher.actors(sorted(brands.own)))
    named = sorted(brands.beside)
    accounts = hasher.actors(named)
    order = np.argsort(accounts)
    beside = [np.sort(hasher.actors(sorted(brands.beside[named[place]] - brands.own))) for place in order.tolist()]
    starts = np.cumsum([0, *map(len, beside)], dtype=np.int64)
    return Turns(own, accounts[order], starts, np.concatenate([np.zeros(0, np.uint64), *beside]))


@dataclass(frozen=True)
class ThreadPolicy:
    """The accounts that speak for brands beside the author of a post, and the hours in which a brand answers."""

    turns: Turns = field(default_factory=lambda: turns_of(Brands(), Hasher()))
    hours: BusinessHours = field(default_factory=BusinessHours)


class ThreadState:
    """The numbers of each post's thread as last read. Most rows are written because of a like, which changes no thread:
    a thread is read again when the number of its shares and comments, of its net comments, or its author has changed.
    Adds and retractions only grow, so equal numbers mean equal sets."""

    def __init__(self, policy: ThreadPolicy) -> None:
        self._policy = policy
        self._found: Array = np.zeros(0, _FOUND)
        # The list of comments of each post: the newest, and for each node the one before. Most panes have only likes.
        self._newest: Array = np.zeros(0, np.uint32)
        self._before: Array = np.zeros(0, np.uint32)
        self._linked = 0

    @property
    def bytes(self) -> int:
        """The memory of the state."""
        return self._found.nbytes + self._newest.nbytes + self._before.nbytes

    def keep(self, keep: Array) -> None:
        """Keeps only the posts where `keep` (one flag per post in memory) is true. Nodes have other rows afterwards."""
        self._found = _with_room(self._found, len(keep))[: len(keep)][keep]
        self._newest, self._linked = self._newest[:0], 0

    def columns(self, tables: Tables, rows: Array, truncated: Array) -> dict[str, Array]:
        """Computes the thread columns of post_metrics for these posts, each named once, whose trees are settled
        (`Fold.settle`). O(comments) of changed threads; `truncated` posts have no trees."""
        posts = tables.posts[rows]
        said = np.where(truncated, 0, posts["net"][:, COMMENTS]).astype(np.int64)
        known = self._found = _with_room(self._found, len(tables.posts))
        self._link(tables)
        nodes = tables.trees["nodes"][posts["tree"][said > 0]]
        found = known[rows]
        found[said == 0] = _nothing()
        now = np.zeros(len(rows), _FOUND)
        now["said"], now["author"] = said, posts["author"]
        now["nodes"][said > 0] = nodes
        again = np.flatnonzero((said > 0) & np.any([found[field] != now[field] for field in _KEY], axis=0))
        if len(again):
            read = now[again]
            self._read(tables, rows[again], said[again], read)
            found[again] = known[rows[again]] = read
        with np.errstate(invalid="ignore"):
            reciprocity = found["mutual"] / found["pairs"]
        is_known = (posts["author"] != 0) & ~truncated
        return {
            "thread_h_index": found["h_index"],
            "thread_pairs": found["pairs"],
            "thread_reciprocity": reciprocity,
            "brand_turns": found["brand"],
            "audience_turns": found["audience"],
            "answered": found["answered"],
            "unanswered": found["audience"] - found["answered"],
            "oldest_unanswered_at": found["oldest"] * np.uint32(MINUTE),
            **{name: found[name] for name in _RESPONSES},
            "thread_reason": np.where(truncated, 2, np.where(is_known, 0, 1)).astype(np.uint8),
        }

    def _link(self, tables: Tables) -> None:
        """Adds the comments that came since the last call to the lists of their posts."""
        nodes = int(tables.sizes[N_NODES])
        if len(self._newest) < len(tables.posts):
            fresh = np.full(len(tables.posts) - len(self._newest), NONE, np.uint32)
            self._newest = np.append(self._newest, fresh)
        if len(self._before) < nodes:
            self._before = _with_room(self._before, nodes + nodes // 4)
        link(tables, self._linked, self._newest, self._before)
        self._linked = nodes

    def _read(self, tables: Tables, rows: Array, said: Array, found: Array) -> None:
        """Reads threads anew and writes their numbers to `found`."""
        turns = self._policy.turns
        most, total = int(said.max()), int(said.sum())
        numbers = np.zeros((len(rows), len(NUMBERS)), np.uint32)
        owners, asked, waited = (np.empty(total, np.int64) for _ in range(3))
        answers = converse(
            tables,
            rows.astype(np.int64),
            said,
            self._newest,
            self._before,
            turns.own,
            turns.accounts,
            turns.starts,
            turns.members,
            np.empty(most, np.uint32),
            np.empty(most, np.uint32),
            np.empty(most, np.uint8),
            np.empty(slots_for(most), np.uint64),
            np.empty(slots_for(most), np.uint32),
            numbers,
            owners,
            asked,
            waited,
        )
        for name, values in zip(NUMBERS, numbers.T, strict=True):
            found[name] = values
        responses = _responses(len(rows), owners[:answers], asked[:answers], waited[:answers], self._policy.hours)
        for name, values in responses.items():
            found[name] = values


def _with_room(rows: Array, count: int) -> Array:
    """Returns the rows, followed by zeros where they are fewer than `count`."""
    return rows if count <= len(rows) else np.append(rows, np.zeros(count - len(rows), rows.dtype))


def _nothing() -> Array:
    """Returns the numbers of a thread without comments."""
    nothing = np.zeros(1, _FOUND)
    for name in _RESPONSES:
        nothing[name] = np.nan
    return nothing


def _responses(count: int, owners: Array, asked: Array, waited: Array, hours: BusinessHours) -> dict[str, Array]:
    """Computes quantiles of the minutes waited (at most 2^32) for each of `count` owners: of all comments, and of those
    made in business hours."""
    # One number sorts by owner, then by wait; its last bit tells whether the comment was made in business hours.
    packed = np.sort(owners << 33 | waited << 1 | hours.contains(asked))
    columns = {}
    for name, chosen in (("", packed), ("_business", packed[packed & 1 == 1])):
        edges = np.searchsorted(chosen >> 33, np.arange(count + 1))
        waits = np.append(chosen >> 1 & NEVER_ANSWERED, 0).astype(np.float64)
        for percent in (50, 90):
            columns[f"first_response{name}_p{percent}"] = _quantile(waits, edges, percent / 100)
    return columns


def _quantile(values: Array, edges: Array, share: float) -> Array:
    """Computes the quantile of each sorted group `values[edges[i] : edges[i + 1]]`, linear between neighbours; NaN for
    an empty group. `values` has one more element at its end."""
    last = np.diff(edges) - 1
    place = np.maximum(last, 0) * share
    below = np.floor(place).astype(np.int64)
    low = values[edges[:-1] + below]
    high = values[edges[:-1] + np.minimum(below + 1, np.maximum(last, 0))]
    found: Array = np.where(last < 0, np.nan, low + (high - low) * (place - below))
    return found

"""The conversation under a post: who answers whom, and how soon the brand does. One pass over its comments when its row
is written.

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
from processors.engagement.fold.business_hours import BusinessHours
from processors.engagement.fold.layout import N_NODES
from processors.engagement.fold.tables import Tables
from processors.engagement.fold.thread_kernels import NO_MINUTE, NUMBERS, converse, link, slots_for
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
"""A thread as it was read when the post had so many shares and comments, so many net comments, and this author."""


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


class ThreadState:
    """What was last found of each post's thread. Most rows are written because of a like, which changes no thread: a
    thread is read again only when there are more shares and comments, fewer net comments or another author. As adds and
    retractions only grow, equal numbers of them are the same ones."""

    def __init__(self, policy: ThreadPolicy) -> None:
        self._policy = policy
        self._found: Array = np.zeros(0, _FOUND)
        # Comments by post: the one that came last, and per node the one before. Most panes have likes alone.
        self._newest: Array = np.zeros(0, np.uint32)
        self._before: Array = np.zeros(0, np.uint32)
        self._linked = 0

    @property
    def bytes(self) -> int:
        return self._found.nbytes + self._newest.nbytes + self._before.nbytes

    def keep(self, keep: Array) -> None:
        """Only the posts where `keep` (one flag per post in memory). Nodes have other rows after that."""
        self._found = _with_room(self._found, len(keep))[: len(keep)][keep]
        self._newest, self._linked = self._newest[:0], 0

    def columns(self, tables: Tables, rows: Array, truncated: Array) -> dict[str, Array]:
        """The columns of threads of schemas/tables.py for these posts, each named once, whose trees are settled
        (`Fold.settle`). O(comments) where something changed; `truncated` ones have no trees."""
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
        """Comments that came since the last look, into the lists of their posts."""
        nodes = int(tables.sizes[N_NODES])
        if len(self._newest) < len(tables.posts):
            fresh = np.full(len(tables.posts) - len(self._newest), NONE, np.uint32)
            self._newest = np.append(self._newest, fresh)
        if len(self._before) < nodes:
            self._before = _with_room(self._before, nodes + nodes // 4)
        link(tables, self._linked, self._newest, self._before)
        self._linked = nodes

    def _read(self, tables: Tables, rows: Array, said: Array, found: Array) -> None:
        """Reads threads anew, into `found`."""
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
    """These rows, and zeros up to `count` where they are fewer."""
    return rows if count <= len(rows) else np.append(rows, np.zeros(count - len(rows), rows.dtype))


def _nothing() -> Array:
    """What is found where nobody said anything."""
    nothing = np.zeros(1, _FOUND)
    for name in _RESPONSES:
        nothing[name] = np.nan
    return nothing


def _responses(count: int, owners: Array, asked: Array, waited: Array, hours: BusinessHours) -> dict[str, Array]:
    """Quantiles of the minutes waited (at most 2^32) for each of `count` owners, of all and of what was asked in
    business hours."""
    # One number sorts by owner, then by wait, and keeps in its last bit whether it was in business hours.
    packed = np.sort(owners << 33 | waited << 1 | hours.contains(asked))
    columns = {}
    for name, chosen in (("", packed), ("_business", packed[packed & 1 == 1])):
        edges = np.searchsorted(chosen >> 33, np.arange(count + 1))
        waits = np.append(chosen >> 1 & NO_MINUTE, 0).astype(np.float64)
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

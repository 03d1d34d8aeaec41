"""The conversations that posts belong to, and those that shares and comments of a post name besides.

The name of a conversation is kept once and referred to by its number. Rows are those of the fold, one per post. The
name of a thread, `thread:<post_id>`, follows from the id of the post and is not kept.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Final

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.hashing import Hasher
from processors.columnar.mmap_arrays import zeros
from processors.columnar.partitioning import partitions_of

MEMBERSHIP_ROW: Final = np.dtype(
    [
        ("first", "u4"),  # place of its first name in `held`
        ("current", "u4"),  # names of the conversations that it belongs to
        ("left", "u4"),  # after these, names that an older event of the post named
        ("channel", "u8"),  # hash of the channel that it was posted on
        ("stands", "u1"),  # 1 where it is known and not deleted
    ]
)
OWN_NAME_ROW: Final = np.dtype([("post", "u4"), ("name", "u4"), ("key", "u8")])
"""A conversation that a share or comment names itself; `key` is the key of the event in the fold."""

_NAME_BYTES: Final = 160
"""Memory of a name beside its characters: the string, its entry in a dict and in two arrays."""

_GROWTH: Final = 1.25


class Memberships:
    """The memberships of the posts of one fold. Not thread-safe. `of` is the number of partitions of the conversations'
    topic."""

    def __init__(self, hasher: Hasher, of: int = 1) -> None:
        self._hasher, self._of = hasher, of
        self._numbers: dict[str, int] = {}
        self._text_bytes = 0
        self.names: Array = np.empty(64, object)
        self.partitions: Array = np.empty(64, np.uint16)
        self.posts: Array = np.zeros(64, MEMBERSHIP_ROW)
        self.held: Array = np.empty(64, np.uint32)
        self._held = 0
        self._own: Array = np.empty(64, OWN_NAME_ROW)
        self._owned = 0
        self.channels: dict[int, str] = {}
        """Hash -> text of all channels that were met."""
        self._texts: set[str] = set()

    @property
    def own(self) -> Array:
        """The conversations that shares and comments name themselves: rows of OWN_NAME_ROW."""
        return self._own[: self._owned]

    @property
    def bytes(self) -> int:
        """Memory, room included."""
        arrays = (self.names, self.partitions, self.posts, self.held, self._own)
        return sum(array.nbytes for array in arrays) + self._text_bytes + _NAME_BYTES * len(self.channels)

    def make_room(self, posts: int) -> None:
        """Makes room for `posts` posts in all; nothing is known of new ones."""
        self.posts = _with_room(self.posts, posts)

    def say(
        self,
        rows: Array,
        current: Sequence[Sequence[str]],
        left: Sequence[Sequence[str]],
        channels: Sequence[str],
        stands: Sequence[bool],
    ) -> None:
        """Sets the conversations of posts, those that they left, their channel and whether they stand; each row
        once."""
        lengths = np.array([list(map(len, current)), list(map(len, left))], np.int64)
        numbers = self._number(list(chain.from_iterable(chain(*pair) for pair in zip(current, left, strict=True))))
        ends = np.cumsum(lengths.sum(axis=0))
        self.held = _with_room(self.held, self._held + len(numbers))
        self.held[self._held : self._held + len(numbers)] = numbers
        posts = self.posts
        posts["first"][rows] = self._held + ends - lengths.sum(axis=0)
        posts["current"][rows], posts["left"][rows] = lengths
        posts["channel"][rows] = self.learn_channels(channels)
        posts["stands"][rows] = stands
        self._held += len(numbers)

    def tag(self, rows: Array, keys: Array, named: Sequence[Sequence[str]]) -> None:
        """Adds the conversations that shares and comments name: `rows` of their posts, and keys of these events, which
        are new in the fold."""
        lengths = list(map(len, named))
        numbers = self._number(list(chain.from_iterable(named)))
        start, self._owned = self._owned, self._owned + len(numbers)
        self._own = _with_room(self._own, self._owned)
        added = self._own[start : self._owned]
        added["post"], added["key"], added["name"] = np.repeat(rows, lengths), np.repeat(keys, lengths), numbers

    def learn_channels(self, texts: Sequence[str]) -> Array:
        """Returns the hash of each text; `channels` has the texts from now on."""
        hashes = self._hasher.hashes(texts)
        self.channels.update(zip(hashes.tolist(), texts, strict=True))
        self._texts.update(texts)
        return hashes

    def new_channels(self, texts: Sequence[str]) -> list[str]:
        """Returns the distinct texts of channels that were not met yet."""
        return list(set(texts).difference(self._texts))

    def keep_channels(self, hashes: Array) -> None:
        """Keeps only the channels of these hashes and those of posts."""
        used = set(hashes.tolist()) | set(self.posts["channel"].tolist())
        self.channels = {number: text for number, text in self.channels.items() if number in used}
        self._texts = set(self.channels.values())

    def keep(self, keep: Array) -> None:
        """Keeps only the posts where `keep` (one flag per post of the fold) is true, renumbered without gaps, and the
        names that these use."""
        moved = np.cumsum(keep) - 1
        posts, own = self.posts[: len(keep)][keep], self.own
        own = own[keep[own["post"]]]
        own["post"] = moved[own["post"]]
        lengths = (posts["current"] + posts["left"]).astype(np.int64)
        ends = np.cumsum(lengths)
        held = self.held[np.arange(int(lengths.sum())) + np.repeat(posts["first"] - (ends - lengths), lengths)]
        posts["first"] = ends - lengths
        used, numbers = np.unique(np.concatenate((held, own["name"])), return_inverse=True)
        self.names, self.partitions = self.names[used], self.partitions[used]
        self._numbers = {name: number for number, name in enumerate(self.names.tolist())}
        self._text_bytes = sum(map(len, self._numbers)) + _NAME_BYTES * len(used)
        own["name"] = numbers[len(held) :]
        self.posts, self.held, self._own = posts, numbers[: len(held)].astype(np.uint32), own
        self._held, self._owned = len(held), len(own)

    def _number(self, names: Sequence[str]) -> Array:
        """Returns the number of each name, a new one for a new name."""
        known = self._numbers
        new = [name for name in dict.fromkeys(names) if name not in known]
        if new:
            first = len(known)
            known.update(zip(new, range(first, first + len(new)), strict=True))
            self.names, self.partitions = (_with_room(a, len(known)) for a in (self.names, self.partitions))
            self.names[first : len(known)] = new
            self.partitions[first : len(known)] = partitions_of(new, self._of)
            self._text_bytes += sum(map(len, new)) + _NAME_BYTES * len(new)
        return np.fromiter(map(known.__getitem__, names), np.uint32, len(names))


def _with_room(rows: Array, size: int) -> Array:
    if size <= len(rows):
        return rows
    grown: Array = zeros(max(size, int(len(rows) * _GROWTH)), rows.dtype)
    grown[: len(rows)] = rows
    return grown

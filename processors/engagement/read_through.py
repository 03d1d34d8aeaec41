"""Posts that are not in memory: read from the log before their events are folded (law 3)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.hashing import Hasher
from processors.engagement.fold import kernels
from processors.engagement.known import KnownPosts
from processors.engagement.ports import Log, LoggedEvents
from processors.engagement.rows.post_facts import PostEvent
from processors.engagement.state import Said, State, Tagged

Result = TypeVar("Result")


class Patiently(Protocol):
    """Calls an action until it works; see processors.runtime.retry."""

    def __call__(self, action: Callable[[], Result]) -> Result: ...


class ColdPosts:
    """Brings posts into memory. It knows which posts the log has, so that a new one costs no look-up; where these are
    more than `known_bytes` of memory tell apart, some new ones do."""

    def __init__(self, log: Log, hasher: Hasher, patiently: Patiently, known_bytes: int = 128 << 20) -> None:
        self._log, self._hasher, self._patiently, self._known_bytes = log, hasher, patiently, known_bytes
        self._known: KnownPosts | None = None
        self._partitions: tuple[int, ...] = ()
        self._of = 1

    def assign(self, partitions: Iterable[int], of: int) -> None:
        """Which partitions are ours; the posts of these that have an event are loaded when they are first needed."""
        self._partitions, self._of, self._known = tuple(sorted(partitions)), of, None

    def bring(self, state: State, post_ids: Sequence[str], partitions: Array) -> int:
        """Adds these posts, none of which is in memory, with all that the log has of them; returns how many of them it
        was asked for. Raises as `patiently` does; then nothing was added."""
        hashes = self._hasher.hashes(post_ids)
        logged = self._patiently(self._load).has(hashes)
        # Read first, add then: what fails half-way must not leave a post in memory that lacks events.
        cold = [post_ids[number] for number in np.flatnonzero(logged).tolist()]
        read = self._patiently(lambda: read_posts(self._log, self._hasher, cold, state)) if cold else None
        state.add(post_ids, partitions)
        if read is not None:
            take_posts(read, state)
        return len(cold)

    def note_gone(self, post_ids: Sequence[str]) -> None:
        """Posts that left memory have to be looked up when they come again."""
        if self._known is not None and post_ids:
            self._known.add(self._hasher.hashes(post_ids))

    @property
    def known_bytes(self) -> int:
        """Memory of what is known of the log."""
        return self._known.bytes if self._known is not None else 0

    def _load(self) -> KnownPosts:
        if self._known is None:
            known = KnownPosts(self._known_bytes)
            for hashes in self._log.known(self._partitions, self._of):
                known.add(hashes)
            self._known = known
        return self._known


class Read(NamedTuple):
    """What the log has of some posts: events in blocks, to which of the posts each belongs, and what their numbers do
    not say."""

    posts: Sequence[str]
    blocks: list[LoggedEvents]
    places: list[Array]
    own: Sequence[PostEvent]
    tagged: Sequence[Tagged]
    channels: Sequence[str]


def read_posts(log: Log, hasher: Hasher, post_ids: Sequence[str], state: State) -> Read:
    """All of these posts; of channels only those that the state has not met. Blocks. Raises as a Log does."""
    hashes = hasher.hashes(post_ids)
    order = np.argsort(hashes)
    blocks = list(log.read(post_ids))
    places = [order[np.searchsorted(hashes, block.posts, sorter=order)] for block in blocks]
    # Most posts of a flood of likes need no more: what is asked for are those with an event of their own, with shares
    # or comments, and with a channel that was not met before.
    marked = np.zeros((3, len(post_ids)), np.bool_)
    met = np.fromiter(state.known.channels, np.uint64, len(state.known.channels))
    for (_, events), place in zip(blocks, places, strict=True):
        nodes = events.are_nodes & (events.actions == kernels.ADD)
        marked[0, place[events.measures < 0]] = True
        marked[1, place[nodes]] = True
        marked[2, place[nodes & ~np.isin(events.channels, met)]] = True
    posts, trees, strange = ([post_ids[row] for row in np.flatnonzero(mark).tolist()] for mark in marked)
    return Read(
        post_ids,
        blocks,
        places,
        log.read_posts(posts) if posts else (),
        log.read_tagged(trees) if trees else (),
        log.read_channels(strange) if strange else (),
    )


def take_posts(read: Read, state: State) -> Mapping[str, Said]:
    """Folds what was read of posts of which nothing is in the state but a row; what they say of themselves."""
    rows = state.fold.find(read.posts)
    for block, place in zip(read.blocks, read.places, strict=True):
        state.fold.take(rows[place], block.events)
    state.known.learn_channels(read.channels)
    state.tag(read.tagged)
    own: dict[str, list[PostEvent]] = {}
    for event in read.own:
        own.setdefault(event.post_id, []).append(event)
    return state.learn(own)

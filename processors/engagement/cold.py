"""Posts that are not in memory: read from the log before their events are folded (law 3)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from processors.engagement import kernels
from processors.engagement.facts import PostEvent
from processors.engagement.hashing import Hasher
from processors.engagement.ports import Log, LoggedEvents
from processors.engagement.state import State, Tagged

Array = np.ndarray[Any, Any]
Result = TypeVar("Result")


class Patiently(Protocol):
    """Calls an action until it works; see processors.patience."""

    def __call__(self, action: Callable[[], Result]) -> Result: ...


class ColdPosts:
    """Brings posts into memory. It knows which posts the log has, so that a new one costs no look-up."""

    def __init__(self, log: Log, hasher: Hasher, patiently: Patiently) -> None:
        self._log, self._hasher, self._patiently = log, hasher, patiently
        self._known: Array | None = None
        self._partitions: tuple[int, ...] = ()
        self._of = 1

    def assign(self, partitions: Iterable[int], of: int) -> None:
        """Which partitions are ours; the posts of these that have an event are loaded when they are first needed."""
        self._partitions, self._of, self._known = tuple(sorted(partitions)), of, None

    def bring(self, state: State, post_ids: Sequence[str], partitions: Array) -> int:
        """Adds these posts, none of which is in memory, with all that the log has of them; returns how many of them it
        was asked for. Raises as `patiently` does; then nothing was added."""
        hashes = self._hasher.hashes(post_ids)
        order = np.argsort(hashes)
        known = self._patiently(self._load)
        logged = (
            known[np.minimum(np.searchsorted(known, hashes), len(known) - 1)] == hashes
            if len(known)
            else np.zeros(len(hashes), np.bool_)
        )
        # Read first, add then: what fails half-way must not leave a post in memory that lacks events.
        cold = [post_ids[number] for number in np.flatnonzero(logged).tolist()]
        found = self._patiently(lambda: list(self._log.read(cold))) if cold else []
        places = [order[np.searchsorted(hashes, block.posts, sorter=order)] for block in found]
        own, tagged, channels = self._read_words(state, post_ids, found, places)
        rows = state.add(post_ids, partitions)
        for block, place in zip(found, places, strict=True):
            state.fold.take(rows[place], block.events)
        state.known.learn_channels(channels)
        state.tag(tagged)
        by_post: dict[str, list[PostEvent]] = {}
        for event in own:
            by_post.setdefault(event.post_id, []).append(event)
        state.learn(by_post)
        return len(cold)

    def note_gone(self, post_ids: Sequence[str]) -> None:
        """Posts that left memory have to be looked up when they come again."""
        if self._known is not None and post_ids:
            self._known = np.union1d(self._known, self._hasher.hashes(post_ids))

    def _load(self) -> Array:
        if self._known is None:
            self._known = np.unique(self._log.known(self._partitions, self._of))
        return self._known

    def _read_words(
        self, state: State, post_ids: Sequence[str], found: Sequence[LoggedEvents], places: Sequence[Array]
    ) -> tuple[Sequence[PostEvent], Sequence[Tagged], Sequence[str]]:
        """What the fold's numbers do not say: of posts with an event of their own, with shares or comments, and with a
        channel that was not met before."""
        marked = np.zeros((3, len(post_ids)), np.bool_)
        met = np.fromiter(state.known.channels, np.uint64, len(state.known.channels))
        for block, place in zip(found, places, strict=True):
            events = block.events
            nodes = (events.measures > 0) & (events.actions == kernels.ADD)
            marked[0, place[events.measures < 0]] = True
            marked[1, place[nodes]] = True
            marked[2, place[nodes & ~np.isin(events.channels, met)]] = True
        posts, trees, strange = ([post_ids[row] for row in np.flatnonzero(mark).tolist()] for mark in marked)
        return (
            self._patiently(lambda: self._log.read_posts(posts)) if posts else (),
            self._patiently(lambda: self._log.read_tagged(trees)) if trees else (),
            self._patiently(lambda: self._log.read_channels(strange)) if strange else (),
        )

"""Cells: the contribution of each post to each minute of each conversation. They become rows of conversation_posts and
messages to the conversation agent (law 7). Pure: cells follow from the events of their posts alone.

A minute of a post counts as a whole in the conversations of the post and in its thread. In other conversations only the
shares and comments count that name these conversations themselves. A conversation that a post has left gets its cell
too, mostly of zeros, because a slower owner of the partition may have written one.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array, Columns
from processors.columnar.factorize import number
from processors.columnar.hashing import NOBODY
from processors.columnar.partitioning import partitions_of
from processors.columnar.sets import Sets, join_sets
from processors.engagement.cells import cell_kernels
from processors.engagement.cells.memberships import Memberships
from processors.engagement.fold.fold import Fold
from processors.engagement.rows import post_rows
from processors.engagement.rows.post_facts import THREAD
from schemas.conversations import CELL_COUNTS
from schemas.metrics import MEASURES, MINUTE, NODE_MEASURES, VOICES

_SHIFT: Final = np.uint64(32)
_CELLS_AT_ONCE: Final = 200_000
"""About 100 MB while they are made."""


class Again(NamedTuple):
    """Posts whose minutes are all sent again, with the minutes in which they were made by their own events: these may
    have no pane. `posts[i]` goes with `minutes[i]`; a post may come several times."""

    posts: Array
    minutes: Array


NO_MORE: Final = Again(np.empty(0, np.int64), np.empty(0, np.int64))


class Cells(NamedTuple):
    """Cells of some posts. The cells of one minute of a post share most of their content, which is therefore kept once,
    in a spot. Texts are referred to by their index."""

    conversations: Array  # cells: place in `names`
    spots: Array  # cells: place in the spots
    partitions: Array  # cells: of the topic of conversations
    minutes: Array  # spots, since 1970
    posts: Array  # spots: place in `post_ids`
    counts: Array  # spots x CELL_COUNTS
    channels: Array  # spots: place in `channel_texts`
    voices: Sets  # of spots: hashes of who spoke, sorted
    exact: Array  # spots
    versions: Array  # spots
    names: Array  # texts as arrays of objects, as ClickHouse takes them
    post_ids: Array
    channel_texts: Array  # each some channels with NUL between

    def __len__(self) -> int:
        return len(self.conversations)


class _Spots(NamedTuple):
    """The content of minutes of posts: counts, channels (index of their text), voices and whether all voices are
    there."""

    counts: Array
    channels: Array
    voices: Sets
    exact: Array


def cells_of(fold: Fold, known: Memberships, panes: Array, again: Again, of: int) -> Iterator[Cells]:
    """Yields the cells of these panes of the fold and all cells of the posts `again`, about _CELLS_AT_ONCE at a time.
    `of` is the number of partitions of the conversations' topic."""
    tables = fold.tables
    more = _panes_of(tables, np.unique(again.posts)) if len(again.posts) else np.empty(0, np.int64)
    panes = tables.panes[np.concatenate((panes, more))]
    numbers = np.unique(np.concatenate((_numbers(panes["post"], panes["key"]), _numbers(again.posts, again.minutes))))
    posts = known.posts[(numbers >> _SHIFT).astype(np.int64)]
    made = np.cumsum(1 + posts["current"].astype(np.int64) + posts["left"])
    cuts = np.searchsorted(made, np.arange(_CELLS_AT_ONCE, made[-1], _CELLS_AT_ONCE)) if len(made) else ()
    for part in np.split(numbers, cuts):
        if len(part):
            yield _cells(fold, known, part, of)


def conversation_posts(cells: Cells) -> Columns:
    """Makes rows of conversation_posts."""
    spots = cells.spots
    counts = cells.counts[spots]
    posts = cells.posts[spots]
    return {
        "conversation": cells.names[cells.conversations],
        "minute": (cells.minutes.astype(np.int64) * MINUTE).astype(np.uint32)[spots],
        "post_id": cells.post_ids[posts],
        **{name: counts[:, number] for number, name in enumerate(CELL_COUNTS)},
        "channels": cells.channel_texts[cells.channels][spots],
        "voices": _cut(cells.voices)[spots],
        "voices_exact": cells.exact[spots],
        "version": cells.versions[spots],
    }


def _cells(fold: Fold, known: Memberships, numbers: Array, of: int) -> Cells:
    tables, texts = fold.tables, _Texts(known)
    posts = (numbers >> _SHIFT).astype(np.int64)
    whole, seen = _look(tables, known, numbers, texts)
    # A cell follows from the events of its minute and from the own events of its post.
    versions = post_rows.versions(seen + fold.post_events(posts))
    owners, place = np.unique(posts, return_inverse=True)
    ids = post_rows.names(fold, owners)
    at, names = _shared(known, posts)
    part_at, part_names, parts = _parts(tables, known, numbers, texts)
    used, named = number(np.concatenate((names, part_names)), len(known.names))
    threads = np.empty(len(owners), object)
    threads[:] = [THREAD + post_id for post_id in ids.tolist()]
    lanes = partitions_of(threads.tolist(), of).astype(np.uint16)
    spots = np.arange(len(numbers))
    behind = np.concatenate((spots, part_at))  # the spots of parts come after the whole ones
    return Cells(
        conversations=np.concatenate((place, len(owners) + named)),
        spots=np.concatenate((spots, at, len(numbers) + np.arange(len(part_at)))),
        partitions=np.concatenate((lanes[place], known.partitions[names], known.partitions[part_names])),
        minutes=(numbers & np.uint64(0xFFFFFFFF)).astype(np.uint32)[behind],
        posts=place[behind],
        counts=np.concatenate((whole.counts, parts.counts)),
        channels=np.concatenate((whole.channels, parts.channels)),
        voices=join_sets([whole.voices, parts.voices]),
        exact=np.concatenate((whole.exact, parts.exact)),
        versions=versions[np.concatenate((spots, part_at))],
        names=np.concatenate((threads, known.names[used])),
        post_ids=ids,
        channel_texts=texts.all(),
    )


def _numbers(posts: Array, minutes: Array) -> Array:
    return (posts.astype(np.uint64) << _SHIFT) | minutes.astype(np.uint64)


def _panes_of(tables: Any, posts: Array) -> Array:
    posts, found = posts.astype(np.int64), np.empty(4096, np.int64)
    count = cell_kernels.panes_of(tables, posts, found)
    if count > len(found):
        found = np.empty(count, np.int64)
        cell_kernels.panes_of(tables, posts, found)
    return found[:count]


def _look(tables: Any, known: Memberships, numbers: Array, texts: "_Texts") -> tuple[_Spots, Array]:
    """Reads the whole content of these spots, and the number of events seen that can change their panes."""
    size = len(numbers)
    posts = (numbers >> _SHIFT).astype(np.int64)
    counts, starts = np.zeros((size, len(CELL_COUNTS)), np.uint32), np.empty(size, np.int64)
    seen = np.zeros(size, np.int64)
    counted = np.zeros((size, len(CELL_COUNTS) - 1), np.uint32)  # a part of `counts` would need a kernel of its own
    born = cell_kernels.count_spots(tables, numbers, counted, seen, starts)
    counts[:, 1:] = counted
    counts[:, 0] = born & (known.posts["stands"][posts] != 0)
    room = int(starts[-1]) if size else 0
    heard, spoken = np.empty(room, np.uint64), np.empty(room, np.uint64)
    voice_ends, spoken_ends = np.empty(size, np.int64), np.empty(size, np.int64)
    exact = np.ones(size, np.uint8)
    cell_kernels.listen(
        tables, numbers, known.posts["channel"], VOICES, starts, heard, spoken, voice_ends, spoken_ends, exact
    )
    return _Spots(counts, texts.places(_until(spoken, spoken_ends)), _until(heard, voice_ends), exact), seen


def _shared(known: Memberships, posts: Array) -> tuple[Array, Array]:
    """Returns spot and name of each conversation that counts a whole spot, threads left out. `posts` has the post of
    each spot."""
    count = known.posts["current"][posts].astype(np.int64)
    at = np.repeat(np.arange(len(count)), count)
    first = known.posts["first"][posts].astype(np.int64)
    return at, known.held[np.arange(len(at)) + (first - (np.cumsum(count) - count))[at]]


def _parts(tables: Any, known: Memberships, numbers: Array, texts: "_Texts") -> tuple[Array, Array, _Spots]:
    """Returns spot, name and content for the conversations that only shares and comments name, or that the post has
    left."""
    at, names, what, events = _own(tables, known, numbers)
    keys, cell = np.unique((at.astype(np.uint64) << _SHIFT) | names, return_inverse=True)
    size = len(keys)
    counts = np.zeros((size, len(CELL_COUNTS)), np.uint32)
    for measure in NODE_MEASURES:
        for change in (measure, len(MEASURES) + measure):
            counts[:, 1 + change] = np.bincount(cell[what == change], minlength=size)
    adds = np.flatnonzero(what < len(MEASURES))
    actors, channels = np.empty(len(adds), np.uint64), np.empty(len(adds), np.uint64)
    cell_kernels.speakers(tables, events[adds], actors, channels)
    named = actors != NOBODY
    heard, exact = _distinct(cell[adds][named], actors[named], size, VOICES)
    spoken, _ = _distinct(cell[adds], channels, size, len(adds))
    name = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
    return (keys >> _SHIFT).astype(np.int64), name, _Spots(counts, texts.places(spoken), heard, exact)


def _own(tables: Any, known: Memberships, numbers: Array) -> tuple[Array, Array, Array, Array]:
    """Returns spot, name, change (see TOUCHED of cell_kernels.py) and event of whatever counts in a conversation that
    is not one of its post."""
    posts = (numbers >> _SHIFT).astype(np.int64)
    left = known.posts["left"][posts].astype(np.int64)
    at = np.repeat(np.arange(len(left)), left)
    first = known.posts["first"][posts].astype(np.int64) + known.posts["current"][posts]
    names = known.held[np.arange(len(at)) + (first - (np.cumsum(left) - left))[at]]
    touched = np.zeros(len(known.posts), np.bool_)
    touched[posts] = True
    own = known.own
    own = own[touched[own["post"]]] if len(own) else own
    room = 2 * len(own)
    while True:
        found = tuple(np.empty(room, kind) for kind in (np.int64, np.uint32, np.uint8, np.int64))
        count = cell_kernels.own_conversations(tables, numbers, own, known.posts, known.held, *found)
        if count <= room:
            break
        room = count
    out_at, out_names, what, events = (column[:count] for column in found)
    return (
        np.concatenate((at, out_at)),
        np.concatenate((names, out_names)),
        np.concatenate((np.full(len(at), cell_kernels.TOUCHED, np.uint8), what)),
        np.concatenate((np.full(len(at), -1), events)),
    )


def _distinct(owners: Array, values: Array, size: int, most: int) -> tuple[Sets, Array]:
    """Returns the distinct values of each of `size` owners, sorted, at most `most` of them, and whether these are
    all."""
    order = np.lexsort((values, owners))
    owners, values = owners[order], values[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (owners[1:] != owners[:-1]) | (values[1:] != values[:-1])
    owners, values = owners[new], values[new]
    count = np.bincount(owners, minlength=size)
    rank = np.arange(len(owners)) - (np.cumsum(count) - count)[owners]
    return Sets(values[rank < most], np.minimum(count, most)), (count <= most).astype(np.uint8)


def _until(values: Array, ends: Array) -> Sets:
    """Makes sets that end at these places of `values`."""
    lengths = np.diff(ends, prepend=0)
    return Sets(values[: int(lengths.sum())], lengths)


class _Texts:
    """The channels of spots as texts. Few are different, so each text is made once."""

    def __init__(self, known: Memberships) -> None:
        self._known = known
        self._texts = [""]
        self._places = {b"": 0}

    def places(self, spoken: Sets) -> Array:
        """Returns the index of each spot's text for the hashes of its channels."""
        keys = _cut(spoken).tolist()
        for key in set(keys).difference(self._places):
            names = {self._known.channels[each] for each in np.frombuffer(key, np.uint64).tolist()}
            self._places[key] = len(self._texts)
            self._texts.append("\0".join(sorted(names - {""})))
        return np.fromiter(map(self._places.__getitem__, keys), np.uint32, len(keys))

    def all(self) -> Array:
        """Returns the texts, as an array of objects."""
        texts = np.empty(len(self._texts), object)
        texts[:] = self._texts
        return texts


def _cut(sets: Sets) -> Array:
    """Returns the hashes of each set as bytes."""
    text = sets.values.tobytes()
    pieces = np.empty(len(sets.lengths), object)
    pieces[:] = b""
    filled = np.flatnonzero(sets.lengths)
    starts = sets.starts[filled] * 8
    cuts = zip(starts.tolist(), (starts + sets.lengths[filled] * 8).tolist(), strict=True)
    pieces[filled] = [text[start:end] for start, end in cuts] or None
    return pieces

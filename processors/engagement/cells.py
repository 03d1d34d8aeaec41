"""What each post adds to each minute of each conversation: rows of conversation_posts, and what is sent on (law 7).

A post's minute counts whole in the conversations of the post and in its thread; in others counts what its shares and
comments there name themselves. Conversations that a post has left get what is theirs now, zeros mostly, with every
minute: a slower owner may have written them. Pure: what comes out follows from the events of the posts alone.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from processors.engagement import rows, voices
from processors.engagement.facts import THREAD
from processors.engagement.fold import Fold
from processors.engagement.memberships import Memberships
from processors.engagement.partitioning import partitions_of
from schemas.metrics import MEASURES, MINUTE, VOICES

Array = np.ndarray[Any, Any]

COUNTS: Final = ("posts", *MEASURES, *(f"{measure}_retracted" for measure in MEASURES))

SHIFT: Final = np.uint64(32)
CELLS_AT_ONCE: Final = 200_000
"""Some 100 MB while they are made."""


class Again(NamedTuple):
    """Posts whose every minute is sent again, and minutes of theirs that may have no pane: those in which they were
    made, as their events say. `posts[i]` goes with `minutes[i]`; a post may come several times."""

    posts: Array
    minutes: Array


NO_MORE: Final = Again(np.empty(0, np.int64), np.empty(0, np.int64))


class Cells(NamedTuple):
    """One cell a place; `minutes` since 1970. `channels` are texts with NUL between, `voices` the bytes of sorted
    numbers: arrays of objects, as ClickHouse takes them. `partitions`: of the topic of conversations."""

    conversations: Array
    minutes: Array
    post_ids: Array
    counts: Array  # n x COUNTS
    channels: Array
    voices: Array
    exact: Array
    versions: Array
    partitions: Array

    def __len__(self) -> int:
        return len(self.minutes)


class _Spots(NamedTuple):
    """Posts' minutes, in order: what stands in each as a whole."""

    numbers: Array  # post << 32 | minute
    posts: Array
    counts: Array
    channels: Array
    voices: Array
    exact: Array


def cells_of(fold: Fold, known: Memberships, panes: Array, again: Again, of: int) -> Iterator[Cells]:
    """The cells of these panes of the fold, and all of the posts that are to be sent `again`, some at a time; `of`
    partitions."""
    tables = fold._tables
    more = _panes_of(tables, np.unique(again.posts)) if len(again.posts) else np.empty(0, np.int64)
    panes = tables.panes[np.concatenate((panes, more))]
    numbers = np.unique(np.concatenate((_numbers(panes["post"], panes["key"]), _numbers(again.posts, again.minutes))))
    posts = known.posts[(numbers >> SHIFT).astype(np.int64)]
    made = np.cumsum(1 + posts["current"].astype(np.int64) + posts["left"])
    cuts = np.searchsorted(made, np.arange(CELLS_AT_ONCE, made[-1], CELLS_AT_ONCE)) if len(made) else ()
    for part in np.split(numbers, cuts):
        if len(part):
            yield _cells(fold, known, part, of)


def conversation_posts(cells: Cells) -> rows.Columns:
    """Rows of conversation_posts."""
    return {
        "conversation": cells.conversations,
        "minute": (cells.minutes.astype(np.int64) * MINUTE).astype(np.uint32),
        "post_id": cells.post_ids,
        **{name: cells.counts[:, number] for number, name in enumerate(COUNTS)},
        "channels": cells.channels,
        "voices": cells.voices,
        "voices_exact": cells.exact,
        "version": cells.versions,
    }


def _cells(fold: Fold, known: Memberships, numbers: Array, of: int) -> Cells:
    tables = fold._tables
    spots = _look(tables, known, numbers)
    owners, place = np.unique(spots.posts, return_inverse=True)
    ids = rows.names(fold, owners)
    threads = np.empty(len(owners), object)
    threads[:] = [THREAD + post_id for post_id in ids.tolist()]
    whole = _whole(known, spots, place, threads, partitions_of(threads.tolist(), of))
    parts = _parts(tables, known, spots)
    at = np.concatenate((whole[0], parts[0]))
    owner = place[at]
    return Cells(
        conversations=np.concatenate((whole[1], parts[1])),
        minutes=(spots.numbers[at] & np.uint64(0xFFFFFFFF)).astype(np.uint32),
        post_ids=ids[owner],
        counts=np.concatenate((spots.counts[whole[0]], parts[3])),
        channels=np.concatenate((spots.channels[whole[0]], parts[4])),
        voices=np.concatenate((spots.voices[whole[0]], parts[5])),
        exact=np.concatenate((spots.exact[whole[0]], parts[6])),
        versions=rows.versions(*fold.seen(owners))[owner],
        partitions=np.concatenate((whole[2], parts[2])),
    )


def _numbers(posts: Array, minutes: Array) -> Array:
    return (posts.astype(np.uint64) << SHIFT) | minutes.astype(np.uint64)


def _panes_of(tables: Any, posts: Array) -> Array:
    posts, found = posts.astype(np.int64), np.empty(4096, np.int64)
    count = voices.panes_of(tables, posts, found)
    if count > len(found):
        found = np.empty(count, np.int64)
        voices.panes_of(tables, posts, found)
    return found[:count]


def _look(tables: Any, known: Memberships, numbers: Array) -> _Spots:
    """Everything that stands in these spots."""
    size = len(numbers)
    posts = (numbers >> SHIFT).astype(np.int64)
    counts, starts = np.zeros((size, len(COUNTS)), np.uint32), np.empty(size, np.int64)
    born = voices.look(tables, numbers, counts[:, 1:], starts)
    counts[:, 0] = born & (known.posts["stands"][posts] != 0)
    room = int(starts[-1]) if size else 0
    heard, spoken = np.empty(room, np.uint64), np.empty(room, np.uint64)
    voice_ends, spoken_ends = np.empty(size, np.int64), np.empty(size, np.int64)
    exact = np.ones(size, np.uint8)
    voices.listen(
        tables, numbers, known.posts["channel"], VOICES, starts, heard, spoken, voice_ends, spoken_ends, exact
    )
    return _Spots(
        numbers,
        posts,
        counts,
        _channel_texts(known, spoken, spoken_ends),
        _cut(heard.tobytes(), voice_ends),
        exact,
    )


def _whole(known: Memberships, spots: _Spots, place: Array, threads: Array, lanes: Array) -> tuple[Array, Array, Array]:
    """Spot, conversation and partition of each spot's cells in the conversations of its post and in its thread."""
    count = known.posts["current"][spots.posts].astype(np.int64)
    at = np.repeat(np.arange(len(count)), count)
    ends = np.cumsum(count)
    first = known.posts["first"][spots.posts].astype(np.int64)
    names = known.held[np.arange(len(at)) + (first - (ends - count))[at]]
    return (
        np.concatenate((np.arange(len(count)), at)),
        np.concatenate((threads[place], known.names[names])),
        np.concatenate((lanes[place].astype(np.uint16), known.partitions[names])),
    )


def _parts(tables: Any, known: Memberships, spots: _Spots) -> tuple[Array, ...]:
    """Spot, conversation, partition, counts, channels, voices, exact of the cells in conversations that only shares and
    comments name, or that the post has left."""
    at, names, what, events = _own(tables, known, spots)
    keys, cell = np.unique((at.astype(np.uint64) << SHIFT) | names, return_inverse=True)
    size = len(keys)
    counts = np.zeros((size, len(COUNTS)), np.uint32)
    for number, column in enumerate((2, 3, 5, 6)):
        counts[:, column] = np.bincount(cell[what == number], minlength=size)
    adds = np.flatnonzero(what <= voices.COMMENTED)
    actors, channels = np.empty(len(adds), np.uint64), np.empty(len(adds), np.uint64)
    voices.speakers(tables, events[adds], actors, channels)
    heard, voice_ends, exact = _distinct(cell[adds], actors, size, VOICES)
    spoken, spoken_ends, _ = _distinct(cell[adds], channels, size, len(adds))
    name = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
    return (
        (keys >> SHIFT).astype(np.int64),
        known.names[name],
        known.partitions[name],
        counts,
        _channel_texts(known, spoken, spoken_ends),
        _cut(heard.tobytes(), voice_ends),
        exact,
    )


def _own(tables: Any, known: Memberships, spots: _Spots) -> tuple[Array, Array, Array, Array]:
    """Spot, name, what (as voices.py has it) and event of each thing that counts in a conversation not its post's."""
    left = known.posts["left"][spots.posts].astype(np.int64)
    at = np.repeat(np.arange(len(left)), left)
    first = known.posts["first"][spots.posts].astype(np.int64) + known.posts["current"][spots.posts]
    names = known.held[np.arange(len(at)) + (first - (np.cumsum(left) - left))[at]]
    touched = np.zeros(len(known.posts), np.bool_)
    touched[spots.posts] = True
    own = known.own
    own = own[touched[own["post"]]] if len(own) else own
    room = 2 * len(own)
    while True:
        found = tuple(np.empty(room, kind) for kind in (np.int64, np.uint32, np.uint8, np.int64))
        count = voices.own_conversations(tables, spots.numbers, own, known.posts, known.held, *found)
        if count <= room:
            break
        room = count
    out_at, out_names, what, events = (column[:count] for column in found)
    return (
        np.concatenate((at, out_at)),
        np.concatenate((names, out_names)),
        np.concatenate((np.full(len(at), voices.TOUCHED, np.uint8), what)),
        np.concatenate((np.full(len(at), -1), events)),
    )


def _distinct(owners: Array, values: Array, size: int, most: int) -> tuple[Array, Array, Array]:
    """The distinct values of each of `size` owners, sorted, at most `most`, where each one's end, and whether all are
    there."""
    order = np.lexsort((values, owners))
    owners, values = owners[order], values[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (owners[1:] != owners[:-1]) | (values[1:] != values[:-1])
    owners, values = owners[new], values[new]
    count = np.bincount(owners, minlength=size)
    rank = np.arange(len(owners)) - (np.cumsum(count) - count)[owners]
    return values[rank < most], np.cumsum(np.minimum(count, most)), (count <= most).astype(np.uint8)


def _channel_texts(known: Memberships, hashes: Array, ends: Array) -> Array:
    """Each owner's channels as one text. There are few different ones, so each is made once."""
    made = {b"": ""}
    texts = _cut(hashes.tobytes(), ends)
    for key in set(texts.tolist()) - {b""}:
        names = {known.channels[number] for number in np.frombuffer(key, np.uint64).tolist()}
        made[key] = "\0".join(sorted(names - {""}))
    texts[:] = list(map(made.__getitem__, texts.tolist()))
    return texts


def _cut(text: bytes, ends: Array) -> Array:
    """Pieces of 8 bytes a value that end at these values."""
    pieces = np.empty(len(ends), object)
    pieces[:] = b""
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1])) if len(ends) else ends
    filled = np.flatnonzero(ends > starts)
    cuts = zip((starts[filled] * 8).tolist(), (ends[filled] * 8).tolist(), strict=True)
    pieces[filled] = [text[start:end] for start, end in cuts] or None
    return pieces

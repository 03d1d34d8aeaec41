"""Read-through of posts that are not in memory: their events in the log are read before new ones are folded (law 3)."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from typing import Any, Final, NamedTuple

import numpy as np

from pipeline.observability.metrics import WorkerMetrics
from processors.columnar.arrays import Array
from processors.columnar.hashing import Hasher
from processors.columnar.partitioning import partitions_of
from processors.engagement.fold import kernels
from processors.engagement.fold.columns import EventColumns
from processors.engagement.known import KnownPosts
from processors.engagement.ports import EventLog, LoggedEvents
from processors.engagement.rows.post_facts import PostEvent
from processors.engagement.state import OwnEvents, PostsState, Tagged
from processors.runtime.retry import StoreRetry

RETIRED_LOOK_SECONDS: Final = 20.0
"""The time between two looks for posts that were retired; retention waits for much longer (processors/retention)."""

RETIRED_LEASE_SECONDS: Final = 60.0
"""How long after a look rows may be stored without another one. A statement that is under way then ends within a minute
(pipeline/clickhouse/client.py), before retention, which waits for two, takes a marked post away."""

OVERLAP_MS: Final = 600_000
"""A look goes back so far behind the last one, because rows are not seen in the order of their times."""


class RetiredMeanwhile(Exception):
    """Posts in memory were retired while a batch was on its way: the batch is folded again without these."""

    def __init__(self, post_ids: Sequence[str]) -> None:
        super().__init__(f"{len(post_ids)} posts were retired")
        self.post_ids = post_ids


class ColdPosts:
    """Brings posts into memory. Keeps in mind which posts the log has, so that a new post costs no look-up. Beyond
    `known_bytes` of memory a filter does that, and some new posts cost one."""

    def __init__(
        self, log: EventLog, hasher: Hasher, retry: StoreRetry, metrics: WorkerMetrics, known_bytes: int = 128 << 20
    ) -> None:
        self._log, self._hasher, self._retry, self._known_bytes = log, hasher, retry, known_bytes
        self._metrics = metrics
        self._known: KnownPosts | None = None
        self._partitions: tuple[int, ...] = ()
        self._of = 1
        self.retired: Mapping[str, int] = {}
        """The retired posts among those that were asked for last, with the as_of of each, in seconds since 1970."""
        self._looks_at, self._looked_at, self._retired_until = 0.0, 0.0, 0

    def assign(self, partitions: Iterable[int], of: int) -> None:
        """Sets the owned partitions, out of `of`. Their posts in the log are read when they are first needed."""
        self._partitions, self._of, self._known = tuple(sorted(partitions)), of, None

    def place(self, state: PostsState, events: EventColumns) -> tuple[Array, Array]:
        """Returns the post row of each event, and a mask of the events on a partition that is not their post's. Reads
        cold posts through."""
        fold, self.retired = state.fold, {}
        posts = fold.find(events.post_id)
        missing = list(dict.fromkeys(events.post_id[number] for number in np.flatnonzero(posts < 0).tolist()))
        if missing:
            partitions = partitions_of(missing, state.of)
            seen = set(zip(events.post_id, events.partition.tolist(), strict=True))
            is_owned = np.array([pair in seen for pair in zip(missing, partitions.tolist(), strict=True)])
            if is_owned.any():
                with self._metrics.time_step("read_through"):
                    owned = list(compress(missing, is_owned.tolist()))
                    cold_reads = self.bring(state, owned, partitions[is_owned])
                self._metrics.count_cold_reads(cold_reads)
            posts = fold.find(events.post_id)
        is_misplaced = posts < 0
        in_memory = ~is_misplaced
        is_misplaced[in_memory] = fold.partitions(posts[in_memory]) != events.partition[in_memory]
        return posts, is_misplaced

    def bring(self, state: PostsState, post_ids: Sequence[str], partitions: Array) -> int:
        """Adds posts, none of which is in memory, with all their events in the log; posts that were retired are left
        out and noted in `retired`. Returns the number of posts that the log was asked for. Raises as StoreRetry does;
        no post was added then."""
        hashes = self._hasher.hashes(post_ids)
        is_logged = self._retry(self._load).has(hashes)
        # Reading comes before adding, so that a failure half-way leaves no post in memory that lacks events.
        asked = [post_ids[number] for number in np.flatnonzero(is_logged).tolist()]
        self.retired = self._retry(lambda: self._log.retired(asked)) if asked else {}
        cold = [post_id for post_id in asked if post_id not in self.retired]
        logged = self._retry(lambda: read_logged_posts(self._log, self._hasher, cold, state)) if cold else None
        if self.retired:
            stands = np.array([post_id not in self.retired for post_id in post_ids])
            post_ids, partitions = list(compress(post_ids, stands.tolist())), partitions[stands]
        state.add(post_ids, partitions)
        if logged is not None:
            add_logged_posts(logged, state)
        return len(asked)

    def newly_retired(self, now: float) -> Sequence[str]:
        """Returns the posts that were retired since the last look, when a look is due: each RETIRED_LOOK_SECONDS.
        `now`: Unix time in seconds. Raises as StoreRetry does."""
        return self._look(now) if now >= self._looks_at else ()

    def store_in_time(
        self, state: PostsState, now: Callable[[], float], store: Callable[..., None], *rows: Any
    ) -> None:
        """Stores rows, after a look for retired posts where the last one is longer ago than RETIRED_LEASE_SECONDS: the
        process was stopped, or ClickHouse was away. Raises RetiredMeanwhile for posts in memory, because a row of a
        post that has gone would count an event that is a dead letter elsewhere; and as `store` does."""
        moment = now()
        if moment - self._looked_at > RETIRED_LEASE_SECONDS:
            retired = self._look(moment)
            if (state.fold.find(retired) >= 0).any():
                raise RetiredMeanwhile(retired)
        store(*rows)

    def _look(self, now: float) -> Sequence[str]:
        since = max(self._retired_until - OVERLAP_MS, 0)
        post_ids, self._retired_until = self._retry(lambda: self._log.retired_since(since))
        self._looks_at, self._looked_at = now + RETIRED_LOOK_SECONDS, now
        return post_ids

    def note_gone(self, post_ids: Sequence[str]) -> None:
        """Notes that posts left memory: they are looked up when they come again."""
        if self._known is not None and post_ids:
            self._known.add(self._hasher.hashes(post_ids))

    @property
    def known_bytes(self) -> int:
        """The memory that the known posts take, in bytes."""
        return self._known.bytes if self._known is not None else 0

    def _load(self) -> KnownPosts:
        if self._known is None:
            known = KnownPosts(self._known_bytes)
            for hashes in self._log.known(self._partitions, self._of):
                known.add(hashes)
            self._known = known
        return self._known


class LoggedPosts(NamedTuple):
    """The log's content about some posts. `blocks`: all their events; `posts_of_blocks`: for each event of a block the
    number of its post in `post_ids`. `post_events`, `tagged` and `channels` hold the texts that the fold does not."""

    post_ids: Sequence[str]
    blocks: list[LoggedEvents]
    posts_of_blocks: list[Array]
    post_events: Sequence[PostEvent]
    tagged: Sequence[Tagged]
    channels: Sequence[str]


def read_logged_posts(log: EventLog, hasher: Hasher, post_ids: Sequence[str], state: PostsState) -> LoggedPosts:
    """Reads the log's content about the given posts, except names of channels in the state. Blocks. Raises as an
    EventLog does."""
    hashes = hasher.hashes(post_ids)
    order = np.argsort(hashes)
    blocks = list(log.read(post_ids))
    posts_of_blocks = [order[np.searchsorted(hashes, block.posts, sorter=order)] for block in blocks]
    # Texts are read only for posts that have some: an event of kind post, a share or comment, a channel without a name
    # in memory. Most posts of a flood of likes have none.
    has_texts = np.zeros((3, len(post_ids)), np.bool_)
    named_channels = np.fromiter(state.known.channels, np.uint64, len(state.known.channels))
    for (_, events), posts in zip(blocks, posts_of_blocks, strict=True):
        is_node = (events.measures > 0) & (events.actions == kernels.ADD)
        has_texts[0, posts[events.measures < 0]] = True
        has_texts[1, posts[is_node]] = True
        has_texts[2, posts[is_node & ~np.isin(events.channels, named_channels)]] = True
    with_events, with_nodes, with_channels = (
        [post_ids[number] for number in np.flatnonzero(mask).tolist()] for mask in has_texts
    )
    return LoggedPosts(
        post_ids,
        blocks,
        posts_of_blocks,
        log.read_posts(with_events) if with_events else (),
        log.read_tagged(with_nodes) if with_nodes else (),
        log.read_channels(with_channels) if with_channels else (),
    )


def add_logged_posts(logged: LoggedPosts, state: PostsState) -> Mapping[str, OwnEvents]:
    """Folds the log's content about posts that are in the state without any event. Returns the own events of each post
    that has some."""
    rows = state.fold.find(logged.post_ids)
    for block, posts in zip(logged.blocks, logged.posts_of_blocks, strict=True):
        state.fold.add_events(rows[posts], block.events)
    state.known.learn_channels(logged.channels)
    state.tag(logged.tagged)
    by_post: dict[str, list[PostEvent]] = {}
    for event in logged.post_events:
        by_post.setdefault(event.post_id, []).append(event)
    return state.learn(by_post)


def learn_posts(
    state: PostsState,
    read_posts: Callable[[Sequence[str]], Sequence[PostEvent]],
    post_ids: Sequence[str],
    new: Sequence[PostEvent],
) -> Mapping[str, OwnEvents]:
    """Has the state learn all events of kind post of these posts: the new ones, and the older ones from the log, by
    `read_posts`."""
    if not post_ids:
        return {}
    new_counts = Counter(event.post_id for event in new)
    counts = state.fold.post_events(state.fold.find(post_ids)).tolist()
    older = [post_id for post_id, count in zip(post_ids, counts, strict=True) if count > new_counts[post_id]]
    logged = read_posts(older) if older else []
    by_post: dict[str, list[PostEvent]] = {post_id: [] for post_id in post_ids}
    for event in (*logged, *new):
        by_post[event.post_id].append(event)
    return state.learn(by_post)

"""The engagement job: takes a batch of records, folds it, stores what follows from it. Knows nothing of Faust, Kafka or
ClickHouse.

The order of storing is law 1 of the design, and what makes every number exact after any crash (docs/architecture.md):

    1. new events into the log, dead letters into theirs
    2. derived rows, each as absolute as the set of events that its post has in memory
    3. messages to the next topic (none yet)
    4. the acks of the batch, by whoever called `take`

State is a cache of the log: a post that is not in memory is read from it before its events are folded; what a batch
touched that was given up is forgotten. So a crash between any two steps, a second owner of a partition or an eviction
changes no number.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from threading import Event
from typing import Final, Protocol, TypeVar

import numpy as np

from pipeline.dead_letters import DeadLetter
from pipeline.errors import Unavailable
from pipeline.observability.metrics import WorkerMetrics
from processors.engagement import rows
from processors.engagement.columns import EventColumns, identify
from processors.engagement.decoding import DecodingPolicy, Run, decode, misplaced
from processors.engagement.facts import PostEvent, facts_of
from processors.engagement.fold import Array, Fold
from processors.engagement.hashing import Hasher
from processors.engagement.partitioning import partitions_of
from processors.engagement.pending import Pending
from processors.engagement.ports import Log, Store
from schemas.tables import POST_METRICS, POST_MINUTES, POSTS
from schemas.topics import KINDS

RUN_RECORDS: Final = 20_000
"""Records that are folded at once: enough to make the fixed costs of a run small, few enough to stay in the processor's
caches."""

OUTCOMES: Final = ("new", "late", "duplicate", "conflicting")
"""Names of kernels.NEW, LATE, DUPLICATE, CONFLICTING."""

STEPS: Final = ("events", "rows", "messages")
"""The steps of law 1 that the job does, in order; the ack is the fourth."""

Result = TypeVar("Result")


class GivenUp(Exception):
    """The batch is not wanted any more: a rebalance or a stop did not want to wait for a store that is away."""


class DeadLetters(Protocol):
    """Where dead letters go. Blocks until they are safe; raises Unavailable."""

    def __call__(self, letters: Sequence[DeadLetter]) -> None: ...


@dataclass(frozen=True)
class JobPolicy:
    """`memory_bytes`: beyond it the idlest posts are evicted until `keep_share` of it is left. Waits in seconds."""

    decoding: DecodingPolicy = field(default_factory=DecodingPolicy)
    memory_bytes: int = 2 << 30
    keep_share: float = 0.5
    first_wait: float = 0.1
    longest_wait: float = 3.0


class EngagementJob:
    """Everything about the posts of some partitions. Not thread-safe: one thread calls it."""

    def __init__(
        self,
        log: Log,
        store: Store,
        bury: DeadLetters,
        hasher: Hasher,
        metrics: WorkerMetrics,
        policy: JobPolicy | None = None,
        after_step: Callable[[str], None] = lambda step: None,
        on_store: Callable[[Unavailable | None], None] = lambda error: None,
    ) -> None:
        """`after_step` is told each of STEPS once it is done, `on_store` each time that a store fails (or answers
        again: None)."""
        self._log, self._store, self._bury, self._hasher = log, store, bury, hasher
        self._metrics, self._policy = metrics, policy or JobPolicy()
        self._after_step, self._on_store = after_step, on_store
        self._partitions: tuple[int, ...] = ()
        self._of = 1
        self._known: Array | None = None
        self._given_up = Event()
        self.fold = Fold()
        self._pending = Pending()
        self._records = self._buried = 0

    def assign(self, partitions: Iterable[int], of: int) -> None:
        """These partitions, out of `of`, are ours from now on. Everything in memory goes: somebody else may have had
        them meanwhile."""
        self._partitions, self._of, self._known = tuple(sorted(partitions)), of, None
        self.fold, self._pending = Fold(), Pending()

    def take(self, runs: Sequence[Run], given_up: Event, now: Callable[[], float]) -> bool:
        """Folds and stores a batch: True once all of it is stored, False when `given_up` was set before that. Blocks,
        and waits for a store that is away. `now` is Unix time in seconds. Raises what is not worth another try; the
        state is unusable then.
        """
        self._given_up = given_up
        before = self.fold.run
        try:
            for part in _parts(runs):
                self._fold(part)
                if self.fold.bytes > self._policy.memory_bytes or self.fold.full:
                    self._flush(now)
                    self._evict()
            self._flush(now)
        except GivenUp:
            self._remember(self.fold.forget(self.fold.touched_since(before)))
            self._pending = Pending()
            return False
        self._metrics.set_state(len(self.fold), self.fold.events, self.fold.bytes)
        return True

    @property
    def judged(self) -> tuple[int, int]:
        """Records that were judged so far, and those of them that were dead."""
        return self._records, self._buried

    def _fold(self, runs: Sequence[Run]) -> None:
        with self._metrics.time_step("decode"):
            events, owners, records, dead = decode(runs, self._policy.decoding)
        posts, elsewhere = self._rows_of(events)
        for number in np.flatnonzero(elsewhere).tolist():
            belongs = int(partitions_of([events.post_id[number]], self._of)[0])
            dead.append(misplaced(owners[number], records[number], belongs, self._of))
        events, posts = events.where(~elsewhere), posts[~elsewhere]
        with self._metrics.time_step("fold"):
            identified = identify(events, self._hasher)
            taken = self.fold.take(posts, identified)
        self._pending.add(events, taken, dead)
        self._count(events, taken.outcomes, dead)
        self._records += len(events) + len(dead)
        self._buried += len(dead)

    def _rows_of(self, events: EventColumns) -> tuple[Array, Array]:
        """The post row of each event, and where an event lies on a partition that is not its post's. Reads cold posts
        through."""
        posts = self.fold.find(events.post_id)
        missing = list(dict.fromkeys(events.post_id[number] for number in np.flatnonzero(posts < 0).tolist()))
        if missing:
            partitions = partitions_of(missing, self._of)
            lies_on = set(zip(events.post_id, events.partition.tolist(), strict=True))
            owned = np.array([place in lies_on for place in zip(missing, partitions.tolist(), strict=True)])
            self._read_through(list(compress(missing, owned.tolist())), partitions[owned])
            posts = self.fold.find(events.post_id)
        elsewhere = posts < 0
        elsewhere[~elsewhere] = self.fold.partitions(posts[~elsewhere]) != events.partition[~elsewhere]
        return posts, elsewhere

    def _read_through(self, post_ids: list[str], partitions: Array) -> None:
        if not post_ids:
            return
        with self._metrics.time_step("read_through"):
            hashes = self._hasher.hashes(post_ids)
            known = self._patiently(self._load_known)
            cold: Array | list[int] = (
                np.flatnonzero(known[np.minimum(np.searchsorted(known, hashes), len(known) - 1)] == hashes)
                if len(known)
                else []
            )
            # Read first, add then: what fails half-way must not leave a post in memory that lacks events.
            found = (
                self._patiently(lambda: list(self._log.read([post_ids[number] for number in cold])))
                if len(cold)
                else []
            )
            rows_ = self.fold.add(post_ids, partitions)
            order = np.argsort(hashes)
            for block in found:
                self.fold.take(rows_[order[np.searchsorted(hashes, block.posts, sorter=order)]], block.events)
        self._metrics.count_cold_reads(len(cold))

    def _load_known(self) -> Array:
        if self._known is None:
            self._known = np.unique(self._log.known(self._partitions, self._of))
        return self._known

    def _remember(self, post_ids: list[str]) -> None:
        """Posts that left memory have to be looked up when they come again."""
        if self._known is not None and post_ids:
            self._known = np.union1d(self._known, self._hasher.hashes(post_ids))

    def _flush(self, now: Callable[[], float]) -> None:
        """Steps 1 to 3. Every statement is idempotent: what failed is sent again, whole."""
        pending, self._pending = self._pending, Pending()
        with self._metrics.time_step("store_events"):
            if events := pending.new_events():
                self._patiently(lambda: self._store.append(events))
            if pending.dead:
                self._patiently(lambda: self._bury(pending.dead))
        self._after_step("events")
        with self._metrics.time_step("store_rows"):
            for table, columns in self._derived(pending):
                self._patiently(lambda table=table, columns=columns: self._store.upsert(table, columns))  # type: ignore[misc]
        self._after_step("rows")
        self._after_step("messages")
        if len(received := pending.received_ms()):
            self._metrics.observe_freshness(now() - received / 1000)

    def _derived(self, pending: Pending) -> Iterable[tuple[str, rows.Columns]]:
        if len(panes := pending.panes()):
            yield POST_MINUTES.name, rows.of_panes(self.fold, panes)
        if owners := pending.owners():
            yield POSTS.name, self._post_rows(owners, pending.post_events())
        if len(posts := pending.posts()):
            yield POST_METRICS.name, rows.of_posts(self.fold, posts)

    def _post_rows(self, post_ids: Sequence[str], new: Sequence[PostEvent]) -> rows.Columns:
        came = Counter(event.post_id for event in new)
        seen = self.fold.post_events(self.fold.find(post_ids)).tolist()
        older = [post_id for post_id, count in zip(post_ids, seen, strict=True) if count > came[post_id]]
        logged = self._patiently(lambda: self._log.read_posts(older)) if older else []
        by_post: dict[str, list[PostEvent]] = {post_id: [] for post_id in post_ids}
        for event in (*logged, *new):
            by_post[event.post_id].append(event)
        facts = {post_id: found for post_id, own in by_post.items() if (found := facts_of(own))}
        return rows.posts(
            list(facts), list(facts.values()), rows.versions(*self.fold.seen(self.fold.find(list(facts))))
        )

    def _evict(self) -> None:
        goes = 0
        enough = self._policy.keep_share * self._policy.memory_bytes
        while (self.fold.bytes > enough or self.fold.full) and len(self.fold):
            forgotten = self.fold.forget(self.fold.idlest(1 - self._policy.keep_share))
            self._remember(forgotten)
            goes += len(forgotten)
        self._metrics.count_evicted(goes)

    def _patiently(self, action: Callable[[], Result]) -> Result:
        """Tries until it works or the batch is given up. Raises GivenUp."""
        wait = self._policy.first_wait
        failed = False
        while True:
            if self._given_up.is_set():
                raise GivenUp
            try:
                result = action()
            except Unavailable as error:
                failed = True
                self._metrics.count_clickhouse_retry()
                self._on_store(error)
                # Jitter, so that workers that lost the store together do not come back together.
                self._given_up.wait(wait * random.uniform(0.5, 1))
                wait = min(wait * 2, self._policy.longest_wait)
            else:
                if failed:
                    self._on_store(None)
                return result

    def _count(self, events: EventColumns, outcomes: Array, dead: Sequence[DeadLetter]) -> None:
        counts = np.bincount(
            events.kind.astype(np.int64) * len(OUTCOMES) + outcomes, minlength=len(KINDS) * len(OUTCOMES)
        )
        for number in np.flatnonzero(counts).tolist():
            kind, outcome = divmod(number, len(OUTCOMES))
            self._metrics.count_events(KINDS[kind], OUTCOMES[outcome], int(counts[number]))
        for topic, count in Counter(letter.topic for letter in dead).items():
            self._metrics.count_events(topic.rpartition(".")[2].removesuffix("s"), "dead", count)
        for where, count in Counter(letter.field.partition(".")[0] or "record" for letter in dead).items():
            self._metrics.count_dead_letters(where, count)


def _parts(runs: Sequence[Run]) -> Iterable[list[Run]]:
    """The same records in parts of about RUN_RECORDS."""
    part: list[Run] = []
    room = RUN_RECORDS
    for run in runs:
        start = 0
        while start < len(run.records):
            records = run.records[start : start + room]
            part.append(Run(run.topic, run.kind, run.partition, records))
            start += len(records)
            room -= len(records)
            if not room:
                yield part
                part, room = [], RUN_RECORDS
    if part:
        yield part

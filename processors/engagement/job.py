"""The engagement job: takes a batch of records, folds it, stores what follows from it. Knows nothing of Faust, Kafka or
ClickHouse.

The order of storing is law 1 of the design, and what makes every number exact after any crash (docs/architecture.md):

    1. new events into the log, dead letters into theirs
    2. derived rows, each as absolute as the set of events that its post has in memory
    3. messages to the conversation agent, as absolute as the rows
    4. the acks of the batch, by whoever called `process`

State is a cache of the log: a post that is not in memory is read from it before its events are folded; what a batch
touched that was given up is forgotten. So a crash between any two steps, a second owner of a partition or an eviction
changes no number.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from threading import Event
from typing import Final

import numpy as np

from pipeline.brands import Brands
from pipeline.dead_letters import DeadLetter
from pipeline.errors import Unavailable
from processors.columnar.arrays import Array
from processors.columnar.partitioning import partitions_of
from processors.engagement.cells.cells import NO_MORE, cells_of, conversation_posts
from processors.engagement.decoding import DecodingPolicy, decode, misplaced, parts_of
from processors.engagement.fold.columns import MINUTE_US, EventColumns, identify
from processors.engagement.fold.threads import ThreadPolicy
from processors.engagement.outbox import records_of
from processors.engagement.pending import Pending, Place, further
from processors.engagement.ports import EngagementPorts
from processors.engagement.read_through import ColdPosts
from processors.engagement.rows import post_rows
from processors.engagement.rows.carry_over import carry_over
from processors.engagement.rows.post_facts import BrandKeys, PostEvent
from processors.engagement.rows.spread import Spreading
from processors.engagement.state import Said, State
from processors.runtime.records import Run
from processors.runtime.retry import GivenUp, Patience, WaitPolicy
from processors.virality.parameters import ForecastParameters, load_parameters
from schemas.tables import CARRY_OVER, CONVERSATION_POSTS, POST_METRICS, POST_MINUTES, POSTS
from schemas.topics import KINDS

RUN_RECORDS: Final = 5_000
"""Records that are folded at once: enough to make the fixed costs of a run small, few enough to stay in the processor's
caches."""

OUTCOMES: Final = ("new", "late", "duplicate", "conflicting")
"""Names of kernels.NEW, LATE, DUPLICATE, CONFLICTING."""

ROWS_AT_ONCE: Final = 20_000

ENGAGEMENT_STEPS: Final = ("events", "rows", "messages")
"""The steps of law 1 that the job does, in order; the ack is the fourth."""

Record = tuple[int, bytes]
"""Partition and value of what is sent on."""


@dataclass(frozen=True)
class JobPolicy:
    """`memory_bytes`: beyond it the idlest posts are evicted until `keep_share` of it is left; `known_bytes`: the most
    that it takes to know which posts the log has. Waits in seconds.
    `threads` and `brands` say whose turns are the brand's, and what is about it; `forecast`: the shipped parameters
    where not given."""

    decoding: DecodingPolicy = field(default_factory=DecodingPolicy)
    memory_bytes: int = 2 << 30
    known_bytes: int = 128 << 20
    keep_share: float = 0.5
    first_wait: float = 0.1
    longest_wait: float = 3.0
    brands: BrandKeys = field(default_factory=Brands)
    threads: ThreadPolicy | None = None
    forecast: ForecastParameters | None = None


class EngagementJob:
    """Everything about the posts of some partitions. Not thread-safe: one thread calls it."""

    def __init__(self, ports: EngagementPorts, policy: JobPolicy | None = None) -> None:
        self._log, self._store, self._hasher, self._outbox = ports.log, ports.store, ports.hasher, ports.outbox
        self._write_dead_letters, self._after_step = ports.write_dead_letters, ports.after_step
        self._metrics, self._policy = ports.metrics, policy or JobPolicy()

        def note(error: Unavailable | None) -> None:
            if error is not None:
                ports.metrics.count_clickhouse_retry()
            ports.on_store(error)

        waits = WaitPolicy(self._policy.first_wait, self._policy.longest_wait)
        self._patiently, self._patiently_send = Patience(waits, note), Patience(waits)
        self._cold = ColdPosts(ports.log, ports.hasher, self._patiently, self._policy.known_bytes)
        self.memory_bytes = self._policy.memory_bytes
        """What posts may take; of the next batch another number perhaps."""
        self._spreading = Spreading(self._policy.forecast or load_parameters())
        self._records = self._buried = 0
        self.assign((), 1)

    def assign(self, partitions: Iterable[int], of: int) -> None:
        """These partitions, out of `of`, are ours from now on; the topic of conversations has as many. Everything in
        memory goes: somebody else may have had them meanwhile."""
        self._of = of
        self._cold.assign(partitions, of)
        self._state, self._pending = self._empty(), Pending()
        self._reached: dict[Place, tuple[int, int]] = {}
        self._mark = 0

    def process(self, runs: Sequence[Run], given_up: Event, now: Callable[[], float]) -> bool:
        """Folds and stores a batch: True once all of it is stored, False when `given_up` was set before that. Blocks,
        and waits for a store that is away. `now` is Unix time in seconds. Raises what is not worth another try; the
        state is unusable then.
        """
        self._patiently.given_up = self._patiently_send.given_up = given_up
        before, reached = self._state.fold.run, self._reached
        try:
            for part in parts_of(runs, RUN_RECORDS):
                self._fold(part)
                if self._is_full:
                    reached = further(reached, self._flush(now))
                    self._evict()
            reached = further(reached, self._flush(now))
            if self._is_full:  # what posts say of themselves has come with the flush
                self._evict()
        except GivenUp:
            self._cold.note_gone(self._state.forget(self._state.fold.touched_since(before)))
            self._pending = Pending()
            return False
        self._reached = reached
        self._metrics.set_state(len(self._state.fold), self._state.fold.events, self._state.bytes)
        return True

    @property
    def memory(self) -> tuple[int, int]:
        """Bytes that the posts in memory take, and those that it takes to know which posts the log has."""
        return self._state.bytes, self._cold.known_bytes

    @property
    def judged(self) -> tuple[int, int]:
        """Records that were judged so far, and those of them that were dead."""
        return self._records, self._buried

    def reached(self) -> Mapping[Place, tuple[int, int]]:
        """Topic and partition -> newest occurred_at (microseconds since 1970; 0: no event yet) and received_at of the
        last record (milliseconds), of what was stored since the assignment."""
        return self._reached

    def advance(self, mark_us: int) -> None:
        """Event time has come to this watermark (microseconds since 1970) in all our partitions: the posts in memory
        whose age has doubled since the last call get another row, because R_t and forecasts fall while nothing comes.
        Between batches. Blocks; a call that failed is repeated whole. Raises Unavailable, Refused.

        A post that is not in memory keeps its row, whose spread_as_of says what it is meant for.
        """
        fold, mark = self._state.fold, mark_us // MINUTE_US
        if mark <= self._mark:
            return
        posts = self._spreading.due(fold, self._mark, mark)
        for start in range(0, len(posts), ROWS_AT_ONCE):
            part = posts[start : start + ROWS_AT_ONCE]
            columns = self._spreading.rows(fold, part, self._spreading.times(fold, part, mark))
            self._store.upsert(POST_METRICS.name, columns)
        self._mark = mark

    def _empty(self) -> State:
        return State(self._hasher, self._policy.brands, self._of, self._policy.threads)

    def _fold(self, runs: Sequence[Run]) -> None:
        with self._metrics.time_step("decode"):
            events, owners, records, dead = decode(runs, self._policy.decoding)
        posts, elsewhere = self._rows_of(events)
        for number in np.flatnonzero(elsewhere).tolist():
            belongs = int(partitions_of([events.post_id[number]], self._of)[0])
            dead.append(misplaced(owners[number], records[number], belongs, self._of))
        events, posts = events.where(~elsewhere), posts[~elsewhere]
        with self._metrics.time_step("fold"):
            taken = self._state.take(posts, identify(events, self._hasher), events)
        self._pending.add(runs, events, taken, dead)
        self._count(events, taken.outcomes, dead)
        self._records += len(events) + len(dead)
        self._buried += len(dead)

    def _rows_of(self, events: EventColumns) -> tuple[Array, Array]:
        """The post row of each event, and where an event lies on a partition that is not its post's. Reads cold posts
        through."""
        fold = self._state.fold
        posts = fold.find(events.post_id)
        missing = list(dict.fromkeys(events.post_id[number] for number in np.flatnonzero(posts < 0).tolist()))
        if missing:
            partitions = partitions_of(missing, self._of)
            lies_on = set(zip(events.post_id, events.partition.tolist(), strict=True))
            owned = np.array([place in lies_on for place in zip(missing, partitions.tolist(), strict=True)])
            if owned.any():
                with self._metrics.time_step("read_through"):
                    cold = self._cold.bring(self._state, list(compress(missing, owned.tolist())), partitions[owned])
                self._metrics.count_cold_reads(cold)
            posts = fold.find(events.post_id)
        elsewhere = posts < 0
        elsewhere[~elsewhere] = fold.partitions(posts[~elsewhere]) != events.partition[~elsewhere]
        return posts, elsewhere

    def _flush(self, now: Callable[[], float]) -> Mapping[Place, tuple[int, int]]:
        """Steps 1 to 3. Every statement is idempotent: what failed is sent again, whole. Returns what is stored by
        it."""
        pending, self._pending = self._pending, Pending()
        with self._metrics.time_step("store_events"):
            if events := pending.new_events():
                self._patiently(lambda: self._store.append(events))
            if pending.dead:
                self._patiently(lambda: self._write_dead_letters(pending.dead))
        self._after_step("events")
        messages: list[Record] = []
        with self._metrics.time_step("store_rows"):
            for table, columns in self._derived(pending, messages):
                self._patiently(lambda table=table, columns=columns: self._store.upsert(table, columns))  # type: ignore[misc]
        self._after_step("rows")
        with self._metrics.time_step("send_messages"):
            self._send(messages)
        self._after_step("messages")
        if len(received := pending.received_ms()):
            self._metrics.observe_freshness(now() - received / 1000)
        return pending.reached

    def _derived(self, pending: Pending, messages: list[Record]) -> Iterable[tuple[str, post_rows.Columns]]:
        """Tables and rows to be written; what is to be sent on is appended to `messages`."""
        fold, known, panes = self._state.fold, self._state.known, pending.panes()
        # First what the posts say: all that follows rests on it.
        said = self._learn(pending.owners(), pending.post_events())
        if len(panes):
            yield POST_MINUTES.name, post_rows.of_panes(fold, panes)
        if said:
            versions = post_rows.versions(fold.post_events(fold.find(list(said))))
            yield POSTS.name, post_rows.posts(list(said), [one.facts for one in said.values()], versions)
            if (carried := carry_over(said, versions))["message"]:
                yield CARRY_OVER.name, carried
        if len(posts := pending.posts()):
            yield POST_METRICS.name, self._spreading.rows(fold, posts, self._spreading.times(fold, posts, self._mark))
        again = self._state.again(said) if said else NO_MORE
        for cells in cells_of(fold, known, panes, again, self._of):
            yield CONVERSATION_POSTS.name, conversation_posts(cells)
            if self._outbox is not None:
                messages += records_of(cells)

    def _learn(self, post_ids: Sequence[str], new: Sequence[PostEvent]) -> Mapping[str, Said]:
        """What these posts say of themselves, of which events of their own have come."""
        if not post_ids:
            return {}
        fold = self._state.fold
        came = Counter(event.post_id for event in new)
        seen = fold.post_events(fold.find(post_ids)).tolist()
        older = [post_id for post_id, count in zip(post_ids, seen, strict=True) if count > came[post_id]]
        logged = self._patiently(lambda: self._log.read_posts(older)) if older else []
        own: dict[str, list[PostEvent]] = {post_id: [] for post_id in post_ids}
        for event in (*logged, *new):
            own[event.post_id].append(event)
        return self._state.learn(own)

    def _send(self, messages: Sequence[Record]) -> None:
        outbox = self._outbox
        if outbox is None or not messages:
            return
        for partition, value in messages:
            self._patiently_send(lambda partition=partition, value=value: outbox.send(partition, value))  # type: ignore[misc]
        self._patiently_send(outbox.flush)

    def _evict(self) -> None:
        goes, state = 0, self._state
        while len(state.fold) and (self._is_full or self._has_idle_posts()):
            forgotten = state.forget(state.fold.idlest(1 - self._policy.keep_share))
            self._cold.note_gone(forgotten)
            goes += len(forgotten)
        self._metrics.count_evicted(goes)

    @property
    def _is_full(self) -> bool:
        return self._state.bytes > self.memory_bytes or self._state.fold.full

    def _has_idle_posts(self) -> bool:
        """Beyond the share that is kept. Posts of the last run stay as long as they fit: whatever is viral comes again,
        and would be read again."""
        fold = self._state.fold
        is_beyond = self._state.bytes > self._policy.keep_share * self.memory_bytes
        return is_beyond and len(fold.touched_since(fold.run - 1)) < len(fold)

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

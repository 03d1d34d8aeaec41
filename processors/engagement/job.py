"""The engagement job: folds batches of records and stores the rows and messages that follow from the events. The job
knows nothing of Faust, Kafka or ClickHouse.

The order of storing is law 1 of the design. It makes every number exact after any crash (docs/architecture.md):

    1. new events into the log, dead letters into theirs
    2. derived rows, each as absolute as the set of events that its post has in memory
    3. messages to the conversation agent, as absolute as the rows
    4. the acks of the batch, by the caller of `process`

State is a cache of the log: a post that is not in memory is read from the log before its events are folded, and the
posts that a given-up batch touched leave memory. So a crash between any two steps, a second owner of a partition or an
eviction changes no number.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import Final

import numpy as np

from pipeline.brands import Brands
from pipeline.errors import Unavailable
from pipeline.privacy.erased_hashes import NOTHING_ERASED
from processors.columnar.partitioning import partitions_of
from processors.engagement.cells.cells import NO_MORE, cells_of, conversation_posts
from processors.engagement.cells.records import records_of
from processors.engagement.decoding import DecodingPolicy, misplaced_event, retired_event, split_runs
from processors.engagement.erased.erased_events import decode_unerased
from processors.engagement.fold.columns import identify
from processors.engagement.fold.threads import ThreadPolicy
from processors.engagement.outcomes import count_outcomes, count_retired, count_unknown_fields
from processors.engagement.ports import EngagementPorts
from processors.engagement.read_through import ColdPosts, RetiredMeanwhile, learn_posts
from processors.engagement.rows import post_rows
from processors.engagement.rows.carry_over import carry_over
from processors.engagement.rows.post_facts import BrandKeys, TrackedKeys
from processors.engagement.rows.spread import Spreading
from processors.engagement.state import PostsState
from processors.engagement.unstored import UnstoredRuns, furthest
from processors.engagement.watermarks.watermarks import Reached
from processors.runtime.records import Run
from processors.runtime.retry import GivenUp, StoreRetry, WaitPolicy
from processors.virality.parameters import ForecastParameters, load_parameters
from schemas.metrics import MINUTE_US
from schemas.tables import CARRY_OVER, CONVERSATION_POSTS, POST_METRICS, POST_MINUTES, POSTS

RUN_RECORDS: Final = 5_000
"""Records that are folded at once: enough to make the fixed costs of a run small, few enough to stay in the processor's
caches."""

ENGAGEMENT_STEPS: Final = ("events", "rows", "messages")
"""Steps 1 to 3 of law 1, which the job does in this order. The ack is the fourth."""

_ROWS_AT_ONCE: Final = 20_000

OutboxMessage = tuple[int, bytes]
"""Partition and value of a record for the conversation agent."""


@dataclass(frozen=True)
class JobPolicy:
    """Bounds and rules of the engagement job.

    Beyond `memory_bytes` the idlest posts are evicted, until `keep_share` of it is left. `known_bytes`: the most memory
    for the known posts of the log. `first_wait` and `longest_wait` between two tries of a store, in seconds. `brands`,
    `label_keys` and `threads`: which conversations are a brand's, which labels are conversations, and which comments
    are a brand's answers. `forecast`: the shipped parameters where None.
    """

    decoding: DecodingPolicy = field(default_factory=DecodingPolicy)
    memory_bytes: int = 2 << 30
    known_bytes: int = 128 << 20
    keep_share: float = 0.5
    first_wait: float = 0.1
    longest_wait: float = 3.0
    brands: BrandKeys = field(default_factory=Brands)
    label_keys: frozenset[str] = frozenset()
    threads: ThreadPolicy | None = None
    forecast: ForecastParameters | None = None

    @property
    def tracked(self) -> TrackedKeys:
        """Returns the conversations that are tracked beside those that events name."""
        return TrackedKeys(self.brands, self.label_keys)


class EngagementJob:
    """The posts of some partitions, from records to rows. Not thread-safe: one thread calls it."""

    def __init__(self, ports: EngagementPorts, policy: JobPolicy | None = None) -> None:
        self._log, self._store, self._hasher, self._outbox = ports.log, ports.store, ports.hasher, ports.outbox
        self._write_dead_letters, self._after_step = ports.write_dead_letters, ports.after_step
        self._metrics, self._policy = ports.metrics, policy or JobPolicy()

        def note_store(error: Unavailable | None) -> None:
            if error is not None:
                ports.metrics.count_clickhouse_retry()
            ports.on_store(error)

        waits = WaitPolicy(self._policy.first_wait, self._policy.longest_wait)
        self._retry, self._retry_send = StoreRetry(waits, note_store), StoreRetry(waits)
        self._cold = ColdPosts(ports.log, ports.hasher, self._retry, ports.metrics, self._policy.known_bytes)
        self.memory_bytes = self._policy.memory_bytes
        """The most memory that posts may take. The caller may change it between two batches."""
        self._spreading = Spreading(self._policy.forecast or load_parameters())
        self._judged_records = self._dead_records = 0
        self.erased = NOTHING_ERASED
        self.assign((), 1)

    def assign(self, partitions: Iterable[int], of: int) -> None:
        """Makes these partitions, out of `of`, the job's own. The topic `conversations` has as many partitions. Empties
        the memory, because another worker may have owned the partitions meanwhile."""
        self._partitions, self._of = tuple(partitions), of
        self.read_again()
        self._reached: Reached = {}
        self._advanced_to = 0  # minute of the watermark of the last `advance`

    def read_again(self) -> None:
        """Empties the memory: posts are read again from the log, which an erasure has changed (docs/privacy.md). Called
        between two batches."""
        self._cold.assign(self._partitions, self._of)
        self._state = PostsState(self._hasher, self._policy.tracked, self._of, self._policy.threads)
        self._unstored = UnstoredRuns()

    def process(self, runs: Sequence[Run], given_up: Event, now: Callable[[], float]) -> bool:
        """Folds and stores a batch. Returns True once all of the batch is stored, False when `given_up` was set before.
        Blocks, and waits for a store that is away. `now` returns Unix time in seconds. Raises errors that another try
        does not mend; the state is unusable then.
        """
        self._retry.given_up = self._retry_send.given_up = given_up
        before = self._state.fold.run
        while True:
            try:
                self._reached = self._process(runs, now)
            except GivenUp:
                self._forget_batch(before)
                return False
            except RetiredMeanwhile as error:
                self._forget_batch(before)
                self._forget(error.post_ids)
            else:
                self._metrics.set_state(len(self._state.fold), self._state.fold.events)
                return True

    def _process(self, runs: Sequence[Run], now: Callable[[], float]) -> Reached:
        reached = self._reached
        self._forget(self._cold.newly_retired(now()))
        for part in split_runs(runs, RUN_RECORDS):
            self._fold(part)
            if self._is_full:
                reached = furthest(reached, self._flush(now))
                self._evict()
        reached = furthest(reached, self._flush(now))
        if self._is_full:  # the flush has added the facts of posts
            self._evict()
        return reached

    def _forget_batch(self, before: int) -> None:
        """Forgets a batch that was not stored, and the posts that it touched."""
        self._cold.note_gone(self._state.forget(self._state.fold.touched_since(before)))
        self._unstored = UnstoredRuns()

    @property
    def memory(self) -> tuple[int, int]:
        """The memory of the posts and that of the known posts of the log, in bytes."""
        return self._state.bytes, self._cold.known_bytes

    @property
    def judged(self) -> tuple[int, int]:
        """The number of records judged so far, and the number of dead letters among the records."""
        return self._judged_records, self._dead_records

    def reached(self) -> Reached:
        """Returns how far each topic partition has been stored since the assignment."""
        return self._reached

    def advance(self, watermark_us: int) -> None:
        """Writes a new row for each post in memory whose age has doubled since the last call, because R_t and forecasts
        fall while no events come. `watermark_us`: the least watermark of all owned partitions, in microseconds since
        1970. Called between two batches. Blocks; a call that failed is repeated whole. Raises Unavailable, Refused.

        A post that is not in memory keeps its row, whose spread_as_of tells the time for which the row holds.
        """
        fold, minute = self._state.fold, watermark_us // MINUTE_US
        if minute <= self._advanced_to:
            return
        posts = self._spreading.due(fold, self._advanced_to, minute)
        for start in range(0, len(posts), _ROWS_AT_ONCE):
            part = posts[start : start + _ROWS_AT_ONCE]
            columns = self._spreading.rows(fold, part, self._spreading.times(fold, part, minute))
            self._store.upsert(POST_METRICS.name, columns)
        self._advanced_to = minute

    def _fold(self, runs: Sequence[Run]) -> None:
        with self._metrics.time_step("decode"):
            events, owners, records, dead = decode_unerased(runs, self._policy.decoding, self.erased, self._metrics)
            count_unknown_fields(self._metrics, runs)
        posts, is_misplaced = self._cold.place(self._state, events)
        late = []
        for number in np.flatnonzero(is_misplaced).tolist():
            post_id, run, record = events.post_id[number], owners[number], records[number]
            if (as_of := self._cold.retired.get(post_id)) is not None:
                late.append(retired_event(run, record, as_of))
            else:
                dead.append(misplaced_event(run, record, int(partitions_of([post_id], self._of)[0]), self._of))
        events, posts = events.where(~is_misplaced), posts[~is_misplaced]
        with self._metrics.time_step("fold"):
            outcomes = self._state.add_events(posts, identify(events, self._hasher), events)
        self._unstored.add(runs, events, outcomes, [*dead, *late])
        count_retired(self._metrics, late)
        count_outcomes(self._metrics, events, outcomes.outcomes, dead)
        # An event of a post that has gone is a good one: it says nothing of the producer's schema.
        self._judged_records += len(events) + len(dead)
        self._dead_records += len(dead)

    def _flush(self, now: Callable[[], float]) -> Reached:
        """Does steps 1 to 3 and returns how far they stored. Every statement is idempotent: one that failed is sent
        again, whole."""
        unstored, self._unstored = self._unstored, UnstoredRuns()
        with self._metrics.time_step("store_events"):
            if events := unstored.new_events():
                self._retry(lambda: self._cold.store_in_time(self._state, now, self._store.append, events))
            if unstored.dead:
                self._retry(lambda: self._write_dead_letters(unstored.dead))
        self._after_step("events")
        messages: list[OutboxMessage] = []
        with self._metrics.time_step("store_rows"):
            for table, columns in self._derived_rows(unstored, messages):
                self._retry(partial(self._cold.store_in_time, self._state, now, self._store.upsert, table, columns))
        self._after_step("rows")
        with self._metrics.time_step("send_messages"):
            self._send(messages)
        self._after_step("messages")
        if len(received := unstored.received_ms()):
            self._metrics.observe_freshness(now() - received / 1000)
        return unstored.reached

    def _derived_rows(
        self, unstored: UnstoredRuns, messages: list[OutboxMessage]
    ) -> Iterable[tuple[str, Mapping[str, object]]]:
        """Yields tables with the rows to be written, and appends the messages to be sent to `messages`."""
        fold, known, panes = self._state.fold, self._state.known, unstored.panes()
        # The events of kind post come first, because all rows rest on the facts that follow from them.
        read = lambda posts: self._retry(lambda: self._log.read_posts(posts))  # noqa: E731
        own = learn_posts(self._state, read, unstored.posts_with_events(), unstored.post_events())
        if len(panes):
            yield POST_MINUTES.name, post_rows.of_panes(fold, panes)
        if own:
            versions = post_rows.versions(fold.post_events(fold.find(list(own))))
            yield POSTS.name, post_rows.posts(list(own), [events.facts for events in own.values()], versions)
            if (carried := carry_over(own, versions))["message"]:
                yield CARRY_OVER.name, carried
        if len(posts := unstored.posts()):
            times = self._spreading.times(fold, posts, self._advanced_to)
            yield POST_METRICS.name, self._spreading.rows(fold, posts, times)
        again = self._state.again(own) if own else NO_MORE
        for cells in cells_of(fold, known, panes, again, self._of):
            yield CONVERSATION_POSTS.name, conversation_posts(cells)
            if self._outbox is not None:
                messages += records_of(cells)

    def _send(self, messages: Sequence[OutboxMessage]) -> None:
        outbox = self._outbox
        if outbox is None or not messages:
            return
        for partition, value in messages:
            self._retry_send(lambda partition=partition, value=value: outbox.send(partition, value))  # type: ignore[misc]
        self._retry_send(outbox.flush)

    def _forget(self, post_ids: Sequence[str]) -> None:
        rows = self._state.fold.find(post_ids)
        if len(rows := rows[rows >= 0]):
            self._cold.note_gone(self._state.forget(rows))

    def _evict(self) -> None:
        evicted, state = 0, self._state
        while len(state.fold) and (self._is_full or self._has_idle_posts()):
            gone = state.forget(state.fold.idlest(1 - self._policy.keep_share))
            self._cold.note_gone(gone)
            evicted += len(gone)
        self._metrics.count_evicted(evicted)

    @property
    def _is_full(self) -> bool:
        return self._state.bytes > self.memory_bytes or self._state.fold.full

    def _has_idle_posts(self) -> bool:
        """Returns whether posts beyond the kept share were not touched by the last run. The posts of the last run stay
        as long as they fit, because the posts of a flood come again and would be read again."""
        fold = self._state.fold
        is_beyond = self._state.bytes > self._policy.keep_share * self.memory_bytes
        return is_beyond and len(fold.touched_since(fold.run - 1)) < len(fold)

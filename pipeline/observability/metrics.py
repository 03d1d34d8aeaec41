"""The Prometheus metrics of a worker; docs/operations.md lists them.

A program makes one `WorkerMetrics` where it starts and passes it on. An update takes a few microseconds, so every batch
makes its own; `observe_freshness` takes all values of a batch at once. Any thread may call.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter, thread_time
from typing import Final, Literal, get_args

from numpy.typing import ArrayLike

from pipeline.observability.prometheus import MetricsRegistry, Registry
from schemas.topics import KINDS

EventOutcome = Literal["new", "duplicate", "conflicting", "late", "dead", "retired", "erased"]
EVENT_OUTCOMES: Final[tuple[EventOutcome, ...]] = get_args(EventOutcome)
"""The outcomes of an event. A `retired` event is a dead letter too, because retention has deleted its
post. A `late` event counts like a `new` one: it is over a minute behind its post's newest. An `erased` one is of an
erased person, and is not kept."""

UNKNOWN_KIND: Final = "unknown"
"""The kind of a dead record whose kind cannot be read."""

BatchStep = Literal[
    "fetch",
    "decode",
    "read_through",
    "fold",
    "store_events",
    "store_rows",
    "send_messages",
    "commit",
    "marks",
    "conversations_fetch",
    "conversations_decode",
    "conversations_fold",
    "conversations_store",
    "conversations_commit",
    "alerts_fetch",
    "alerts_commit",
]
BATCH_STEPS: Final[tuple[BatchStep, ...]] = get_args(BatchStep)
"""The steps of a batch in order: of events (store_events to commit are those of law 1), of cells, of alerts."""

CellOutcome = Literal["new", "duplicate", "late", "cold", "dead"]
CELL_OUTCOMES: Final[tuple[CellOutcome, ...]] = get_args(CellOutcome)
"""The outcomes of a cell; `dead` counts records. `late`: the minute was closed; `cold`: memory had no room.
Both are read through and change `conversation_minutes`."""

MemoryPart = Literal["posts", "known_posts", "cells", "closed_minutes", "series", "spikes"]
MEMORY_PARTS: Final[tuple[MemoryPart, ...]] = get_args(MemoryPart)
"""The parts of a worker's memory: posts with their events, indexes and conversations; the index of posts in the log;
cells of conversations; counts at closing, kept against a second write; series of the spike detector; open spikes."""

BATCH_BOUNDS: Final = (1, 10, 100, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000)
STEP_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
FRESHNESS_BOUNDS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 900, 3600)
"""Bounds of the freshness histogram, finest around the promise of 2 s."""

REASON_CLASSES_LIMIT: Final = 50
"""Most classes of dead letters, so that the label stays small; further classes count as `other`."""

UNKNOWN_FIELDS_LIMIT: Final = 50
"""Most names of unknown fields; further names count as `other`."""


class WorkerMetrics(MetricsRegistry):
    """The metrics of a worker."""

    def __init__(self, registry: Registry | None = None) -> None:
        super().__init__(registry)
        self._make_batch_metrics()
        self._make_state_metrics()
        self._make_conversation_metrics()
        self._lag_shown: dict[str, set[tuple[str, int]]] = {}
        self._classes: set[str] = set()
        self._unknown_names: set[str] = set()
        self._show_every_series()

    def _make_batch_metrics(self) -> None:
        self._events = self.counter(
            "events_total", "Records read from the source topics, by what became of them", ["kind", "outcome"]
        )
        self._dead = self.counter(
            "dead_letters_total", "Records that could not be taken, by class of reason", ["reason_class"]
        )
        self._unknown_fields = self.counter(
            "unknown_fields_total",
            "Fields that events do not have, in a sample: one record of each partition and batch",
            ["field"],
        )
        self._lag = self.gauge(
            "consumer_lag", "Records of a partition of this worker that are not committed", ["topic", "partition"]
        )
        self._batches = self.histogram("batch_events", "Records in a batch", BATCH_BOUNDS)
        self._steps = self.histogram("step_duration_seconds", "Wall time of a step of a batch", STEP_BOUNDS, ["step"])
        self._step_cpu = self.counter(
            "step_cpu_seconds_total", "CPU time of a step, of the thread that does it", ["step"]
        )
        self._freshness = self.bulk_histogram(
            "event_to_queryable_seconds",
            "From Kafka's receipt of an event (received_at) to its rows being stored",
            FRESHNESS_BOUNDS,
        )
        self._commits = self.counter("batch_commits_total", "Commits of offsets that moved them")
        self._last_commit = self.gauge(
            "last_commit_timestamp_seconds", "When offsets were last committed, Unix time; 0: not yet"
        )
        self._retries = self.counter("clickhouse_retries_total", "Statements sent to ClickHouse again")
        self._kafka_errors = self.counter("kafka_errors_total", "Failed calls to Kafka")
        self._ready = self.gauge("ready", "1 while /readyz says ready")

    def _make_state_metrics(self) -> None:
        self._state_posts = self.gauge("state_posts", "Posts in memory")
        self._state_events = self.gauge("state_events", "Events of the posts in memory")
        self._memory = self.gauge("memory_bytes", "Memory of what a worker keeps, by part of its budget", ["part"])
        self._retired = self.counter("retired_posts_total", "Posts that retention in this worker has deleted")
        self._evicted = self.counter("evicted_posts_total", "Posts that left memory for want of room")
        self._cold = self.counter("cold_reads_total", "Posts looked up in the log because they were not in memory")

    def _make_conversation_metrics(self) -> None:
        self._cells = self.counter(
            "conversation_cells_total", "Cells read from the conversations' topic, by what became of them", ["outcome"]
        )
        self._open_cells = self.gauge("conversation_cells_open", "Cells of open minutes in memory")
        self._open_minutes = self.gauge("conversation_minutes_open", "Distinct open minutes in memory")
        self._closed = self.counter("conversation_closings_total", "Minutes of conversations that were closed")
        self._watermark_age = self.gauge(
            "watermark_age_seconds", "Now less the least watermark of all source partitions; NaN: one has none yet"
        )

    def _show_every_series(self) -> None:
        """Makes the series of all known labels, so that rates of a counter begin at 0."""
        for kind in KINDS:
            for outcome in EVENT_OUTCOMES:
                self._events.labels(kind, outcome)
        for cell_outcome in CELL_OUTCOMES:
            self._cells.labels(cell_outcome)
        for part in MEMORY_PARTS:
            self._memory.labels(part)
        for step in BATCH_STEPS:
            self._steps.labels(step)
            self._step_cpu.labels(step)

    def count_events(self, kind: str, outcome: EventOutcome, n: int = 1) -> None:
        """Counts events of one of KINDS; any other kind counts as `unknown`."""
        self._events.labels(kind if kind in KINDS else UNKNOWN_KIND, outcome).inc(n)

    def count_dead_letters(self, reason_class: str, n: int = 1) -> None:
        """Counts dead letters by class of reason: a word of a short list (`not_json`, `schema`), never a message."""
        if reason_class not in self._classes:
            if len(self._classes) >= REASON_CLASSES_LIMIT:
                reason_class = "other"
            self._classes.add(reason_class)
        self._dead.labels(reason_class).inc(n)

    def count_unknown_field(self, name: str) -> bool:
        """Counts a field that events do not have; returns whether its name, or `other`, is counted for the first
        time."""
        if name not in self._unknown_names and len(self._unknown_names) >= UNKNOWN_FIELDS_LIMIT:
            name = "other"
        is_new = name not in self._unknown_names
        self._unknown_names.add(name)
        self._unknown_fields.labels(name).inc()
        return is_new

    def set_lag(self, lags: Mapping[tuple[str, int], int], group: str = "") -> None:
        """Sets the lag of a consumer group, in records by (topic, partition), for all partitions of this worker.

        Series of other partitions of the group are removed.
        """
        for topic, partition in self._lag_shown.get(group, set()) - lags.keys():
            self._lag.remove(topic, str(partition))
        for (topic, partition), lag in lags.items():
            self._lag.labels(topic, str(partition)).set(lag)
        self._lag_shown[group] = set(lags)

    def observe_batch(self, events: int) -> None:
        """Observes the number of records in a batch."""
        self._batches.observe(events)

    @contextmanager
    def time_step(self, step: BatchStep) -> Iterator[None]:
        """Observes the wall time of a block and the CPU time of its thread, also when the block raises."""
        started, cpu = perf_counter(), thread_time()
        try:
            yield
        finally:
            self._step_cpu.labels(step).inc(thread_time() - cpu)
            self.observe_step(step, perf_counter() - started)

    def observe_step(self, step: BatchStep, seconds: float) -> None:
        """Observes the wall time of a step."""
        self._steps.labels(step).observe(seconds)

    def observe_freshness(self, seconds: ArrayLike) -> None:
        """Observes the seconds from received_at to storage, one value per event of a batch."""
        self._freshness.observe(seconds)

    def freshness_quantile(self, share: float) -> float | None:
        """Estimates a quantile of the freshness in seconds; None before the first event."""
        return self._freshness.quantile(share)

    def note_commit(self, now: float) -> None:
        """Notes a commit that moved offsets, at the Unix time `now` in seconds."""
        self._commits.inc()
        self._last_commit.set(now)

    def set_state(self, posts: int, events: int) -> None:
        """Sets the numbers of posts and events in memory."""
        self._state_posts.set(posts)
        self._state_events.set(events)

    def set_memory(self, part: MemoryPart, size: int) -> None:
        """Sets the size of a part of the memory, in bytes."""
        self._memory.labels(part).set(size)

    def count_retired(self, posts: int) -> None:
        """Counts posts that retention has deleted."""
        self._retired.inc(posts)

    def count_evicted(self, posts: int) -> None:
        """Counts posts that left memory."""
        self._evicted.inc(posts)

    def count_cold_reads(self, posts: int) -> None:
        """Counts posts that were read from the log."""
        self._cold.inc(posts)

    def count_cells(self, outcome: CellOutcome, n: int = 1) -> None:
        """Counts cells by outcome."""
        self._cells.labels(outcome).inc(n)

    def count_closed(self, minutes: int) -> None:
        """Counts closed minutes, each a pair of conversation and minute."""
        self._closed.inc(minutes)

    def set_conversations(self, cells: int, minutes: int, watermark_age: float) -> None:
        """Sets the numbers of open cells and minutes in memory, and the age of the watermark in seconds."""
        self._open_cells.set(cells)
        self._open_minutes.set(minutes)
        self._watermark_age.set(watermark_age)

    def count_clickhouse_retry(self) -> None:
        """Counts a statement that is sent to ClickHouse again."""
        self._retries.inc()

    def count_kafka_error(self) -> None:
        """Counts a failed call to Kafka."""
        self._kafka_errors.inc()

    def set_ready(self, ready: bool) -> None:
        """Sets the gauge to the answer of /readyz."""
        self._ready.set(ready)

"""Prometheus metrics of a worker: the one file that imports prometheus_client. docs/operations.md lists them.

Nothing is made at import: a program makes one `WorkerMetrics` where it starts and hands it down. Updates are cheap
enough for every batch (a few microseconds each); `observe_freshness` takes all values of a batch at once. Safe to call
from any thread.
"""

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from threading import Lock
from time import perf_counter, thread_time
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from schemas.topics import KINDS

METRIC_PREFIX: Final = "engagement"

EventOutcome = Literal["new", "duplicate", "conflicting", "late", "dead"]
EVENT_OUTCOMES: Final[tuple[EventOutcome, ...]] = ("new", "duplicate", "conflicting", "late", "dead")
"""What became of an event; each has one. `late` counts as `new` does: more than a minute behind its post's newest."""

UNKNOWN_KIND: Final = "unknown"
"""The kind of a dead record that does not say what it is."""

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
"""What a batch goes through, in order: of events (the middle four are the steps of law 1), of cells, of alerts."""

CellOutcome = Literal["new", "duplicate", "late", "cold", "dead"]
CELL_OUTCOMES: Final[tuple[CellOutcome, ...]] = get_args(CellOutcome)
"""What became of a cell; of `dead` ones records are counted. `late`: its minute was closed; `cold`: there was no room
for it in memory. Both are read through, and change `conversation_minutes`."""

MemoryPart = Literal["posts", "known_posts", "cells", "closed_minutes", "series", "spikes"]
MEMORY_PARTS: Final[tuple[MemoryPart, ...]] = get_args(MemoryPart)
"""What a worker keeps: posts with their events, indexes and conversations; which posts the log has; cells of
conversations; counts at closing that must not be written again; series of the spike detector; spikes that go on."""

BATCH_BOUNDS: Final = (1, 10, 100, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000)
STEP_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
FRESHNESS_BOUNDS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 900, 3600)
"""Finest around the promise: queryable within 2 s."""

REASON_CLASSES_LIMIT: Final = 50
"""A label must stay small: classes of dead letters beyond this many are counted as `other`."""


class BulkHistogram(Collector):
    """A histogram that takes arrays: about 0.02 us a value, where `Histogram.observe` takes 1 us."""

    def __init__(self, name: str, documentation: str, bounds: Sequence[float], registry: CollectorRegistry) -> None:
        self._name, self._documentation = name, documentation
        self._bounds = np.array(bounds, dtype=np.float64)
        self._counts: NDArray[np.int64] = np.zeros(len(bounds) + 1, dtype=np.int64)
        self._sum = 0.0
        self._lock = Lock()
        registry.register(self)

    def observe(self, values: ArrayLike) -> None:
        """Count each value under the least bound that is not below it (`le` is inclusive). NaN is not counted; what
        clocks that disagree make negative counts as 0, because a sum may not fall."""
        seen = np.asarray(values, dtype=np.float64).ravel()
        seen = np.maximum(seen[~np.isnan(seen)], 0.0)
        counts = np.bincount(np.searchsorted(self._bounds, seen, side="left"), minlength=len(self._counts))
        with self._lock:
            self._counts += counts
            self._sum += float(seen.sum())

    def quantile(self, share: float) -> float | None:
        """The value below which `share` of all values lie, linear within its bucket as PromQL's histogram_quantile;
        None without values. Beyond the last bound it is the last bound."""
        counts = self._read()[0]
        if not counts.sum():
            return None
        rank = share * counts.sum()
        cumulative = np.cumsum(counts)
        bucket = int(np.searchsorted(cumulative, rank, side="left"))
        if bucket >= len(self._bounds):
            return float(self._bounds[-1])
        low = float(self._bounds[bucket - 1]) if bucket else 0.0
        before = float(cumulative[bucket] - counts[bucket])
        within = (rank - before) / counts[bucket] if counts[bucket] else 0.0
        return low + (float(self._bounds[bucket]) - low) * float(within)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        counts, total = self._read()
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        buckets = list(zip(bounds, np.cumsum(counts).astype(float).tolist(), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=total)

    def _read(self) -> tuple[NDArray[np.int64], float]:
        with self._lock:
            return self._counts.copy(), self._sum


class _Metrics:
    """A registry of its own, how it is printed and how it is read."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter, read by nobody
        self.registry = CollectorRegistry() if registry is None else registry
        if registry is None:
            ProcessCollector(registry=self.registry)
        info = Gauge(
            f"{METRIC_PREFIX}_build_info",
            "1, with what is running as labels",
            ["version", "python"],
            registry=self.registry,
        )
        info.labels(version("engagement-pipeline"), platform.python_version()).set(1)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Body and content type for /metrics: OpenMetrics where the Accept header asks for it, else Prometheus text."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def snapshot(self) -> dict[str, float]:
        """Every sample by its name as Prometheus writes it: `engagement_events_total{kind="like",outcome="new"}`."""
        return {
            _series(sample.name, sample.labels): sample.value
            for family in self.registry.collect()
            for sample in family.samples
        }

    def counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        """A new counter `engagement_<name>`. Raises ValueError for a name that is taken."""
        return Counter(f"{METRIC_PREFIX}_{name}", documentation, labels, registry=self.registry)

    def gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        """A new gauge `engagement_<name>`. Raises ValueError for a name that is taken."""
        return Gauge(f"{METRIC_PREFIX}_{name}", documentation, labels, registry=self.registry)


class WorkerMetrics(_Metrics):
    """What a worker tells of itself. A registry given from outside is filled; by default it has one of its own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        super().__init__(registry)
        self._events = self.counter(
            "events_total", "Records read from the source topics, by what became of them", ["kind", "outcome"]
        )
        self._dead = self.counter(
            "dead_letters_total", "Records that could not be taken, by class of reason", ["reason_class"]
        )
        self._lag = self.gauge(
            "consumer_lag", "Records of a partition of this worker that are not committed", ["topic", "partition"]
        )
        self._batches = Histogram(
            f"{METRIC_PREFIX}_batch_events", "Records in a batch", buckets=BATCH_BOUNDS, registry=self.registry
        )
        self._steps = Histogram(
            f"{METRIC_PREFIX}_step_duration_seconds",
            "Wall time of a step of a batch",
            ["step"],
            buckets=STEP_BOUNDS,
            registry=self.registry,
        )
        self._step_cpu = self.counter(
            "step_cpu_seconds_total", "CPU time of a step, of the thread that does it", ["step"]
        )
        self._freshness = BulkHistogram(
            f"{METRIC_PREFIX}_event_to_queryable_seconds",
            "From Kafka's receipt of an event (received_at) to its rows being stored",
            FRESHNESS_BOUNDS,
            self.registry,
        )
        self._commits = self.counter("batch_commits_total", "Commits of offsets that moved them")
        self._last_commit = self.gauge(
            "last_commit_timestamp_seconds", "When offsets were last committed, Unix time; 0: not yet"
        )
        self._state_posts = self.gauge("state_posts", "Posts in memory")
        self._state_events = self.gauge("state_events", "Events of the posts in memory")
        self._state_bytes = self.gauge("state_bytes", "Memory that the state of posts takes")
        self._memory = self.gauge("memory_bytes", "Memory of what a worker keeps, by part of its budget", ["part"])
        self._evicted = self.counter("evicted_posts_total", "Posts that left memory for want of room")
        self._cold = self.counter("cold_reads_total", "Posts looked up in the log because they were not in memory")
        self._cells = self.counter(
            "conversation_cells_total", "Cells read from the conversations' topic, by what became of them", ["outcome"]
        )
        self._open_cells = self.gauge("conversation_cells_open", "Cells of open minutes in memory")
        self._open_minutes = self.gauge("conversation_spots_open", "Distinct open minutes in memory")
        self._closed = self.counter("conversation_closings_total", "Minutes of conversations that were closed")
        self._watermark_age = self.gauge(
            "watermark_age_seconds", "Now less the least watermark of all source partitions; NaN: one has none yet"
        )
        self._retries = self.counter("clickhouse_retries_total", "Statements sent to ClickHouse again")
        self._kafka_errors = self.counter("kafka_errors_total", "Failed calls to Kafka")
        self._ready = self.gauge("ready", "1 while /readyz says ready")
        self._lag_shown: dict[str, set[tuple[str, int]]] = {}
        self._classes: set[str] = set()
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
        """`kind` is one of KINDS; anything else is counted as `unknown`."""
        self._events.labels(kind if kind in KINDS else UNKNOWN_KIND, outcome).inc(n)

    def count_dead_letters(self, reason_class: str, n: int = 1) -> None:
        """`reason_class` is a word of a short list (`not_json`, `schema`, `future`, ...), never a message."""
        if reason_class not in self._classes:
            if len(self._classes) >= REASON_CLASSES_LIMIT:
                reason_class = "other"
            self._classes.add(reason_class)
        self._dead.labels(reason_class).inc(n)

    def set_lag(self, lags: Mapping[tuple[str, int], int], group: str = "") -> None:
        """Lag in records by (topic, partition), of all partitions that this worker has in that consumer group; other
        series of the group are removed."""
        for topic, partition in self._lag_shown.get(group, set()) - lags.keys():
            self._lag.remove(topic, str(partition))
        for (topic, partition), lag in lags.items():
            self._lag.labels(topic, str(partition)).set(lag)
        self._lag_shown[group] = set(lags)

    def observe_batch(self, events: int) -> None:
        self._batches.observe(events)

    @contextmanager
    def time_step(self, step: BatchStep) -> Iterator[None]:
        """Observe the wall time of the block and the CPU time of its thread, also when it raises."""
        started, cpu = perf_counter(), thread_time()
        try:
            yield
        finally:
            self._step_cpu.labels(step).inc(thread_time() - cpu)
            self.observe_step(step, perf_counter() - started)

    def observe_step(self, step: BatchStep, seconds: float) -> None:
        self._steps.labels(step).observe(seconds)

    def observe_freshness(self, seconds: ArrayLike) -> None:
        """received_at -> stored, one value an event, all those of a batch at once."""
        self._freshness.observe(seconds)

    def freshness_quantile(self, share: float) -> float | None:
        """Estimate in seconds from the buckets; None before the first event."""
        return self._freshness.quantile(share)

    def note_commit(self, now: float) -> None:
        """Offsets moved and are committed. `now` is Unix time in seconds."""
        self._commits.inc()
        self._last_commit.set(now)

    def set_state(self, posts: int, events: int, size: int) -> None:
        """What is in memory; `size` in bytes."""
        self._state_posts.set(posts)
        self._state_events.set(events)
        self._state_bytes.set(size)

    def set_memory(self, part: MemoryPart, size: int) -> None:
        """`size` in bytes."""
        self._memory.labels(part).set(size)

    def count_evicted(self, posts: int) -> None:
        self._evicted.inc(posts)

    def count_cold_reads(self, posts: int) -> None:
        self._cold.inc(posts)

    def count_cells(self, outcome: CellOutcome, n: int = 1) -> None:
        self._cells.labels(outcome).inc(n)

    def count_closed(self, minutes: int) -> None:
        """Pairs of a conversation and a minute of it."""
        self._closed.inc(minutes)

    def set_conversations(self, cells: int, minutes: int, watermark_age: float) -> None:
        """What is open in memory; the age in seconds."""
        self._open_cells.set(cells)
        self._open_minutes.set(minutes)
        self._watermark_age.set(watermark_age)

    def count_clickhouse_retry(self) -> None:
        self._retries.inc()

    def count_kafka_error(self) -> None:
        self._kafka_errors.inc()

    def set_ready(self, ready: bool) -> None:
        self._ready.set(ready)


def _series(name: str, labels: Mapping[str, str]) -> str:
    said = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{said}}}" if said else name

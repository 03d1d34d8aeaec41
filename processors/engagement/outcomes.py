"""Metrics of the outcomes of events and dead letters, and of fields that are not stored."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from pipeline.dead_letters import DeadLetter
from pipeline.observability.metrics import EventOutcome, WorkerMetrics
from processors.columnar.arrays import Array
from processors.engagement.fold.columns import EventColumns
from processors.runtime.records import Run
from schemas.topics import KINDS
from schemas.unknown_fields import nearest_field, unknown_fields

FOLD_OUTCOMES: Final[tuple[EventOutcome, ...]] = ("new", "late", "duplicate", "conflicting")
"""Names of the outcomes of the fold, by number: kernels.NEW, LATE, DUPLICATE, CONFLICTING."""

log = logging.getLogger(__name__)


def count_outcomes(metrics: WorkerMetrics, events: EventColumns, outcomes: Array, dead: Sequence[DeadLetter]) -> None:
    """Counts events by kind and outcome, and dead letters by topic and by field."""
    codes = events.kind.astype(np.int64) * len(FOLD_OUTCOMES) + outcomes
    counts = np.bincount(codes, minlength=len(KINDS) * len(FOLD_OUTCOMES))
    for code in np.flatnonzero(counts).tolist():
        kind, outcome = divmod(code, len(FOLD_OUTCOMES))
        metrics.count_events(KINDS[kind], FOLD_OUTCOMES[outcome], int(counts[code]))
    for topic, count in Counter(letter.topic for letter in dead).items():
        metrics.count_events(topic.rpartition(".")[2].removesuffix("s"), "dead", count)
    for field, count in Counter(letter.field.partition(".")[0] or "record" for letter in dead).items():
        metrics.count_dead_letters(field, count)


def count_retired(metrics: WorkerMetrics, late: Sequence[DeadLetter]) -> None:
    """Counts events of posts that retention has deleted, by topic."""
    for topic, count in Counter(letter.topic for letter in late).items():
        metrics.count_events(topic.rpartition(".")[2].removesuffix("s"), "retired", count)


def count_erased(metrics: WorkerMetrics, kinds: Array) -> None:
    """Counts events of erased people, by kind (index into KINDS)."""
    for kind, count in enumerate(np.bincount(kinds, minlength=len(KINDS)).tolist()):
        if count:
            metrics.count_events(KINDS[kind], "erased", count)


def count_unknown_fields(metrics: WorkerMetrics, runs: Sequence[Run]) -> None:
    """Counts the fields that events do not have, by name, in a sample of one record of each run, and logs each name
    once. The place of the record changes from run to run."""
    for run in runs:
        count = len(run.records)
        if not count:
            continue
        record = run.records[run.records[0].offset // count % count]
        for name in unknown_fields(record.value):
            if metrics.count_unknown_field(name):
                near = nearest_field(name)
                log.warning(
                    "events in %s have a field %r, which is not known and not stored%s; `engagement check` counts them",
                    run.topic,
                    name,
                    f": is {near} meant?" if near else "",
                )

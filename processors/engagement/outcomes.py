"""Metrics of the outcomes of events and dead letters."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from pipeline.dead_letters import DeadLetter
from pipeline.observability.metrics import EventOutcome, WorkerMetrics
from processors.columnar.arrays import Array
from processors.engagement.fold.columns import EventColumns
from schemas.topics import KINDS

FOLD_OUTCOMES: Final[tuple[EventOutcome, ...]] = ("new", "late", "duplicate", "conflicting")
"""Names of the outcomes of the fold, by number: kernels.NEW, LATE, DUPLICATE, CONFLICTING."""


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

"""Prints the kernels, one a line, that are loaded or compiled by work after `load_all_kernels`: none should be.

    python -m tests.kernels_ahead

A process of its own, because kernels that other tests have loaded stay loaded.
"""

import sys
import time
from threading import Event

import numpy as np

from pipeline.observability.metrics import WorkerMetrics
from processors.columnar.hashing import Hasher
from processors.compile_kernels import load_all_kernels
from processors.conversation.fold import ConversationFold
from processors.engagement.job import EngagementJob, JobPolicy
from processors.engagement.ports import EngagementPorts
from processors.runtime.kernel_progress import all_kernels
from processors.runtime.records import Run
from processors.spikes.detection.bank import Bank
from producers.simulation.policy import SimulationPolicy
from producers.simulation.records import simulated_records
from schemas.topics import KINDS
from tests.fakes_conversations import Cell, as_cells
from tests.fakes_store import Database, FakeStore
from tests.test_conversation_fold import filled
from tests.test_job import Record

UNTIDY = {"duplicates": 0.05, "late": 0.02, "out_of_order": 0.02, "awkward": 0.03, "malformed": 0.01}


class Nothing:
    """An outbox that forgets what it sends."""

    def send(self, partition: int, value: bytes) -> None: ...

    def flush(self) -> None: ...


def engage() -> None:
    """The engagement job over a simulation, in portions, with so little memory that posts are evicted."""
    hasher = Hasher()
    store = FakeStore(Database(), hasher)
    ports = EngagementPorts(store, store, lambda letters: None, hasher, WorkerMetrics(), Nothing())
    job = EngagementJob(ports, JobPolicy())
    job.memory_bytes = 200_000
    job.assign([0], 1)
    records = list(simulated_records(SimulationPolicy(events=4000, posts=60, **UNTIDY)))  # type: ignore[arg-type]
    for start in range(0, len(records), 500):
        part = list(enumerate(records[start : start + 500], start))
        runs = [
            Run(kind, kind, 0, [Record(offset, r.key or b"", r.value or b"") for offset, r in part if r.kind == kind])
            for kind in KINDS
        ]
        assert job.process([run for run in runs if run.records], Event(), time.time)
        job.advance(1 << 51)


def converse() -> None:
    """The fold of conversations, with more cells than fit into a new one, some of which are let go."""
    fold = ConversationFold()
    cells = [filled(Cell(f"hashtag:{n % 7}", 100 + n % 50, f"p{n}", 1 + n % 3)) for n in range(3000)]
    for start in (0, 1500):
        fold.add_up(fold.add_cells(as_cells(cells[start : start + 1500])).groups)
    fold.drop(fold.between(100, 120))


def loaded() -> set[str]:
    """Every kernel with each of its signatures."""
    return {
        f"{kernel.py_func.__module__}.{kernel.py_func.__qualname__}{signature}"
        for kernel in all_kernels()
        for signature in kernel.signatures
    }


def main() -> None:
    load_all_kernels()
    ahead = loaded()
    engage()
    converse()
    watch()
    print(*sorted(loaded() - ahead), sep="\n", end="")


def watch() -> None:
    """The spike detector over some hours of many series."""
    bank = Bank()
    rows = bank.add(300)
    for minute in range(300):
        bank.update_many(rows, minute * 60, np.full(300, minute % 7))
        bank.firing_levels(rows, minute * 60 + 60)
    bank.judge_many(rows, 300 * 60, np.full(300, 90))
    bank.update_many(rows[:1], 300 * 60, [9])
    bank.update_many(rows[:1], np.array([301 * 60]), np.array([9.0]))


if __name__ == "__main__":
    sys.exit(main())

"""Loads the compiled kernels of the engagement job, by running a job that stores nothing on a few events."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any, Final

import numpy as np

from pipeline.observability.metrics import WorkerMetrics
from processors.columnar.hashing import Hasher, Hashes
from processors.engagement.cells import cell_kernels
from processors.engagement.fold.columns import EventColumns
from processors.engagement.fold.fold import Fold
from processors.engagement.fold.tables import kept
from processors.engagement.job import EngagementJob
from processors.engagement.known import KnownPosts
from processors.engagement.ports import EngagementPorts, LoggedEvents
from processors.engagement.rows.post_facts import PostEvent
from processors.engagement.state import Tagged
from processors.runtime.records import Run
from schemas.topics import KINDS

_EVENTS: Final[dict[str, dict[str, Any]]] = {
    "post": {"event_id": "p", "hashtags": ["a"]},
    "like": {"event_id": "l"},
    "share": {"event_id": "s", "hashtags": ["b"]},
    "comment": {"target_id": "c", "action": "retract"},
}
_THREAD: Final[tuple[dict[str, Any], ...]] = (
    {"event_id": "c"},
    {"event_id": "d", "actor_id": "b"},
    {"event_id": "e", "parent_id": "d"},
    {"event_id": "f", "parent_id": "e", "actor_id": "b"},
)
"""A comment that was taken back before it came, and two that answer one another."""

_COMMON: Final = {"post_id": "p", "actor_id": "a", "occurred_at": "2026-01-01T00:00:00Z"}
_RECEIVED_MS: Final = 1_767_225_600_000


def load_engagement_kernels() -> None:
    """Loads the compiled kernels of the engagement job, in 1 s; compiles them, in some 60 s, where no cache has them.
    Belongs before a worker joins its group, which would drop a member that is silent for so long."""
    nothing = _Nothing()
    job = EngagementJob(EngagementPorts(nothing, nothing, lambda letters: None, Hasher(), WorkerMetrics(), nothing))
    job.assign([0], 1)
    runs = [Run(kind, kind, 0, [_record(0, kind, _EVENTS.get(kind, {"event_id": kind}))]) for kind in KINDS]
    threads = [_record(offset, "comment", said) for offset, said in enumerate(_THREAD, 1)]
    for batch in (runs, [Run("comment", "comment", 0, threads)]):
        job.process(batch, Event(), lambda: 0.0)
    job.advance(1 << 51)
    KnownPosts.load_kernels()
    tables = Fold()._tables
    cell_kernels.present(tables, np.empty(0, np.int64), np.empty(0, np.uint64))
    kept(tables._asdict(), np.empty(0, np.bool_))


@dataclass
class _Record:
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def _record(offset: int, kind: str, more: dict[str, Any]) -> _Record:
    return _Record(offset, _RECEIVED_MS, b"p", json.dumps({**_COMMON, **more, "kind": kind}).encode())


class _Nothing:
    """A log, a store and an outbox that are always empty."""

    broker_ms = None

    def known(self, partitions: Sequence[int], of: int) -> Iterator[Hashes]:
        return iter(())

    def read(self, post_ids: Sequence[str]) -> Iterator[LoggedEvents]:
        return iter(())

    def read_posts(self, post_ids: Sequence[str]) -> Sequence[PostEvent]:
        return ()

    def read_tagged(self, post_ids: Sequence[str]) -> Sequence[Tagged]:
        return ()

    def read_channels(self, post_ids: Sequence[str]) -> Sequence[str]:
        return ()

    def retired(self, post_ids: Sequence[str]) -> Mapping[str, int]:
        return {}

    def retired_since(self, version: int) -> tuple[Sequence[str], int]:
        return (), version

    def append(self, events: EventColumns) -> None:
        pass

    def upsert(self, table: str, columns: Mapping[str, Sequence[Any] | Any]) -> None:
        pass

    def send(self, partition: int, value: bytes) -> None:
        pass

    def flush(self) -> None:
        pass

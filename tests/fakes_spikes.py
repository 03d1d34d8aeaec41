"""In-memory ports of the spike monitor, series with spikes, and a monitor on these ports.

Several monitors, each with faults of its own, may share one `SpikeShelf`, as several workers share a database.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from pipeline.observability.metrics import WorkerMetrics
from pipeline.observability.spike_metrics import SpikeMetrics
from processors.columnar.partitioning import partitions_of
from processors.spikes.detection.life import Change
from processors.spikes.detection.state import MonitorPolicy
from processors.spikes.monitor import MonitorPorts, SpikeMonitor
from processors.spikes.ports import Evidence, StoredSpike
from schemas.alerts import ALERTS_KEY, SPIKE_ALERT, SpikeAlert, idempotency_key

START = 29_000_000 - 29_000_000 % 60
SOME_EVIDENCE = Evidence(1.0, 5, 2, 3, 1.0, 1, 1.0, ("p1",), ("author:x/1",), "SELECT 1")


def series(seed: int, minutes: int, rate: float, spikes: Mapping[int, tuple[int, float]]) -> list[int]:
    """Returns random counts a minute; `spikes`: minute -> (minutes, times the rate)."""
    chance = np.random.default_rng(seed)
    rates = np.full(minutes, rate)
    for at, (length, times) in spikes.items():
        rates[at : at + length] *= times
    return [int(count) for count in chance.poisson(rates)]


@dataclass
class SpikeShelf:
    """The stored state, which survives every worker."""

    closings: dict[tuple[str, int], int] = field(default_factory=dict)
    floors: dict[int, int] = field(default_factory=dict)
    rows: dict[str, tuple[int, SpikeAlert]] = field(default_factory=dict)
    messages: list[SpikeAlert] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def sent_keys(self) -> list[str]:
        """Returns the keys by which receivers count an alert once."""
        return [idempotency_key(m["spike_id"], m["state"], m["as_of"]) for m in self.messages]


class FakeSpikes:
    """SpikeHistory, EvidenceSource, SpikeStore and AlertSender of one worker. `before` and `after` are called with the
    name of each call; they may raise."""

    def __init__(
        self,
        shelf: SpikeShelf,
        before: Callable[[str], None] = lambda name: None,
        after: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._shelf, self._before, self._after = shelf, before, after
        self._queue: list[tuple[str, bytes]] = []

    def oldest(self, floors: Mapping[int, int], of: int) -> int | None:
        return min((minute for name, minute in self._shelf.closings if _owner(name, of) in floors), default=None)

    def closings(
        self, floors: Mapping[int, int], of: int, minutes: int, kinds: Sequence[str]
    ) -> Iterator[tuple[int, list[str], list[int]]]:
        self._before("closings")
        found = sorted(
            (minute, name, count)
            for (name, minute), count in self._shelf.closings.items()
            if (owner := _owner(name, of)) in floors
            and floors[owner] - minutes <= minute < floors[owner]
            and name.partition(":")[0] in kinds
        )
        for minute, group in groupby(found, lambda row: row[0]):
            rows = list(group)
            yield minute, [name for _, name, _ in rows], [count for *_, count in rows]

    def spikes(self, floors: Mapping[int, int], of: int, since: int) -> Sequence[StoredSpike]:
        self._before("spikes")
        found = []
        for version, row in self._shelf.rows.values():
            as_of = minute_of(row["as_of"])
            if _owner(row["conversation"], of) in floors and (row["state"] != "resolved" or as_of >= since):
                found.append(
                    StoredSpike(
                        row["spike_id"],
                        row["conversation"],
                        row["state"],
                        minute_of(row["started_at"]),
                        as_of,
                        version,
                        row["expected"],
                        row["scale_minutes"],
                    )
                )
        return found

    def collect(self, changes: Sequence[Change]) -> list[Evidence]:
        self._before("collect")
        return [SOME_EVIDENCE for _ in changes]

    def save(self, alerts: Sequence[SpikeAlert], versions: Sequence[int]) -> None:
        self._before("save")
        for alert, version in zip(alerts, versions, strict=True):
            if version >= self._shelf.rows.get(alert["spike_id"], (0, alert))[0]:
                self._shelf.rows[alert["spike_id"]] = version, alert
        self._after("save")

    def send(self, key: str, value: bytes) -> None:
        self._before("send")
        self._queue.append((key, value))

    def flush(self) -> None:
        self._before("flush")
        for key, value in self._queue:
            alert = SPIKE_ALERT.validate_json(value)
            assert key == ALERTS_KEY
            self._shelf.messages.append(alert)
        self._queue.clear()
        self._after("flush")


def monitor_on(
    store: Any, metrics: WorkerMetrics | None = None, on_progress: Callable[[], None] = lambda: None, **policy: Any
) -> SpikeMonitor:
    policies = MonitorPolicy(**policy)
    ports = MonitorPorts(history=store, evidence=store, store=store, alerts=store)
    return SpikeMonitor(ports, SpikeMetrics(metrics or WorkerMetrics()), policies, on_progress)


def minute_of(time: Any) -> int:
    return int(time.timestamp()) // 60


def _owner(name: str, of: int) -> int:
    return int(partitions_of([name], of)[0])

"""The spike monitor under random schedules: crashes before and after any call, rebalances, workers that have not heard
of a lost partition, batches that are given up, open minutes with more than they close with, late corrections.

Each schedule must end with the spikes of the closed minutes alone, each of their states sent at least once under one
key.
"""

import random
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest

from pipeline.observability.metrics import WorkerMetrics
from processors.columnar.partitioning import partitions_of
from processors.runtime.retry import GivenUp
from processors.spikes.detection.life import Change
from processors.spikes.detection.state import MonitorPolicy, MonitorState
from processors.spikes.monitor import SpikeMonitor
from schemas.alerts import idempotency_key
from tests.fakes_spikes import START, FakeSpikes, SpikeShelf, minute_of, monitor_on, series

OF = 2
MINUTES = 360
NAMES = ("hashtag:a", "hashtag:b", "author:x/1", "thread:p", "brand:acme")
OWNER = dict(zip(NAMES, partitions_of(NAMES, OF).tolist(), strict=True))
FOREVER = 1 << 40


class Crash(BaseException):
    """Ends a worker: none of its later calls happens."""


def counts_of(seed: int) -> dict[str, list[int]]:
    """Returns quiet series of which some have spikes, long and short, once or twice, and then may fall silent."""
    rng = random.Random(seed)
    found = {}
    for name in NAMES:
        spikes = {
            rng.randrange(70, MINUTES - 60): (rng.choice((1, 3, 12)), rng.choice((100.0, 300.0)))
            for _ in range(rng.choice((0, 1, 1, 2)))
        }
        counts = series(rng.randrange(1 << 30), MINUTES, rng.choice((0.5, 2.0)), spikes)
        silent = max(spikes, default=MINUTES) + 12
        found[name] = counts[:silent] + [0] * (MINUTES - silent) if rng.random() < 0.5 else counts
    return found


class Worker:
    """A monitor, and the minutes that the worker believes to be closed."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.start()

    def start(self) -> None:
        self.calls_left, self.given_up_in = FOREVER, FOREVER
        self.monitor = monitor_on(FakeSpikes(self.world.shelf, self.call, self.call), METRICS)
        self.floors: dict[int, int] = {}

    def assign(self, partitions: set[int]) -> None:
        self.floors = {partition: self.world.shelf.floors[partition] for partition in sorted(partitions)}
        self.monitor.forget()
        if self.floors:
            self.monitor.load(self.floors, OF)

    def call(self, name: str) -> None:
        self.calls_left -= 1
        if self.calls_left == 0:
            raise Crash(name)

    def patiently(self, action: Callable[[], Any]) -> Any:
        self.given_up_in -= 1
        if self.given_up_in == 0:
            raise GivenUp
        return action()

    def step(self, minutes: int) -> None:
        """Calls the monitor as the conversation job does: open minutes, closings, floors, then the alerts."""
        if not self.floors:
            return
        world, until = self.world, min(*self.floors.values(), START + MINUTES * 2) + minutes
        self.monitor.on_open(*world.opened(self.floors, until))
        closed: dict[int, dict[str, int]] = {}
        for name, partition in OWNER.items():
            for minute in range(self.floors.get(partition, until), until):
                if count := world.count(name, minute):
                    closed.setdefault(minute, {})[name] = world.shelf.closings.setdefault((name, minute), count)
        self.call("closed")
        for partition in self.floors:
            world.shelf.floors[partition] = max(world.shelf.floors[partition], until)
        self.call("marks")
        self.floors = {partition: max(floor, until) for partition, floor in self.floors.items()}
        for minute in sorted(closed):
            self.monitor.on_closed(minute, [*closed[minute]], [*closed[minute].values()])
        self.monitor.publish(min(self.floors.values()), self.patiently)


class World:
    def __init__(self, seed: int) -> None:
        self.rng, self.counts = random.Random(seed), counts_of(seed)
        self.shelf = SpikeShelf(floors=dict.fromkeys(range(OF), START))
        self.workers = [Worker(self), Worker(self)]
        self.spread()

    def count(self, name: str, minute: int) -> int:
        number = minute - START
        return self.counts[name][number] if number < MINUTES else 0

    def opened(self, floors: Mapping[int, int], until: int) -> tuple[list[str], list[int], list[int]]:
        """Returns open minutes, now and then with more than they will close with, and corrections of closed minutes."""
        rng, spots = self.rng, []
        for name, partition in OWNER.items():
            for minute in (until, until + 1):
                if partition in floors and (count := self.count(name, minute)):
                    spots.append((name, minute, rng.choice((0, count // 2, count))))
                    if rng.random() < 0.01:
                        spots.append((name, minute, 5000))
            if rng.random() < 0.2:
                spots.append((name, floors.get(partition, until) - rng.randint(1, 30), 9999))
        columns = [list(column) for column in zip(*spots, strict=True)] or [[], [], []]
        return columns[0], columns[1], columns[2]

    def spread(self) -> None:
        """A rebalance; whoever loses a partition may not have heard of it."""
        zombie = self.rng.choice((None, None, *self.workers))
        owners = {place: self.rng.choice(self.workers) for place in range(OF)}
        for worker in self.workers:
            if worker is not zombie:
                worker.assign({place for place, owner in owners.items() if owner is worker})

    def act(self) -> None:
        rng, worker = self.rng, self.rng.choice(self.workers)
        chance = rng.random()
        if chance < 0.05:
            self.spread()
        elif chance < 0.25:
            worker.calls_left = rng.randint(1, 14)
        elif chance < 0.35:
            worker.given_up_in = rng.randint(1, 8)
        try:
            worker.step(rng.choice((1, 1, 1, 2, 5, 40)))
        except GivenUp:
            pass
        except Crash:
            worker.start()
            worker.monitor.forget()
            self.spread()
        worker.calls_left = worker.given_up_in = FOREVER

    def finish(self) -> SpikeMonitor:
        for worker in self.workers:
            worker.start()
        last = self.workers[0]
        last.assign(set(range(OF)))
        last.step(START + MINUTES * 2 - min(last.floors.values()))
        return last.monitor


METRICS = WorkerMetrics()


@pytest.fixture(autouse=True)
def one_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics are made once; workers come and go."""
    metrics = _metrics()
    monkeypatch.setattr("tests.fakes_spikes.SpikeMetrics", lambda worker: metrics)


@cache
def _metrics() -> Any:
    from pipeline.observability.spike_metrics import SpikeMetrics

    return SpikeMetrics(METRICS)


def truth_of(world: World) -> tuple[MonitorState, list[Change]]:
    """Returns the state and the changes that follow from the closed minutes alone."""
    state, changes = MonitorState(MonitorPolicy()), list[Change]()
    for minute in range(START, START + MINUTES):
        changes += state.close_until(lambda name: minute)  # noqa: B023
        names = [name for name in NAMES if world.count(name, minute)]
        changes += state.close_minute(minute, names, [world.count(name, minute) for name in names])
    return state, changes + state.close_until(lambda name: START + MINUTES * 2)


def key_of(change: Change) -> tuple[str, str, int | None]:
    return change.spike_id, change.state, change.as_of if change.state == "grown" else None


@pytest.mark.parametrize("seed", range(30))
def test_any_schedule_sends_the_same_spikes(seed: int) -> None:
    world = World(seed)
    for number in range(80):
        world.act()
        if number % 20 == 0:
            worker = world.rng.choice(world.workers)
            if worker.floors and worker.given_up_in == FOREVER:
                again = monitor_on(FakeSpikes(world.shelf), METRICS)
                again.load(worker.floors, OF)
                assert again.state.state() == worker.monitor.state.state(), "the rebuilt state differs"
    monitor = world.finish()
    state, changes = truth_of(world)
    assert monitor.state.state() == state.state()
    assert monitor.state.open_spikes == state.open_spikes == 0
    sent = {(m["spike_id"], m["state"], minute_of(m["as_of"]) if m["state"] == "grown" else None) for m in shelf(world)}
    wanted = {key_of(change) for change in changes}
    assert wanted <= sent, "not sent"
    real = {change.spike_id for change in changes}
    assert {key for key in sent if key[0] in real} == wanted, "sent without a spike"
    assert all(row["state"] == "resolved" and version & 1 for version, row in world.shelf.rows.values())
    last = {change.spike_id: change for change in changes}
    for spike_id, change in last.items():
        version, row = world.shelf.rows[spike_id]
        assert (version, minute_of(row["as_of"])) == (change.version | 1, change.as_of)
    for spike_id in {key[0] for key in sent} - real:
        states = {key[1] for key in sent if key[0] == spike_id}
        assert {"resolved"} <= states <= {"opened", "resolved"}, "what was taken back is resolved"


def shelf(world: World) -> list[Any]:
    return world.shelf.messages


def test_schedules_have_spikes_early_openings_and_crashes() -> None:
    """Else they would prove nothing."""
    counted = {"opened": 0, "grown": 0, "resolved": 0}
    early = crashed = 0
    for seed in range(10):
        world = World(seed)
        for change in truth_of(world)[1]:
            counted[change.state] += 1
        for _ in range(100):
            world.act()
        world.finish()
        keys = [idempotency_key(m["spike_id"], m["state"], m["as_of"]) for m in world.shelf.messages]
        crashed += len(keys) - len(set(keys))
        early += len({m["spike_id"] for m in world.shelf.messages} - {c.spike_id for c in truth_of(world)[1]})
    assert min(counted.values()) >= 3
    assert crashed > 0
    assert early > 0

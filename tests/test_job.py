"""The job under random schedules: crashes between any two steps, zombies, evictions, outages, batches given up.

A model of Kafka (logs, committed offsets, owners) and of ClickHouse (fakes_store.py) around real jobs with several
partitions each, read in any order. An owner may be cut off between any two calls, while another takes over, and come
back last of all. Each schedule ends with every derived row equal to the truth, and at no time is a row above it.

    SCHEDULES=20000 pytest tests/test_job.py -k schedule      # more of them than a test run has time for
"""

import json
import os
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import pytest

from pipeline.dead_letters import DeadLetter
from pipeline.errors import Unavailable
from pipeline.observability.metrics import WorkerMetrics
from processors.columnar.hashing import Hasher
from processors.columnar.partitioning import partitions_of
from processors.engagement.job import EngagementJob, JobPolicy
from processors.engagement.ports import EngagementPorts
from processors.runtime.records import Run
from schemas.conversations import CELL_COUNTS, CONVERSATION_RUN
from schemas.tables import POST_METRICS
from tests.cells_truth import Cell, carried_by, cells_of
from tests.cut_off import Crash, CutOffStep, run_schedules
from tests.fakes_conversations import said_by
from tests.fakes_store import Database, FakeStore, Faults
from tests.folding import differences, like, plain, undo
from tests.truth import PostTruth, truth_of

KINDS = ("like", "share", "comment", "post")
POSTS = ("a", "b", "c", "d")
SPREAD_NAME = re.compile("spread_|reproduction|forecast_|half_life_|life_|rate_half_life_")
SPREAD = {column.name for column in POST_METRICS.columns if SPREAD_NAME.match(column.name)}
URLS = ("https://u.example", "https://v.example/x", "w")
PARTITIONS = 2
MINUTES = ("2020-05-05T05:05:05Z", "2026-03-01T10:00:00Z", "2026-03-01T10:01:00Z", "2026-03-01T12:00:00Z")
NOW_MS = 1_780_000_000_000
METRICS = WorkerMetrics()


@dataclass(frozen=True)
class Record:
    offset: int
    key: bytes
    value: bytes
    timestamp: int = NOW_MS


class Broker:
    """The logs of some topics, the committed offsets and who owns what."""

    def __init__(self, logs: dict[tuple[str, int], list[dict[str, Any]]]) -> None:
        self.logs = {
            lane: [
                Record(number, event["post_id"].encode(), json.dumps(event).encode())
                for number, event in enumerate(log)
            ]
            for lane, log in logs.items()
        }
        self.committed = dict.fromkeys(logs, 0)
        self.cells: dict[tuple[str, int, str], dict[str, Any]] = {}
        """Of the topic of conversations: of each cell the one with the highest version, the last of equal ones."""
        self.owners: dict[int, Any] = {}


class FakeOutbox:
    """Sends to the broker's topic of conversations, in part perhaps."""

    def __init__(self, broker: Broker, worker: "Worker") -> None:
        self._broker, self._worker = broker, worker
        self.broker_ms = None

    def send(self, partition: int, value: bytes) -> None:
        self._worker.call("send")
        if self._worker.rng.random() < 0.02:
            raise Unavailable("send")
        run = CONVERSATION_RUN.validate_json(value)
        assert run["cells"] is not None
        for cell in said_by(run["cells"]):
            assert partitions_of([cell["conversation"]], PARTITIONS).tolist() == [partition]
            key = cell["conversation"], cell["minute"], cell["post_id"]
            if key not in self._broker.cells or self._broker.cells[key]["version"] <= cell["version"]:
                self._broker.cells[key] = cell

    def flush(self) -> None:
        self._worker.call("flush")
        if self._worker.rng.random() < 0.02:
            raise Unavailable("flush")


class Worker:
    """A job and its positions; a zombie goes on until it meets that its commits are refused. `step_cut_off`: what it
    was about when it was cut off from everybody; it hears of no assignment until that is done."""

    step_cut_off: CutOffStep | None = None

    def __init__(self, broker: Broker, database: Database, rng: random.Random) -> None:
        self.broker, self.database, self.rng = broker, database, rng
        self.start()

    def start(self) -> None:
        """A new process."""
        rng = self.rng
        hasher = Hasher()
        if self.step_cut_off is not None:
            self.step_cut_off.abandon()
        self.step_cut_off: CutOffStep | None = None
        self.calls_left = self.give_up_in = self.cut_off_in = 1 << 30
        self.given_up = Event()
        self.letters: list[DeadLetter] = []
        store = FakeStore(self.database, hasher, Faults(share=rng.choice((0.0, 0.0, 0.05)), rng=rng), self.call)
        policy = JobPolicy(memory_bytes=rng.choice((1, 1 << 30, 1 << 30)), first_wait=0.0, longest_wait=0.0)
        outbox = FakeOutbox(self.broker, self)
        ports = EngagementPorts(store, store, self.letters.extend, hasher, METRICS, outbox, self.call)
        self.job = EngagementJob(ports, policy)
        self.partitions: set[int] = set()
        self.positions: dict[tuple[str, int], int] = {}

    def call(self, name: str) -> None:
        self.calls_left -= 1
        self.give_up_in -= 1
        self.cut_off_in -= 1
        if self.give_up_in == 0:
            self.given_up.set()
        if self.calls_left == 0:
            raise Crash(name)
        if self.cut_off_in == 0 and self.step_cut_off is not None:
            self.step_cut_off.cut_off()

    def assign(self, partitions: set[int]) -> None:
        self.partitions = partitions
        self.positions = {lane: offset for lane, offset in self.broker.committed.items() if lane[1] in partitions}
        self.job.assign(partitions, PARTITIONS)

    def step(self, most: int) -> None:
        """One batch, or the rest of one that was cut off: taken, stored, committed, unless something happens on the
        way."""
        step = self.step_cut_off = self.step_cut_off or CutOffStep(lambda: self._step(most))
        try:
            if not step.run():
                return
        except Crash:
            self.step_cut_off = None
            raise
        self.step_cut_off = None

    def _step(self, most: int) -> None:
        lanes = [lane for lane in self.positions if self.positions[lane] < len(self.broker.logs[lane])]
        self.rng.shuffle(lanes)
        runs, positions = [], dict(self.positions)
        for lane in lanes:
            records = self.broker.logs[lane][positions[lane] :][: self.rng.randint(0, most)]
            if records:
                runs.append(Run(lane[0], lane[0].rpartition(".")[2].removesuffix("s"), lane[1], records))
                positions[lane] += len(records)
        if not runs:
            return
        self.given_up.clear()
        if self.job.process(runs, self.given_up, lambda: NOW_MS / 1000):
            self.call("commit")
            self.positions = positions
            for lane, offset in positions.items():
                if self.broker.owners.get(lane[1]) is self:  # a zombie's commit is refused
                    self.broker.committed[lane] = offset

    def done(self) -> bool:
        return all(self.broker.committed[lane] == len(self.broker.logs[lane]) for lane in self.positions)


def _event(rng: random.Random, ids: int, posts: Sequence[str]) -> dict[str, Any]:
    kind = rng.choice(KINDS)
    post_id = rng.choice(posts)
    name = f"{rng.randrange(ids)}"
    more: dict[str, Any] = {"kind": kind, "post_id": post_id, "channel": rng.choice(("x", "y", None))}
    if kind == "post":
        more |= {"hashtags": [rng.choice(("one", "two"))], "url": rng.choice(URLS), "followers": rng.randrange(9)}
        more |= {"links": [rng.choice(URLS)], "quotes": rng.choice((None, "z"))}
    elif kind != "like" and rng.random() < 0.5:
        more |= {"hashtags": [rng.choice(("one", "two", "three"))], "mentions": ["ann"]}
    if rng.random() < 0.3:
        return undo(name, rng.choice(MINUTES), **more, event_id=f"u{rng.randrange(ids)}")
    return like(name, rng.choice(MINUTES), **more, actor_id=rng.choice("uvw"))


def _logs(rng: random.Random, events: int) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Some topics of two partitions, with duplicates, conflicting ones among them."""
    logs: dict[tuple[str, int], list[dict[str, Any]]] = {
        (f"engagement.{kind}s", number): [] for kind in KINDS for number in range(PARTITIONS)
    }
    ids, posts = rng.choice((4, 4, 12)), POSTS[: rng.choice((1, 2, len(POSTS)))]
    for _ in range(events):
        event = _event(rng, ids, posts)
        partition = int(partitions_of([event["post_id"]], PARTITIONS)[0])
        logs[f"engagement.{event['kind']}s", partition] += [event] * (1 + (rng.random() < 0.3))
    return logs


def _assert_not_above(database: Database, truth: dict[str, PostTruth]) -> None:
    for row in database.rows("post_metrics"):
        assert row["events_seen"] <= truth[row["post_id"]].events_seen


def _said(row: dict[str, Any]) -> dict[str, Any]:
    """A row without key, version and how it spreads (test_cells.py has that); NaN is None."""
    names = [name for name in row if name not in ("post_id", "version", *SPREAD)]
    return dict(zip(names, plain([row[name] for name in names]), strict=True))


def _assert_exact(database: Database, truth: dict[str, PostTruth]) -> None:
    metrics = {row["post_id"]: row for row in database.rows("post_metrics")}
    assert metrics.keys() == truth.keys()
    minutes: dict[str, dict[int, tuple[int, ...]]] = {post_id: {} for post_id in truth}
    for row in database.rows("post_minutes"):
        post_id, second, *counts, _ = row.values()
        if any(counts):
            minutes[post_id][second // 60] = tuple(counts)
    facts = {row["post_id"]: _said(row) for row in database.rows("posts")}
    for post_id, post in truth.items():
        assert differences(_said(metrics[post_id]), post.metrics()) == {}, post_id
        assert minutes[post_id] == post.minutes, post_id
        assert facts.get(post_id) == post.facts(), post_id


def _assert_cells_exact(database: Database, broker: Broker, logs: dict[tuple[str, int], list[dict[str, Any]]]) -> None:
    """Of rows and messages alike; where nothing is left there may be zeros."""
    events = [event for log in logs.values() for event in log]
    truth = cells_of(events)
    rows, sent = {}, {}
    for row in database.rows("conversation_posts"):
        rows[row["conversation"], row["minute"] // 60, row["post_id"]] = _cell(row)
    for key, cell in broker.cells.items():
        sent[key] = _cell(cell)
    for found in (rows, sent):
        assert {key: cell for key, cell in found.items() if any(cell.counts) or cell.voices} == truth
    carried = {(row["message"], row["post_id"]): bool(row["is_current"]) for row in database.rows("carry_over")}
    assert carried == carried_by(events)


def _cell(row: dict[str, Any]) -> Cell:
    counts = tuple(row[name] for name in CELL_COUNTS)
    return Cell(counts, tuple(row["channels"]), tuple(row["voices"]), row["voices_exact"])


def _run_schedule(seed: int) -> None:
    rng = random.Random(seed)
    logs = _logs(rng, rng.choice((6, 15, 40)))
    truth = truth_of(event for log in logs.values() for event in log)
    database, broker = Database(), Broker(logs)
    workers = [Worker(broker, database, rng) for _ in range(2)]

    def rebalance(those: list[Worker]) -> None:
        """Whoever is cut off is no member of the group's new generation: commits of an older one are refused."""
        members = [worker for worker in those if worker.step_cut_off is None]
        broker.owners.clear()
        if not members:
            return
        shares: dict[int, set[int]] = {number: set() for number in range(len(members))}
        for partition in range(PARTITIONS):
            shares[rng.randrange(len(members))].add(partition)
        for number, member in enumerate(members):
            broker.owners |= dict.fromkeys(shares[number], member)
            member.assign(shares[number])

    def restart(worker: Worker) -> None:
        """A new process under the same name: it has the partitions back without a rebalance."""
        mine = {partition for partition, owner in broker.owners.items() if owner is worker}
        worker.start()
        worker.assign(mine)

    rebalance(workers)
    for _ in range(rng.randrange(3, 14)):
        roll = rng.random()
        worker = rng.choice(workers)
        if roll < 0.15:
            # Some are not told: they go on as zombies with what they had.
            rebalance(rng.choice((workers, [worker])))
        elif roll < 0.3:
            worker.calls_left = rng.randrange(1, 9)
        elif roll < 0.4:
            worker.give_up_in = rng.randrange(1, 7)
        elif roll < 0.8 and worker.step_cut_off is None:
            worker.cut_off_in = rng.randrange(1, 9)
        try:
            worker.step(rng.choice((1, 3, 9)))
        except Crash:
            restart(worker)
        _assert_not_above(database, truth)
    # Whoever has something in hand comes back after all others are done.
    last, zombie = sorted(rng.sample(workers, 2), key=lambda worker: worker.step_cut_off is not None)
    last.start()
    last.partitions = set(range(PARTITIONS))
    broker.owners = dict.fromkeys(last.partitions, last)
    last.assign(last.partitions)
    while not last.done():
        last.step(rng.choice((3, 20)))
        if zombie.step_cut_off is None and rng.random() < 0.2:
            zombie.calls_left = 1 << 30
            zombie.cut_off_in = rng.choice((1 << 30, rng.randrange(1, 9)))
            zombie.step(2)
    zombie.calls_left = 1 << 30
    if zombie.step_cut_off is not None:
        zombie.step(2)
    _assert_exact(database, truth)
    _assert_cells_exact(database, broker, logs)
    assert not last.letters


SCHEDULES = int(os.environ.get("SCHEDULES", "240"))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(0, SCHEDULES, 40))
def test_every_schedule_ends_exact(first: int) -> None:
    run_schedules(_run_schedule, first)

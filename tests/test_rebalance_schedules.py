"""A member of the group under random schedules: rebalances begin at any point of a fetch, a hand-over or a commit.

The consumer waits as aiokafka does: a fetch whose records come as a reassignment begins goes on once that has ended,
however long it takes, and the reassignment waits for whoever holds the lock. Each schedule ends in time with every
record taken, none between a revocation and the next assignment, and all committed.

    SCHEDULES=20000 pytest tests/test_rebalance_schedules.py      # more than a test run has time for
"""

import asyncio
import os
import random
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from pipeline.kafka.group import GroupPolicy, Member, Partition
from pipeline.settings import Settings
from tests.patience import SOON

SCHEDULES = int(os.environ.get("SCHEDULES", "240"))
PLACES = [TopicPartition("e.likes", number) for number in range(3)]
RECORDS = 6


class WaitingConsumer:
    """The logs of some partitions, and positions in them. `reassigned` is set but while partitions change hands."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.positions = dict.fromkeys(PLACES, 0)
        self.stands = dict.fromkeys(PLACES, 0)
        self.reassigned = asyncio.Event()
        self._coordinator = SimpleNamespace(
            check_errors=lambda: None, _pending_exception=None, member_id="m", generation=1
        )

    def assignment(self) -> set[TopicPartition]:
        return set(PLACES)

    async def getmany(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[int]]:
        await pause(self.rng)
        if self.rng.random() < 0.3:
            await asyncio.sleep(timeout_ms / 1000)
        await self.reassigned.wait()
        place = self.rng.choice(PLACES)
        first = self.positions[place]
        found = list(range(first, min(RECORDS, first + self.rng.randint(0, 2))))
        self.positions[place] = first + len(found)
        return {place: found} if found else {}

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        await pause(self.rng)
        self.stands |= offsets

    async def reassign(self, member: Member) -> None:
        """As aiokafka's coordinator: its listener may take as long as it likes; the broker does not wait so long."""
        self.reassigned.clear()
        await member.on_partitions_revoked(PLACES)
        await pause(self.rng)
        self.positions = dict(self.stands)
        await member.on_partitions_assigned(PLACES)
        self.reassigned.set()


class Worker:
    """Fetches, takes and commits under the lock that a rebalance wants, as runtime/source.py does."""

    def __init__(self, consumer: WaitingConsumer) -> None:
        self.consumer = consumer
        self.member = Member(Settings(), GroupPolicy("e", ("e.likes",)), self.revoke, self.assign)
        self.member._consumer = consumer
        self.lock = asyncio.Lock()
        self.is_owner = False
        self.taken: set[tuple[Partition, int]] = set()

    async def revoke(self) -> None:
        async with self.lock:
            self.is_owner = False

    async def assign(self, partitions: frozenset[Partition]) -> bool:
        async with self.lock:
            self.is_owner = True
        return True

    async def work(self) -> None:
        while min(self.consumer.stands.values()) < RECORDS:
            async with self.lock:
                fetched = await self.member.fetch(0.002, 10)
                assert self.is_owner or not fetched, "records of partitions that nobody has given to us"
                await pause(self.consumer.rng)
                for place, records in fetched.items():
                    self.taken |= {(place, record) for record in records}
                if fetched:
                    await self.member.commit({place: records[-1] + 1 for place, records in fetched.items()})
            await asyncio.sleep(0)


async def pause(rng: random.Random) -> None:
    """Lets others run a few times, or a little longer."""
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        await asyncio.sleep(0)
    if rng.random() < 0.1:
        await asyncio.sleep(0.001)


async def run_schedule(seed: int) -> None:
    rng = random.Random(seed)
    consumer = WaitingConsumer(rng)
    worker = Worker(consumer)
    await consumer.reassign(worker.member)
    async with asyncio.timeout(SOON):
        working = asyncio.create_task(worker.work())
        try:
            for _ in range(rng.randint(1, 4)):
                await asyncio.sleep(rng.choice((0, 0.001, 0.003)))
                await consumer.reassign(worker.member)
            await working
        finally:
            working.cancel()
    every: Iterable[Any] = ((place, record) for place in PLACES for record in range(RECORDS))
    assert worker.taken == {((place.topic, place.partition), record) for place, record in every}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(0, SCHEDULES, 40))
def test_every_schedule_ends_in_time_with_all_records(first: int) -> None:
    for seed in range(first, first + 40):
        try:
            asyncio.run(run_schedule(seed))
        except TimeoutError as error:
            raise AssertionError(f"schedule {seed}: the worker hangs in a rebalance") from error
        except AssertionError as error:
            raise AssertionError(f"schedule {seed}: {error}") from error

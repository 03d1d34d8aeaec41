"""A member of the group in a rebalance: aiokafka still hands out what it has read ahead, and a fetch that is under way
waits for the end of the rebalance, which waits for whoever fetches."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher, FetchResult
from aiokafka.errors import GroupAuthorizationFailedError

from pipeline.errors import Refused
from pipeline.kafka.aiokafka_raw_records import as_parsed, hand_out_parsed
from pipeline.kafka.bounded import within
from pipeline.kafka.group import Member
from pipeline.kafka.group_policy import GroupPolicy, Partition
from pipeline.settings import Settings
from tests.fakes_kafka import FakeConsumer
from tests.patience import SOON
from tests.test_group import batch_of, parsed

LIKES = FakeConsumer.LIKES


async def _nothing(*_: Any) -> bool:
    return True


def _member(consumer: Any, revoked: Callable[[], Awaitable[Any]] = _nothing) -> Member:
    member = Member(Settings(), GroupPolicy("e", ("e.likes",)), revoked, _nothing)
    member._consumer = consumer
    return member


@pytest.mark.parametrize("is_worked_on", [True, False])
def test_nothing_is_fetched_while_nobody_knows_whose_it_is(is_worked_on: bool) -> None:
    asyncio.run(_go_through_a_rebalance(is_worked_on))


async def _go_through_a_rebalance(is_worked_on: bool) -> None:
    async def revoked() -> None:
        assert not await member.fetch(0, 10), "fetched while a rebalance takes the partitions away"

    async def assigned(partitions: frozenset[Partition]) -> bool:
        assert partitions == {("e.likes", 0)}
        assert not await member.fetch(0, 10), "fetched before anybody has said whose they are"
        return is_worked_on

    member = Member(Settings(), GroupPolicy("e", ("e.likes",)), revoked, assigned)
    member._consumer = FakeConsumer()
    for _ in range(2):
        assert not await member.fetch(0, 10)
        await member.on_partitions_assigned([LIKES])
        assert bool(await member.fetch(0, 10)) is is_worked_on
        await member.on_partitions_revoked([LIKES])
        assert not await member.fetch(0, 10)


@pytest.mark.parametrize("answers", ["never", "although cancelled"])
def test_a_fetch_ends_when_a_rebalance_begins_and_brings_nothing(answers: str) -> None:
    async def test() -> None:
        lock = asyncio.Lock()

        async def revoked() -> None:
            async with lock:
                pass

        async def pump() -> Any:
            async with lock:
                return await member.fetch(60, 10)

        member = _member(FakeConsumer(answers), revoked)
        await member.on_partitions_assigned([LIKES])
        pumping = asyncio.create_task(pump())
        await asyncio.sleep(0.01)
        async with asyncio.timeout(SOON):
            await member.on_partitions_revoked([LIKES])
            assert await pumping == {}

    asyncio.run(test())


def test_a_fetch_ends_in_time_whatever_aiokafka_waits_for() -> None:
    async def test() -> None:
        consumer = FakeConsumer("never")
        member = _member(consumer)
        await member.on_partitions_assigned([LIKES])
        started = time.monotonic()
        async with asyncio.timeout(SOON):
            assert await member.fetch(0.05, 10) == {}
        assert time.monotonic() - started >= 0.05
        consumer.answers = "at once"
        assert _offsets(await member.fetch(0.05, 10)) == [0]

    asyncio.run(test())


def test_a_listener_that_fails_ends_the_worker() -> None:
    """aiokafka only logs it, and nobody would read the partitions any more."""

    async def test() -> None:
        async def revoked() -> None:
            raise ValueError("no such partition")

        member = _member(FakeConsumer(), revoked)
        await member.on_partitions_assigned([LIKES])
        with pytest.raises(ValueError, match="no such"):
            await member.on_partitions_revoked([LIKES])
        with pytest.raises(ValueError, match="no such"):
            await member.fetch(0, 10)

    asyncio.run(test())


def test_a_group_that_refuses_a_member_ends_the_worker_in_a_rebalance_too() -> None:
    """aiokafka waits until somebody has heard of it, for ever where nobody fetches."""

    async def test() -> None:
        member = _member(FakeConsumer(refusal=GroupAuthorizationFailedError("e")))
        with pytest.raises(Refused, match=r"group e does not let .*GroupAuthorizationFailed.*ENGAGEMENT_INSTANCE"):
            await member.fetch(0, 10)

    asyncio.run(test())


class RealConsumer:
    """aiokafka's own consumer and fetcher without a broker: `come` puts records where an answer would put them."""

    def __init__(self) -> None:
        hand_out_parsed()
        self.consumer = AIOKafkaConsumer(group_id="e", key_deserializer=as_parsed)
        self.subscription = self.consumer._subscription
        self.subscription.subscribe({LIKES.topic})
        cluster = SimpleNamespace(leader_for_partition=lambda partition: 0, broker_metadata=lambda node: node)
        client = SimpleNamespace(
            _loop=asyncio.get_running_loop(), _metadata_max_age_ms=1000, cluster=cluster, send=self._never
        )
        self.fetcher = self.consumer._fetcher = Fetcher(client, self.subscription, key_deserializer=as_parsed)
        self.consumer._coordinator = SimpleNamespace(check_errors=lambda: None, member_id="m")

    async def assign(self, member: Member, committed: int) -> None:
        self.subscription.assign_from_subscribed([LIKES])
        self.subscription.seek(LIKES, committed)
        await member.on_partitions_assigned([LIKES])

    def come(self, first: int, count: int) -> None:
        """Records of offsets from `first` on arrive."""
        self.fetcher._records[LIKES] = FetchResult(
            LIKES,
            assignment=self.subscription.subscription.assignment,
            partition_records=parsed(batch_of([(b"p", b"%d" % number) for number in range(count)], first), first),
            backoff=0.1,
        )
        for waiter in self.fetcher._fetch_waiters:
            self.fetcher._notify(waiter)

    async def close(self) -> None:
        await asyncio.sleep(0.01)  # aiokafka's loop does not hear of it while it ends what belonged to an assignment
        await within(SOON, self.fetcher.close())
        self.consumer._closed = True

    async def _never(self, *_: Any) -> Any:
        await asyncio.get_running_loop().create_future()


def test_a_fetch_of_aiokafka_does_not_outlast_a_rebalance_and_loses_nothing() -> None:
    """The records come between the beginning of the rebalance and our hearing of it: then aiokafka waits, without a
    limit, for an assignment that cannot come before the fetch has ended."""

    async def test() -> None:
        lock = asyncio.Lock()

        async def revoked() -> None:
            async with lock:
                pass

        async def pump() -> Any:
            async with lock:
                return await member.fetch(0.2, 10)

        real = RealConsumer()
        member = _member(real.consumer, revoked)
        await real.assign(member, committed=5)
        pumping = asyncio.create_task(pump())
        await asyncio.sleep(0.01)
        real.subscription.begin_reassignment()
        real.come(5, 3)
        await asyncio.sleep(0)
        async with asyncio.timeout(SOON):
            await member.on_partitions_revoked([LIKES])
            assert await pumping == {}
        await real.assign(member, committed=5)
        real.come(5, 3)
        assert _offsets(await member.fetch(0.2, 10)) == [5, 6, 7]
        await real.close()

    asyncio.run(test())


@pytest.mark.parametrize("steps", range(6))
def test_a_fetch_of_aiokafka_that_is_cancelled_holds_no_records(steps: int) -> None:
    """At whatever step of the loop after the records have come: either it returns them, or the next one does."""

    async def test() -> None:
        real = RealConsumer()
        member = _member(real.consumer)
        await real.assign(member, committed=5)
        fetching = asyncio.ensure_future(real.consumer.getmany(timeout_ms=1000, max_records=2))
        await asyncio.sleep(0.01)
        real.come(5, 3)
        for _ in range(steps):
            await asyncio.sleep(0)
        fetching.cancel()
        await asyncio.wait({fetching})
        fetched = [] if fetching.cancelled() else _offsets({("e.likes", 0): fetching.result()[LIKES]})
        async with asyncio.timeout(SOON):
            while len(fetched) < 3:
                fetched += _offsets(await member.fetch(0.2, 10))
        assert fetched == [5, 6, 7]
        await real.close()

    asyncio.run(test())


def _offsets(runs: Any) -> list[int]:
    return [record.offset for run in runs.values() for record in run]

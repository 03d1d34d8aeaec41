"""The loop that reads Kafka, without Kafka: how batches are cut, committed, given up, and what a rebalance does."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.errors import Refused, Unavailable
from pipeline.kafka.group import Member
from pipeline.kafka.group_policy import GroupPolicy, Partition
from pipeline.kafka.roster import Standing
from pipeline.observability.health import HealthState, WatchdogPolicy, WatchdogState
from pipeline.observability.metrics import WorkerMetrics
from pipeline.settings import Settings
from processors.runtime.batch import Batch, CatchUp, SourcePolicy
from processors.runtime.records import Run
from processors.runtime.source import RunSource
from processors.runtime.source_ports import SourceGroup, SourcePorts
from tests.fakes_alerts import until
from tests.fakes_kafka import FakeConsumer
from tests.fakes_kafka import FakeRecord as Record
from tests.patience import SOON

TOPICS = ("engagement.likes", "engagement.shares")
LIKES, SHARES = ((topic, 0) for topic in TOPICS)


class FakeMember:
    """Answers what it was told to, and remembers what it was asked. `rewinds`: to which offsets it was told to go."""

    def __init__(self) -> None:
        self.standings: list[Standing] = []
        self.is_settled = True
        self.fetches: list[dict[Partition, list[Record]]] = []
        self.commits: list[dict[Partition, int]] = []
        self.rewinds: list[dict[Partition, int]] = []
        self.away = 0
        self.ours = True
        self.lag: dict[Partition, int] = {}
        self.lag_of_group: dict[Partition, int] = {}
        self.lags_known: dict[Partition, int | None] = {LIKES: 0}

    async def fetch(self, seconds: float, most: int) -> dict[Partition, list[Record]]:
        await asyncio.sleep(0)
        return self.fetches.pop(0) if self.fetches else {}

    async def commit(self, offsets: dict[Partition, int]) -> bool:
        if self.away:
            self.away -= 1
            raise Unavailable("the broker is away")
        self.commits.append(offsets)
        return self.ours

    def rewind(self, offsets: dict[Partition, int]) -> None:
        self.rewinds.append(offsets)

    async def rewind_to(self, assigned: frozenset[Partition], at: int) -> dict[Partition, int]:
        if self.away:
            self.away -= 1
            raise Unavailable("the broker is away")
        return dict.fromkeys(assigned, at)

    async def standing(self, member_id: str = "") -> Standing:
        """What comes next of `standings`, the last of them from then on."""
        return self.standings.pop(0) if len(self.standings) > 1 else [*self.standings, "member"][0]

    async def lags(self, of_group: bool = False) -> dict[Partition, int]:
        return dict(self.lag_of_group if of_group else self.lag)

    async def join(self) -> None: ...

    async def leave(self) -> None: ...

    def partition_count(self) -> int:
        return 4

    async def behind(self) -> dict[Partition, int | None]:
        return dict(self.lags_known)


class FakeChannel:
    """Settles each batch as it is told, while the loop waits."""

    def __init__(self) -> None:
        self.outcome: Callable[[Batch], bool | Exception] = lambda batch: not batch.given_up.is_set()
        self.sent: list[Batch] = []
        self.app = SimpleNamespace(flow_control=SimpleNamespace(resume=lambda: None))

    async def send(self, value: Batch) -> None:
        self.sent.append(value)
        asyncio.get_running_loop().call_soon(lambda: value.complete(self.outcome(value)))


class FakeAgent:
    def __init__(self) -> None:
        self.assignments: list[tuple[list[int], int]] = []

    async def prepare(self) -> None: ...

    async def assign(self, partitions: list[int], of: int) -> None:
        self.assignments.append((partitions, of))

    async def process(self, batch: Batch) -> bool:
        raise AssertionError("the channel of a test completes its batches itself")

    async def close(self) -> None: ...


class Bench:
    """A source on fakes."""

    def __init__(self, catch_up: CatchUp | None = None, sources: SourceGroup | None = None, **policy: Any) -> None:
        self.member, self.channel, self.agent = FakeMember(), FakeChannel(), FakeAgent()
        kinds = {topic: topic.rpartition(".")[2].removesuffix("s") for topic in TOPICS}
        group = GroupPolicy("engagement", TOPICS)
        self.health = HealthState()
        self.source = RunSource(
            SourcePolicy(group, kinds, **{"flush_seconds": 0.05, **policy}),
            SourcePorts(
                self.agent,
                self.channel,  # type: ignore[arg-type]
                lambda on_revoked, on_assigned: self.member,  # type: ignore[arg-type,return-value]
                WorkerMetrics(),
                self.health,
                WatchdogState(WatchdogPolicy(5, outside_seconds=0.5)),
                sources or SourceGroup(),
            ),
            catch_up,
        )


def records(first: int, count: int, age: float = 0.0) -> list[Record]:
    return [Record(first + number, int((time.time() - age) * 1000)) for number in range(count)]


def alone(test: Callable[[Bench], Awaitable[None]], **policy: Any) -> None:
    async def run() -> None:
        await test(Bench(**policy))

    asyncio.run(run())


def test_a_batch_holds_whole_runs_and_where_to_go_on() -> None:
    async def test(bench: Bench) -> None:
        bench.member.fetches = [{LIKES: records(5, 3), SHARES: records(0, 1)}, {LIKES: records(8, 2)}]
        batch = await bench.source._next_batch()
        assert batch is not None
        assert [(run.kind, run.partition, len(run.records)) for run in batch.runs] == [
            ("like", 0, 3),
            ("share", 0, 1),
            ("like", 0, 2),
        ]
        assert batch.next_offsets == {LIKES: 10, SHARES: 1}
        assert await bench.source._next_batch() is None

    alone(test)


def test_a_batch_ends_with_its_events() -> None:
    async def test(bench: Bench) -> None:
        bench.member.fetches = [{LIKES: records(first, 4)} for first in (0, 4, 8)]
        batch = await bench.source._next_batch()
        assert batch is not None
        assert batch.next_offsets == {LIKES: 8}

    alone(test, flush_events=5)


@pytest.mark.parametrize(("age", "least", "most"), [(0.0, 0.05, 9.0), (1.0, 0.95, 7.9), (60.0, 3.1, 30.0)])
def test_a_batch_is_cut_soon_after_fresh_records_and_later_the_older_they_are(
    age: float, least: float, most: float
) -> None:
    """Fresh: at once, where the last batch was cut long ago. Read ahead: a flush. A backlog: eight."""

    async def test(bench: Bench) -> None:
        async def fetch(seconds: float, count: int) -> dict[Partition, list[Record]]:
            await asyncio.sleep(0.01)
            return {LIKES: records(0, 1, age)}

        bench.member.fetch = fetch  # type: ignore[method-assign]
        started = time.monotonic()
        assert await bench.source._next_batch() is not None
        assert least <= time.monotonic() - started < most

    alone(test, flush_seconds={0.0: 10.0, 1.0: 1.0, 60.0: 0.4}[age])


def test_what_is_stored_is_committed_and_what_is_given_up_is_read_again() -> None:
    async def test(bench: Bench) -> None:
        source = bench.source
        await source._hand_over(Batch([], {LIKES: 3}))
        await source._hand_over(Batch([], {SHARES: 7}))
        bench.channel.outcome = lambda batch: False
        runs = [Run(LIKES[0], "like", 0, records(first, 3)) for first in (3, 6)]
        await source._hand_over(Batch(runs, {LIKES: 9}))
        await source._commit()
        assert bench.member.commits == [{LIKES: 3, SHARES: 7}]
        assert bench.member.rewinds == [{LIKES: 3}]
        assert source._uncommitted == {}

    alone(test)


def test_an_error_of_the_job_ends_the_loop() -> None:
    async def test(bench: Bench) -> None:
        bench.channel.outcome = lambda batch: Refused("no")
        with pytest.raises(Refused):
            await bench.source._hand_over(Batch([], {LIKES: 3}))
        assert bench.source._uncommitted == {}

    alone(test)


@pytest.mark.parametrize(("away", "commits", "left"), [(1, [{LIKES: 3}], {}), (2, [], {LIKES: 3})])
def test_a_failed_commit_is_tried_once_more_and_then_left_to_the_next(away: int, commits: Any, left: Any) -> None:
    async def test(bench: Bench) -> None:
        bench.source._uncommitted = {LIKES: 3}
        bench.member.away = away
        await bench.source._commit()
        assert (bench.member.commits, bench.source._uncommitted) == (commits, left)

    alone(test)


def test_a_refused_commit_is_not_repeated() -> None:
    async def test(bench: Bench) -> None:
        bench.source._uncommitted, bench.member.ours = {LIKES: 3}, False
        await bench.source._commit()
        assert bench.source._uncommitted == {}

    alone(test)


def test_a_rebalance_waits_for_the_open_batch_and_asks_to_give_it_up() -> None:
    async def test(bench: Bench) -> None:
        source, seen = bench.source, []

        async def pump() -> None:
            async with source._between_batches:
                await source._hand_over(Batch([], {LIKES: 3}))
                seen.append("batch")

        async def send(value: Batch) -> None:
            async def settle() -> None:
                while not value.given_up.is_set():
                    await asyncio.sleep(0.001)
                value.complete(False)

            bench.settling = asyncio.create_task(settle())  # type: ignore[attr-defined]

        bench.channel.send = send  # type: ignore[method-assign]
        source._uncommitted = {SHARES: 1}
        pumping = asyncio.create_task(pump())
        await asyncio.sleep(0.005)
        await source._revoke()
        seen.append("revoked")
        await pumping
        assert seen == ["batch", "revoked"]
        assert bench.member.commits == [{SHARES: 1}]
        assert bench.member.rewinds == []  # somebody else reads it again
        assert bench.agent.assignments == [([], 1)]
        assert source._wanted == 0

    alone(test)


def test_no_batch_is_begun_while_a_rebalance_wants_the_lock() -> None:
    async def test(bench: Bench) -> None:
        bench.source._wanted = 1
        bench.member.fetches = [{LIKES: records(0, 1)}]
        assert await bench.source._next_batch() is None
        assert len(bench.member.fetches) == 1

    alone(test)


def test_an_assignment_is_claimed_and_the_first_one_rewound_where_asked() -> None:
    async def test(bench: Bench) -> None:
        assigned = frozenset((topic, number) for topic in TOPICS for number in (2, 0))
        await bench.source._assign(assigned)
        assert bench.agent.assignments == [([0, 2], 4)]
        assert await bench.source._rewind_first()
        assert bench.source._uncommitted == dict.fromkeys(assigned, 99)
        bench.source._uncommitted = {}
        await bench.source._assign(assigned)
        assert await bench.source._rewind_first()
        assert bench.source._uncommitted == {}

    alone(test, rewind_to=99)


def test_nothing_is_read_before_a_rewind_has_been_done_and_a_rebalance_does_not_wait_for_it() -> None:
    async def test(bench: Bench) -> None:
        bench.member.away, bench.member.fetches = 1_000, [{LIKES: records(0, 1)}]
        await bench.source._assign(frozenset({LIKES, SHARES}))
        async with bench.source:
            await until(lambda: bench.member.away < 1_000)
            assert not bench.health.report(time.monotonic()).ready
            async with asyncio.timeout(SOON):
                await bench.source._revoke()
            assert bench.channel.sent == [], "fetched before"
            assert bench.member.commits == []
            await bench.source._assign(frozenset({LIKES, SHARES}))
            bench.member.away = 0
            await until(lambda: bench.member.commits[:1] == [{LIKES: 1, SHARES: 99}])

    alone(test, rewind_to=99)


def test_a_torn_assignment_is_refused() -> None:
    async def test(bench: Bench) -> None:
        crashes: list[BaseException] = []

        async def crash(reason: BaseException) -> None:
            crashes.append(reason)

        bench.source.crash = crash
        await bench.source._assign(frozenset({LIKES, (TOPICS[1], 1)}))
        assert bench.agent.assignments == []
        assert "torn" in str(crashes[0])
        assert "subscribe to engagement.likes, engagement.shares" in str(crashes[0])

    alone(test)


def test_a_batch_is_settled_once() -> None:
    async def test(bench: Bench) -> None:
        batch = Batch([], {})
        batch.complete(True)
        batch.complete(ValueError("late"))
        assert await batch.stored

    alone(test)


async def _nothing() -> None: ...


def test_a_batch_tells_what_is_left_behind_it() -> None:
    async def test(bench: Bench) -> None:
        bench.member.fetches = [{LIKES: records(0, 1)}]
        bench.member.lags_known = {LIKES: 3, SHARES: None}
        batch = await bench.source._next_batch()
        assert batch is not None
        assert batch.lags == {LIKES: 3, SHARES: None}

    alone(test)


def test_an_empty_batch_comes_once_a_second_where_no_records_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.runtime.source._TICK_SECONDS", 0.3)

    async def test(bench: Bench) -> None:
        bench.source._handed_at = time.monotonic()
        async with bench.source:
            await until(lambda: len(bench.channel.sent) == 2)
            assert not bench.channel.sent[0].runs
            assert bench.channel.sent[0].lags == {LIKES: 0}
            assert not bench.channel.sent[1].all_read
            assert bench.member.commits == []

    alone(test)


def test_caught_up_once_the_group_is_and_its_agent_was_told() -> None:
    """Not while others have lag, nor before what comes first is; and no more when something has come."""
    told: list[str] = []
    due = [False]

    async def test(bench: Bench) -> None:
        source, member = bench.source, bench.member
        source._catch_up = CatchUp(lambda: due[0], lambda: told.append("caught up"))
        bench.health.note_assignment(1)
        member.lag_of_group = {SHARES: 1}
        async with source:
            await asyncio.sleep(0.6)
            due[0] = True
            await asyncio.sleep(0.6)
            assert not source.is_caught_up
            assert not any(batch.all_read for batch in bench.channel.sent)
            member.lag_of_group = {}
            await until(lambda: bool(told))
            assert source.is_caught_up
            assert [batch.all_read for batch in bench.channel.sent][-1]
            due[0] = False
            member.fetches = [{LIKES: records(0, 1)}]
            await until(lambda: not source.is_caught_up)
            await asyncio.sleep(0.6)
            assert not source.is_caught_up
            assert not bench.channel.sent[-1].all_read

    alone(test)


@pytest.mark.parametrize("answers", ["never", "although cancelled"])
def test_a_rebalance_ends_although_a_fetch_would_wait_for_it(answers: str) -> None:
    """With the member and the lock as they are: aiokafka's fetch waits for the end of the rebalance."""

    async def test(bench: Bench) -> None:
        source = bench.source
        member = Member(Settings(), GroupPolicy("e", ("e.likes",)), source._revoke, source._assign)
        consumer = FakeConsumer(answers)
        member._consumer = consumer
        member._roster = bench.member  # type: ignore[assignment]
        source._policy = replace(source._policy, group=GroupPolicy("e", ("e.likes",)), kinds={"e.likes": "like"})
        source._member = member
        member.join = member.leave = _nothing  # type: ignore[method-assign,assignment]
        async with source:
            await member.on_partitions_assigned([consumer.LIKES])
            await until(lambda: member._fetching is not None)
            async with asyncio.timeout(SOON):
                await member.on_partitions_revoked([consumer.LIKES])
            assert bench.agent.assignments[-1] == ([], 1)
            assert not any(batch.runs for batch in bench.channel.sent), "what came too late was folded"

    alone(test)


def test_a_worker_that_its_group_does_not_have_is_not_ready_and_ends() -> None:
    async def test(bench: Bench) -> None:
        crashes: list[BaseException] = []

        async def crash(reason: BaseException) -> None:
            crashes.append(reason)

        source, member = bench.source, bench.member
        source.crash = crash
        member.is_settled, member.standings = False, ["rebalancing", "member", "outside"]
        bench.health.note_assignment(1)
        seen: list[tuple[str, ...]] = []
        async with source:
            while not crashes:
                reasons = bench.health.report(time.monotonic()).reasons
                if seen[-1:] != [reasons]:
                    seen.append(reasons)
                await asyncio.sleep(0.01)
        assert seen[:4] == [
            (),
            ("the consumer group engagement is rebalancing: waiting for partitions",),
            (),
            ("not a member of the consumer group engagement: waiting to be let in",),
        ]
        assert "consumer group engagement; the process ends" in str(crashes[0])

    alone(test)


def test_the_sources_of_a_worker_stop_together() -> None:
    async def run() -> None:
        sources = SourceGroup()
        first, second = Bench(sources=sources, name="first"), Bench(sources=sources, name="second")
        async with first.source, second.source:
            await first.source.stop()
            assert second.source.should_stop
            assert second.source._wanted == 1

    asyncio.run(run())

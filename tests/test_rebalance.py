"""A member of the group between the two halves of a rebalance: aiokafka still hands out what it has read ahead."""

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition

from pipeline.group import GroupPolicy, Member, Partition
from pipeline.settings import Settings

LIKES = TopicPartition("e.likes", 0)


class FakeConsumer:
    """Has an assignment and records at any time."""

    def assignment(self) -> set[TopicPartition]:
        return {LIKES}

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[str]]:
        return {LIKES: ["record"]}


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

"""Whom a real broker counts in a group, and what is said of one that is not there."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress

import pytest

from pipeline.errors import Unavailable
from pipeline.kafka.group import Member
from pipeline.kafka.group_policy import GroupPolicy
from pipeline.kafka.group_topics import torn
from pipeline.kafka.roster import Roster
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import Settings
from tests.patience import SOON
from tests.tcp_proxy import TcpProxy


async def _let_go() -> None: ...


async def _take(partitions: Iterable[tuple[str, int]]) -> bool:
    return True


def _member(settings: Settings, topics: tuple[str, ...]) -> Member:
    return Member(settings, GroupPolicy(settings.topic_prefix, topics), _let_go, _take)


async def _until(member: Member, standing: str) -> None:
    """A new broker has no coordinator in its first seconds."""
    async with asyncio.timeout(20):
        while True:
            with suppress(Unavailable):
                if await member.standing() == standing:
                    return
            await asyncio.sleep(0.05)


def test_a_member_is_one_until_it_leaves(settings: Settings) -> None:
    ensure_topics(settings)
    topics = settings.topics.sources

    async def test() -> None:
        first, second = _member(settings, topics), _member(settings, topics)
        await first.join()
        await _until(first, "member")
        assert len(first._consumer.assignment()) == len(topics) * settings.partitions
        await second.join()
        await _until(second, "member")
        await _until(first, "member")
        assert not torn(((p.topic, p.partition) for p in second._consumer.assignment()), topics)
        roster, member_id = Roster(settings, settings.topic_prefix), second._consumer._coordinator.member_id
        assert await roster.standing(member_id) in ("member", "rebalancing")
        assert await roster.standing("") == await roster.standing("another") == "outside"
        await second.leave()
        assert await roster.standing(member_id) == "outside"
        await first.leave()
        await roster.close()

    asyncio.run(test())


def test_a_broker_that_does_not_answer_is_away_and_is_asked_anew(
    settings: Settings, broker_link: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.kafka.roster.BROKER_ANSWER_SECONDS", 1.0)
    its = settings.model_copy(update={"kafka": broker_link.address})

    async def test() -> None:
        roster = Roster(its, its.topic_prefix)
        assert await roster.standing("m") == "outside"
        for fail in (broker_link.cut, broker_link.sever):
            fail()
            for _ in range(2):
                started = time.monotonic()
                with pytest.raises(Unavailable, match=f"who is in the group {its.topic_prefix}"):
                    await roster.standing("m")
                assert time.monotonic() - started < SOON
            broker_link.mend()
            assert await roster.standing("m") == "outside"
        await roster.close()

    asyncio.run(test())

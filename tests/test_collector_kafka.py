"""The collector's sender on a real Kafka: acks, order, refusals, outages, bounds."""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Callable

import pytest

from pipeline.errors import Unavailable
from pipeline.kafka.topics import ensure_topics, partition_of
from pipeline.settings import Settings
from pipeline.topic_reader import read_topic
from producers.collector.batch_sender import BatchPolicy, BatchSender
from producers.collector.outgoing import OutgoingRecord, Overloaded
from tests.patience import SOON
from tests.tcp_proxy import TcpProxy


async def connected(settings: Settings, policy: BatchPolicy | None = None) -> BatchSender:
    sender = BatchSender(settings, policy)
    sender.start()
    await until_present(sender)
    return sender


async def until_present(sender: BatchSender, seconds: float = 40) -> None:
    until = time.monotonic() + seconds
    while sender.absence:
        assert time.monotonic() < until, sender.absence
        await asyncio.sleep(0.05)


def test_every_record_is_there_once_answered_and_in_order(settings: Settings) -> None:
    ensure_topics(settings)
    kinds = ("posts", "likes", "comments")
    requests = [
        [
            OutgoingRecord(
                f"{settings.topic_prefix}.{kinds[number % 3]}", b"p%d" % (number % 17), b"%d-%d" % (request, number)
            )
            for number in range(50)
        ]
        for request in range(40)
    ]

    async def deliver() -> None:
        sender = await connected(settings)
        answers = await asyncio.gather(*(sender.deliver(request) for request in requests))
        assert answers == [{}] * 40
        assert sender.waiting_bytes == 0
        await sender.close()

    asyncio.run(deliver())
    wanted = defaultdict[tuple[str, bytes], list[bytes]](list)
    for request in requests:
        for record in request:
            wanted[record.topic, record.key or b""].append(record.value)
    found = defaultdict[tuple[str, bytes], list[bytes]](list)
    for topic in settings.topics.sources:
        for each in read_topic(settings, topic):
            found[topic, each.key or b""].append(each.value or b"")
            assert each.partition == partition_of(each.key or b"", settings.partitions)
    assert found == wanted


def test_headers_arrive_and_a_null_key_is_taken(settings: Settings) -> None:
    ensure_topics(settings)
    topic = settings.topics.dead_letters

    async def deliver() -> None:
        sender = await connected(settings)
        await sender.deliver([OutgoingRecord(topic, None, b"raw", [("reason", b"because")])])
        await sender.close()

    asyncio.run(deliver())
    [record] = read_topic(settings, topic)
    assert (record.key, record.value, record.headers) == (None, b"raw", (("reason", b"because"),))


def test_a_record_that_the_broker_refuses_harms_no_other(settings: Settings) -> None:
    ensure_topics(settings)
    larger = settings.model_copy(update={"record_limit": 4_000_000})
    topic = settings.topics.of("like")
    values = [b"a", b"b", os.urandom(2_000_000), b"c", os.urandom(2_000_000), b"d"]

    async def deliver() -> dict[int, str]:
        sender = await connected(larger, BatchPolicy(compression=None))
        # The topics are checked against the larger limit only where they are made.
        refused, more = await asyncio.gather(
            sender.deliver([OutgoingRecord(topic, b"p", value) for value in values]),
            sender.deliver([OutgoingRecord(topic, b"p", b"e")]),
        )
        assert more == {}
        await sender.close()
        return refused

    refused = asyncio.run(deliver())
    assert set(refused) == {2, 4}
    assert "shorten" in refused[2]
    assert [record.value for record in read_topic(settings, topic)] == [b"a", b"b", b"c", b"d", b"e"]


def test_topics_that_are_not_there_yet(settings: Settings) -> None:
    async def wait() -> str:
        sender = BatchSender(settings)
        sender.start()
        until = time.monotonic() + 3 * SOON
        while "engagement init" not in sender.absence:
            assert time.monotonic() < until, sender.absence
            await asyncio.sleep(0.05)
        with pytest.raises(Unavailable, match="engagement init"):
            sender.admit()
        await asyncio.to_thread(ensure_topics, settings)
        await until_present(sender)
        await sender.deliver([OutgoingRecord(settings.topics.of("like"), b"p", b"x")])
        await sender.close()
        return sender.absence

    asyncio.run(wait())
    assert [record.value for record in read_topic(settings, settings.topics.of("like"))] == [b"x"]


@pytest.mark.parametrize("end", [TcpProxy.cut, TcpProxy.sever])
def test_an_outage(settings: Settings, broker_link: TcpProxy, end: Callable[[TcpProxy], None]) -> None:
    """Kafka goes away: a bounded wait, then an error at once; it comes back: all goes on, and memory is given back."""
    ensure_topics(settings)
    topic = settings.topics.of("like")
    away = settings.model_copy(update={"kafka": broker_link.address})

    async def deliver() -> None:
        sender = await connected(away, BatchPolicy(ack_seconds=3))
        await sender.deliver([OutgoingRecord(topic, b"p", b"before")])
        end(broker_link)
        started = time.monotonic()
        with pytest.raises(Unavailable, match="acked 1 of 1 records within 3 s"):
            await sender.deliver([OutgoingRecord(topic, b"p", b"during")])
        assert time.monotonic() - started < SOON
        broker_link.mend()
        until = time.monotonic() + 3 * SOON
        while True:
            try:
                await sender.deliver([OutgoingRecord(topic, b"p", b"after")])
                break
            except Unavailable:
                assert time.monotonic() < until
                await asyncio.sleep(0.2)
        until = time.monotonic() + 3 * SOON
        while sender.waiting_bytes:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
        await sender.close()

    asyncio.run(deliver())
    values = [record.value for record in read_topic(settings, topic)]
    assert values[0] == b"before"
    assert b"after" in values


def test_what_waits_is_bounded(settings: Settings, broker_link: TcpProxy) -> None:
    ensure_topics(settings)
    topic = settings.topics.of("like")
    away = settings.model_copy(update={"kafka": broker_link.address})

    async def deliver() -> None:
        sender = await connected(away, BatchPolicy(memory_bytes=100_000, ack_seconds=2))
        broker_link.cut()
        first = asyncio.create_task(sender.deliver([OutgoingRecord(topic, b"p", b"x" * 60_000)]))
        await asyncio.sleep(0.05)
        with pytest.raises(Overloaded):
            await sender.deliver([OutgoingRecord(topic, b"p", b"y")])
        with pytest.raises(Unavailable):
            await first
        await sender.close()

    asyncio.run(deliver())

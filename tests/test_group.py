"""The group's member where no broker is needed."""

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from pipeline.errors import Unavailable
from pipeline.kafka.aiokafka_raw_records import as_parsed, hand_out_parsed
from pipeline.kafka.group import Member
from pipeline.kafka.group_policy import GroupPolicy
from pipeline.settings import Settings
from tests.patience import SOON


class Found(NamedTuple):
    """aiokafka's answer to a question for a time."""

    offset: int


class Consumer:
    """One partition `likes` 0 that begins at 10, with a record of time 100 at offset 50."""

    def __init__(self, committed: int | None, is_silent: bool = False) -> None:
        self._committed, self._is_silent = committed, is_silent
        self.position: int | None = None

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("likes", 0)}

    def highwater(self, partition: TopicPartition) -> int:
        return 60

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        await self.committed(TopicPartition("likes", 0))

    async def offsets_for_times(self, times: dict[TopicPartition, int]) -> dict[TopicPartition, Found | None]:
        return {partition: Found(50) if time <= 100 else None for partition, time in times.items()}

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 10)

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 60)

    async def committed(self, partition: TopicPartition) -> int | None:
        """While the broker is silent aiokafka asks again and again, and does not care who would like to go on."""
        while self._is_silent:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3)
        return self._committed

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.position = offset


async def _nothing(*_: Any) -> None:
    return None


def _rewound(committed: int | None, to: int) -> int | None:
    member = Member(Settings(), GroupPolicy("g", ("likes",)), _nothing, _nothing)
    consumer = member._consumer = Consumer(committed)
    assert asyncio.run(member.rewind_to([("likes", 0)], to)) == {("likes", 0): consumer.position}
    return consumer.position


def test_a_rewind_goes_back_to_a_time() -> None:
    assert _rewound(committed=70, to=100) == 50


def test_a_rewind_never_skips_what_is_not_committed() -> None:
    assert _rewound(committed=30, to=100) == 30
    assert _rewound(committed=70, to=101) == 70, "nothing came since: there is nothing to read again"
    assert _rewound(committed=None, to=100) == 10
    assert _rewound(committed=3, to=101) == 10, "what was committed is not there any more"


def test_a_given_up_batch_is_read_again_where_nothing_was_committed_too() -> None:
    member = Member(Settings(), GroupPolicy("g", ("likes",)), _nothing, _nothing)
    consumer = member._consumer = Consumer(committed=None)
    member.rewind({("likes", 0): 12, ("likes", 1): 7})
    assert consumer.position == 12, "and what is somebody else's by now is left alone"


@pytest.mark.parametrize("what", ["commit", "lags", "rewind_to"])
def test_no_question_waits_longer_than_it_may_for_a_silent_broker(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.kafka.group.BROKER_ANSWER_SECONDS", 0.1)

    async def ask() -> None:
        member = Member(Settings(), GroupPolicy("g", ("likes",)), _nothing, _nothing)
        member._consumer = consumer = Consumer(committed=30, is_silent=True)
        asked: dict[str, Callable[[], Awaitable[Any]]] = {
            "commit": lambda: member.commit({("likes", 0): 40}),
            "lags": member.lags,
            "rewind_to": lambda: member.rewind_to([("likes", 0)], 100),
        }
        started = time.monotonic()
        with pytest.raises(Unavailable, match="Kafka at"):
            await asked[what]()
        assert time.monotonic() - started < SOON
        assert consumer.position is None
        consumer._is_silent = False

    asyncio.run(ask())


def test_records_as_parsed_say_what_whole_ones_say() -> None:
    sent = [(b"post", b"value"), (None, b"no key"), (b"tombstone", None), (b"", "ключ".encode())]
    answer = batch_of(sent)
    hand_out_parsed()
    whole, lean = (list(parsed(answer, key_deserializer=deserializer)) for deserializer in (None, as_parsed))
    assert isinstance(whole[0], ConsumerRecord)
    assert not isinstance(lean[0], ConsumerRecord)
    assert list(map(_said, lean)) == list(map(_said, whole))
    assert [(key, value) for _, _, key, value in map(_said, lean)] == sent


def batch_of(sent: Sequence[tuple[bytes | None, bytes | None]], first: int = 0) -> bytes:
    """A broker's answer: these keys and values, the first of them at an offset."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    for number, (key, value) in enumerate(sent):
        builder.append(number, 1_790_000_000_000 + number, key, value, [("header", b"1")])
    batch = bytearray(builder.build())
    struct.pack_into(">q", batch, 0, first)  # a producer counts from 0; the broker writes where the batch really is
    return bytes(batch)


def parsed(answer: bytes, first: int = 0, key_deserializer: Any = as_parsed) -> Any:
    """What aiokafka makes of an answer to a fetch from `first` on."""
    return fetcher.PartitionRecords(
        TopicPartition("e.likes", 0),
        MemoryRecords(answer),
        [],
        first,
        key_deserializer,
        None,
        True,
        fetcher.READ_UNCOMMITTED,
    )


def _said(record: Any) -> tuple[int, int, bytes | None, bytes | None]:
    return record.offset, record.timestamp, record.key, record.value

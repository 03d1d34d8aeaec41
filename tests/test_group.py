"""The group's member where no broker is needed."""

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from pipeline.group import GroupPolicy, Member
from pipeline.parsed import as_parsed, hand_out_parsed
from pipeline.settings import Settings


class Found(NamedTuple):
    """aiokafka's answer to a question for a time."""

    offset: int


class Consumer:
    """One partition `likes` 0 that begins at 10, with a record of time 100 at offset 50."""

    def __init__(self, committed: int | None) -> None:
        self._committed = committed
        self.position: int | None = None

    async def offsets_for_times(self, times: dict[TopicPartition, int]) -> dict[TopicPartition, Found | None]:
        return {partition: Found(50) if time <= 100 else None for partition, time in times.items()}

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 10)

    async def committed(self, partition: TopicPartition) -> int | None:
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


def test_records_as_parsed_say_what_whole_ones_say() -> None:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    sent = [(b"post", b"value"), (None, b"no key"), (b"tombstone", None), (b"", "ключ".encode())]
    for number, (key, value) in enumerate(sent):
        builder.append(number, 1_790_000_000_000 + number, key, value, [("header", b"1")])
    answer = bytes(builder.build())
    hand_out_parsed()
    whole, parsed = (_records(answer, deserializer) for deserializer in (None, as_parsed))
    assert isinstance(whole[0], ConsumerRecord)
    assert not isinstance(parsed[0], ConsumerRecord)
    assert list(map(_said, parsed)) == list(map(_said, whole))
    assert [(key, value) for _, _, key, value in map(_said, parsed)] == sent


def _records(answer: bytes, key_deserializer: Any) -> list[Any]:
    records = fetcher.PartitionRecords(
        TopicPartition("likes", 0), MemoryRecords(answer), [], 0, key_deserializer, None, True, fetcher.READ_UNCOMMITTED
    )
    return list(records)


def _said(record: Any) -> tuple[int, int, bytes | None, bytes | None]:
    return record.offset, record.timestamp, record.key, record.value

"""Reads topics of anybody, without a consumer group: up to their end, or on and on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import Any

from pipeline.errors import Refused, Unavailable
from pipeline.kafka.client import TopicPlace, open_consumer
from pipeline.settings import Settings


@dataclass(frozen=True)
class TopicRecord:
    """A record of the log. `timestamp` is in milliseconds since 1970, by the broker's clock."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def read_topic(settings: Settings, topic: str) -> Iterator[TopicRecord]:
    """Yields the records of a topic up to its end at the time of the call, partition by partition.

    Commits nothing. Raises Unavailable.
    """
    with open_consumer(settings, topic) as consumer:
        for number in sorted(consumer.partitions_for_topic(topic) or ()):
            yield from _read_partition(consumer, TopicPlace(topic, number))


def read_newest(settings: Settings, topic: str, count: int, seconds: float) -> list[TopicRecord]:
    """Returns about the newest `count` records of a topic, as many of each partition that has any; fewer where reading
    takes longer than `seconds`. Commits nothing. Raises Unavailable."""
    with open_consumer(settings, topic) as consumer:
        partitions = [TopicPlace(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(partitions)
        oldest, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        filled = [partition for partition in partitions if oldest[partition] < ends[partition]]
        consumer.assign(filled)
        for partition in filled:
            consumer.seek(partition, max(oldest[partition], ends[partition] - ceil(count / len(filled))))
        found: list[TopicRecord] = []
        deadline = monotonic() + seconds
        while any(consumer.position(partition) < ends[partition] for partition in filled) and monotonic() < deadline:
            for partition, records in consumer.poll(timeout_ms=500).items():
                found += [_as_topic_record(record) for record in records if record.offset < ends[partition]]
        return found


def follow_topic(settings: Settings, topic: str, start: Mapping[int, int]) -> Iterator[TopicRecord | None]:
    """Yields the records of a topic of any producer, and goes on with those to come; None about once a second without
    any. Runs until the caller stops.

    `start`: the first offset of each partition; a partition without one begins at its oldest record. Commits nothing,
    joins no group. Raises Unavailable, and Refused where an offset of `start` lies outside of its partition: some of
    its records are deleted, or the topic was made anew.
    """
    with open_consumer(settings, topic, reset="none") as consumer:
        partitions = [TopicPlace(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        if not partitions:
            raise Unavailable(f"topic {topic} is not there, or Kafka at {settings.kafka} does not show it")
        consumer.assign(partitions)
        oldest, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        for partition in partitions:
            offset = start.get(partition.partition, oldest[partition])
            if not oldest[partition] <= offset <= ends[partition]:
                raise Refused(
                    f"{topic} {partition.partition}: offset {offset} is outside of {oldest[partition]} to "
                    f"{ends[partition]}: records are deleted, or the topic was made anew; delete the saved position"
                )
            consumer.seek(partition, offset)
        while True:
            polled = consumer.poll(timeout_ms=1000)
            for records in polled.values():
                yield from map(_as_topic_record, records)
            if not polled:
                yield None


def _read_partition(consumer: Any, partition: Any) -> Iterator[TopicRecord]:
    consumer.assign([partition])
    end = consumer.end_offsets([partition])[partition]
    consumer.seek_to_beginning(partition)
    while consumer.position(partition) < end:
        for record in consumer.poll(timeout_ms=500).get(partition, ()):
            if record.offset < end:
                yield _as_topic_record(record)


def _as_topic_record(record: Any) -> TopicRecord:
    where = (record.topic, record.partition, record.offset, record.timestamp)
    return TopicRecord(*where, record.key, record.value, tuple(record.headers))

"""Records of Kafka, in runs of one topic partition, and the dead letter of a record."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.dead_letters import DeadLetter
from schemas.events import InvalidEvent


class KafkaRecord(Protocol):
    """A Kafka record. `timestamp` is LogAppendTime in milliseconds since 1970."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Run:
    """Consecutive records of one topic partition."""

    topic: str
    kind: str
    partition: int
    records: Sequence[KafkaRecord]


def dead_letter(run: Run, record: KafkaRecord, flaw: InvalidEvent) -> DeadLetter:
    """Makes the dead letter of an unreadable record, with the record's position and the flaw's field and reason."""
    return DeadLetter(
        topic=run.topic,
        partition=run.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        received_at_ms=record.timestamp,
        reason=flaw.reason,
        field=flaw.field,
    )

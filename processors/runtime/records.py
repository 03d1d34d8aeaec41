"""Records of Kafka as agents are given them, in runs of one topic partition; and the dead letter of a record."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.dead_letters import DeadLetter
from schemas.events import InvalidEvent


class Record(Protocol):
    """What is read of a Kafka record; `timestamp` is LogAppendTime in milliseconds."""

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
    records: Sequence[Record]


def dead_letter(run: Run, record: Record, flaw: InvalidEvent) -> DeadLetter:
    """Makes the dead letter of a record that cannot be read, with its position and the flaw's field and reason."""
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

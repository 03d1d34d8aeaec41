"""Records as aiokafka has parsed them. Beside group.py and static_member.py the one file that knows aiokafka.

Of each record that it has parsed aiokafka makes another one, with twelve fields: a third of what fetching costs. A
consumer whose `key_deserializer` is `as_parsed` hands out what was parsed, which has the same offset, timestamp, key
and value. Other consumers in this process, Faust's own among them, get what they always get.
"""

from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords


def as_parsed(key: bytes | None) -> bytes | None:
    """A key as it is. Only says what a consumer wants: should aiokafka not ask for its records in this way any more,
    they are whole again, and nothing else changes."""
    return key


class ParsedRecords(PartitionRecords):  # type: ignore[misc]
    """The records of one partition in one answer of a broker."""

    def __iter__(self) -> Any:
        return self._records_iterator or iter(())

    def _consumer_record(self, partition: Any, record: Any) -> Any:
        if self._key_deserializer is as_parsed:
            return record
        return super()._consumer_record(partition, record)


def hand_out_parsed() -> None:
    """Has all consumers of this process that are made with `as_parsed` do so."""
    fetcher.PartitionRecords = ParsedRecords

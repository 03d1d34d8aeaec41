"""Consumers of aiokafka without a copy of each parsed record.

aiokafka copies each parsed record into a ConsumerRecord of eleven fields, which is a third of the cost of fetching. A
consumer whose `key_deserializer` is `as_parsed` returns the parsed records instead; they have the same offset,
timestamp, key and value. Other consumers of the process, Faust's own among them, get a ConsumerRecord as before.

The module replaces a class inside aiokafka; tests/test_aiokafka_raw_records.py pins what the replacement relies on.
"""

from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords


def as_parsed(key: bytes | None) -> bytes | None:
    """Returns the key unchanged; marks the consumers that want parsed records.

    Should aiokafka stop asking `ParsedRecords` for records, its consumers return ConsumerRecords again, and nothing
    else changes.
    """
    return key


class ParsedRecords(PartitionRecords):  # type: ignore[misc]
    """The records of a partition in an answer of the broker, without copies where the consumer asks for none."""

    def __iter__(self) -> Any:
        return self._records_iterator or iter(())

    def _consumer_record(self, partition: Any, record: Any) -> Any:
        if self._key_deserializer is as_parsed:
            return record
        return super()._consumer_record(partition, record)


def hand_out_parsed() -> None:
    """Replaces the class in aiokafka, so that every consumer with `as_parsed` returns parsed records."""
    fetcher.PartitionRecords = ParsedRecords

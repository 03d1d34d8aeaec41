"""What pipeline/kafka/aiokafka_raw_records.py relies on in aiokafka, each with what to do when aiokafka changes."""

import inspect
from importlib.metadata import version
from types import CodeType
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import ConsumerRecord, Fetcher, FetchResult, PartitionRecords

from pipeline.kafka.aiokafka_raw_records import ParsedRecords, as_parsed, hand_out_parsed

CURE = (
    f"aiokafka {version('aiokafka')} is not as pipeline/kafka/aiokafka_raw_records.py needs it: {{}}. Compare "
    "PartitionRecords in aiokafka/consumer/fetcher.py with ParsedRecords and mend that class; or delete the module and "
    "its two uses in pipeline/kafka/group.py: records are then whole, and a fetch costs half as much again"
)


class NoRecords:
    """An answer of a broker without a batch."""

    def has_next(self) -> bool:
        return False


class ParsedRecord:
    """A record as aiokafka's parser makes it, of which aiokafka makes a ConsumerRecord."""

    offset, timestamp, timestamp_type, key, value, checksum, headers = 7, 1_790_000_000_000, 1, b"k", b"v", None, ()


def test_the_fetcher_makes_its_records_by_the_name_that_is_replaced() -> None:
    used = {name for function in vars(Fetcher).values() for name in _names(getattr(function, "__code__", None))}
    assert "PartitionRecords" in used, CURE.format("no method of Fetcher looks PartitionRecords up in its module")
    hand_out_parsed()
    assert fetcher.PartitionRecords is ParsedRecords


def test_records_are_made_one_by_one_in_the_method_that_is_overridden() -> None:
    method = getattr(PartitionRecords, "_consumer_record", None)
    assert method is not None, CURE.format("PartitionRecords has no method _consumer_record")
    assert list(inspect.signature(method).parameters) == ["self", "tp", "record"], CURE.format(
        "_consumer_record has other parameters than (tp, record)"
    )
    unpacking = getattr(PartitionRecords, "_unpack_records", None)
    names = _names(getattr(unpacking, "__code__", None))
    assert "_consumer_record" in names, CURE.format("_unpack_records does not make records by _consumer_record")


def test_the_attributes_that_are_read_are_there() -> None:
    records = _partition_records(ParsedRecords, as_parsed)
    held = vars(records)
    for name in ("_records_iterator", "_key_deserializer"):
        assert name in held, CURE.format(f"PartitionRecords has no attribute {name}")
    assert records._key_deserializer is as_parsed, CURE.format("_key_deserializer is not the consumer's own")
    assert list(records) == [], CURE.format("_records_iterator is no iterator over the records")


def test_only_consumers_that_ask_get_parsed_records() -> None:
    partition, record = TopicPartition("t", 0), ParsedRecord()
    assert _partition_records(ParsedRecords, as_parsed)._consumer_record(partition, record) is record
    whole = _partition_records(ParsedRecords, None)._consumer_record(partition, record)
    assert isinstance(whole, ConsumerRecord), CURE.format("_consumer_record makes no ConsumerRecord")
    same = ("offset", "timestamp", "key", "value")
    assert [getattr(whole, name) for name in same] == [getattr(record, name) for name in same], CURE.format(
        "a parsed record has other values than the ConsumerRecord that is made of it"
    )


def test_a_fetch_that_takes_some_records_leaves_the_others() -> None:
    names = _names(FetchResult.getall.__code__)
    assert "_partition_records" in names, CURE.format("FetchResult.getall does not iterate over _partition_records")
    records = _partition_records(ParsedRecords, as_parsed)
    records._records_iterator = iter([1, 2, 3])
    taken = []
    for record in records:
        taken.append(record)
        break
    assert (taken, list(records)) == ([1], [2, 3])


def _partition_records(kind: type[Any], key_deserializer: Any) -> Any:
    try:
        return kind(TopicPartition("t", 0), NoRecords(), [], 0, key_deserializer, None, False, 0)
    except TypeError as error:
        raise AssertionError(CURE.format(f"PartitionRecords takes other arguments ({error})")) from None


def _names(code: CodeType | None) -> set[str]:
    """Returns the names that a function refers to, in nested functions too."""
    if code is None:
        return set()
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_names, inner))

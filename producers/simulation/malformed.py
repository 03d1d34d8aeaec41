"""Malformed records, each with a different flaw, that must become dead letters."""

from collections.abc import Callable
from typing import Final

from producers.source import SourceRecord

Spoil = Callable[[SourceRecord, int], SourceRecord]


def spoil(record: SourceRecord, number: int) -> SourceRecord:
    """Returns the record with flaw `number` mod the number of flaws. `record` is a good one with a one-object JSON
    value."""
    return SPOILERS[number % len(SPOILERS)](record, number)


def _value(change: Callable[[bytes], bytes | None]) -> Spoil:
    return lambda record, _: record.spoilt(value=change(record.value or b""))


def _field(name: bytes, text: bytes) -> Spoil:
    """Returns a flaw that gives the record a second member `name`, at the end: a JSON reader takes the last of equal
    names."""
    return _value(lambda value: value[:-1] + b',"' + name + b'":' + text + b"}")


SPOILERS: Final[tuple[Spoil, ...]] = (
    _value(lambda value: b"\xff\xfe" + value),
    _value(lambda value: value[: len(value) // 2]),
    _value(lambda value: b"hello, world"),
    _value(lambda value: b"[" * 5_000),
    _value(lambda value: value.replace(b'"actor_id"', b'"actor"')),
    _value(lambda value: None),
    _value(lambda value: b""),
    _field(b"actor_id", b'"' + b"x" * 600 + b'"'),
    _field(b"actor_id", b'"a\\u0000b"'),
    _field(b"actor_id", b"12"),
    _field(b"followers", b"99999999999999999999999"),
    _field(b"occurred_at", b'"2026-01-01T00:00:00"'),
    _field(b"occurred_at", b"1767225600"),
    _field(b"kind", b'"poke"'),
    _field(b"action", b'"retract","target_id":null'),
    lambda record, _: record.spoilt(key=b"another-" + (record.key or b"")),
    lambda record, _: record.spoilt(key=None),
    lambda record, number: record.spoilt(partition_shift=1 + number % 3),
    lambda record, _: record.spoilt(kind="share" if record.kind != "share" else "like"),
)
"""Not UTF-8, cut off, not JSON, nested deeply, a field missing, a tombstone, empty, a huge id, NUL, a wrong type,
beyond int64, no zone, a number as time, an unknown kind, a retraction without target, a wrong key, none, the wrong
partition, the wrong topic."""

"""Reads the table `dead_letters` and sends letters again."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.dead_letters.letter import DeadLetter
from pipeline.privacy.pseudonyms import Pseudonyms
from pipeline.record_producer import RecordProducer
from schemas.events import InvalidEvent, parse_event
from schemas.topics import Topics

# Bytes are selected as hex, because the driver would decode them as text.
SELECT: Final = """
SELECT topic, partition, offset, hex(key), hex(bytes), toUnixTimestamp64Milli(received_at), reason, field
FROM dead_letters FINAL WHERE {where} ORDER BY {order} {limit}
"""


@dataclass(frozen=True)
class Choice:
    """Selects letters: every given condition must hold.

    `reason` is a part of the reason or of the field, case-insensitive. `since` is the time of receipt by Kafka.
    """

    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    reason: str | None = None
    since: datetime | None = None

    def where(self) -> tuple[str, dict[str, Any]]:
        """Returns the condition in SQL and the parameters."""
        since = None if self.since is None else int(self.since.timestamp() * 1000)
        conditions = {
            "topic = %(topic)s": ("topic", self.topic),
            "partition = %(partition)s": ("partition", self.partition),
            "offset = %(offset)s": ("offset", self.offset),
            "positionCaseInsensitiveUTF8(concat(field, ': ', reason), %(reason)s) > 0": ("reason", self.reason),
            "received_at >= fromUnixTimestamp64Milli(%(since)s)": ("since", since),
        }
        given = {condition: pair for condition, pair in conditions.items() if pair[1] is not None}
        return " AND ".join(given) or "1", dict(given.values())


def newest(clickhouse: ClickHouse, choice: Choice, limit: int) -> list[DeadLetter]:
    """Returns at most `limit` letters, newest first."""
    return list(_read(clickhouse, choice, "received_at DESC, topic, partition, offset DESC", f"LIMIT {int(limit)}"))


def in_order(clickhouse: ClickHouse, choice: Choice) -> Iterator[DeadLetter]:
    """Yields letters in the order of the log, reading some at a time."""
    return _read(clickhouse, choice, "topic, partition, offset", "")


@dataclass(frozen=True)
class Retry:
    """Where a letter is sent again. `flaw` tells why the letter would die again; None: the letter is a valid event.
    `can_be_sent`: False for a flawed letter of a source, which has no topic to go back to."""

    letter: DeadLetter
    topic: str
    key: bytes | None
    flaw: InvalidEvent | None
    can_be_sent: bool = True


def plan_retry(letter: DeadLetter, topics: Topics, now: datetime, future_limit_seconds: float) -> Retry:
    """Plans the resending of a letter.

    A valid event goes to the topic of its kind under its post_id, whatever topic and key it came with; any other letter
    goes back to its topic under its key.
    """
    try:
        event = parse_event(letter.value or b"")
        ahead = (event["occurred_at"] - now).total_seconds()
        if ahead > future_limit_seconds:
            raise InvalidEvent("occurred_at", f"still {ahead:.0f} s ahead")
    except InvalidEvent as flaw:
        return Retry(letter, letter.topic, letter.key, flaw, letter.topic != topics.dead_letters)
    return Retry(letter, topics.of(event["kind"]), event["post_id"].encode(), None)


def retry(
    retries: Iterable[Retry], producer: RecordProducer | None, force: bool, pseudonyms: Pseudonyms | None = None
) -> Counter[str]:
    """Sends letters again and waits for all acks; without a producer only counts.

    Letters that would die again are sent only with `force`. With `pseudonyms` the accounts of events are replaced, as a
    source does. Returns the counts `sent` and `kept` (not sent).
    """
    counts: Counter[str] = Counter(sent=0, kept=0)
    for planned in retries:
        if planned.flaw is not None and not (force and planned.can_be_sent):
            counts["kept"] += 1
            continue
        if producer is not None:
            key, value = planned.key, planned.letter.value
            if pseudonyms is not None and planned.flaw is None:
                key, value = pseudonyms.record(value or b"")
            producer.send(planned.topic, key, value)
        counts["sent"] += 1
    if producer is not None:
        producer.flush()
    return counts


def _read(clickhouse: ClickHouse, choice: Choice, order: str, limit: str) -> Iterator[DeadLetter]:
    where, params = choice.where()
    for block in clickhouse.stream(SELECT.format(where=where, order=order, limit=limit), params, block=1000):
        for topic, partition, offset, key, value, received, reason, field in zip(*block, strict=True):
            yield DeadLetter(
                topic,
                int(partition),
                int(offset),
                bytes.fromhex(key) or None,
                bytes.fromhex(value),
                int(received),
                _text(reason),
                _text(field),
            )


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")

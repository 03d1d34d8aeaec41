"""Reading the table `dead_letters`, and giving letters another try."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.dead_letters.letter import DeadLetter
from pipeline.record_producer import RecordProducer
from schemas.events import InvalidEvent, parse_event
from schemas.topics import Topics

# Bytes travel as hex: they may be anything, and the driver would make text of them.
SELECT: Final = """
SELECT topic, partition, offset, hex(key), hex(bytes), toUnixTimestamp64Milli(received_at), reason, field
FROM dead_letters FINAL WHERE {where} ORDER BY {order} {limit}
"""


@dataclass(frozen=True)
class Choice:
    """Which letters: all that is given must fit. `reason`: a part of the reason or of the field, in any case."""

    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    reason: str | None = None
    since: datetime | None = None

    def where(self) -> tuple[str, dict[str, Any]]:
        """A condition in SQL and its parameters."""
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
    """At most `limit` letters, newest first."""
    return list(_read(clickhouse, choice, "received_at DESC, topic, partition, offset DESC", f"LIMIT {int(limit)}"))


def in_order(clickhouse: ClickHouse, choice: Choice) -> Iterator[DeadLetter]:
    """All letters, as they lay in the log; some at a time."""
    return _read(clickhouse, choice, "topic, partition, offset", "")


@dataclass(frozen=True)
class Retry:
    """Where a letter is sent to be tried again. `flaw`: why it would die again; None: it is an event now."""

    letter: DeadLetter
    topic: str
    key: bytes | None
    flaw: InvalidEvent | None


def plan_retry(letter: DeadLetter, topics: Topics, now: datetime, future_limit_seconds: float) -> Retry:
    """An event goes where it belongs, whatever key and topic it came with; anything else back to where it was."""
    try:
        event = parse_event(letter.value or b"")
        ahead = (event["occurred_at"] - now).total_seconds()
        if ahead > future_limit_seconds:
            raise InvalidEvent("occurred_at", f"still {ahead:.0f} s ahead")
    except InvalidEvent as flaw:
        return Retry(letter, letter.topic, letter.key, flaw)
    return Retry(letter, topics.of(event["kind"]), event["post_id"].encode(), None)


def retry(retries: Iterable[Retry], producer: RecordProducer | None, force: bool) -> Counter[str]:
    """Sends letters again, those that would die again only with `force`; without a producer only counts. Waits for all
    acks.

    Counts: `sent`, and `kept` for those that were not sent.
    """
    counts: Counter[str] = Counter(sent=0, kept=0)
    for one in retries:
        if one.flaw is not None and not force:
            counts["kept"] += 1
            continue
        if producer is not None:
            producer.send(one.topic, one.key, one.letter.value)
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

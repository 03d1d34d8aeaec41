"""Compares conversation_closed with the log, as far as the log tells which events had come when a minute closed.

A minute m closes once the watermark of every source partition has passed its end, and no watermark is later than the
brokers' time less the lateness (law 8). So each event that the broker took until

    end of m + lateness - SLACK_SECONDS

was counted at the closing, if it belongs to the minute. A later event may have been counted or not: that depends on how
fast partitions were read, which the log does not tell. Each post's part of a count therefore lies between two bounds,
which are equal where all events that can change it were taken in time:

    comments + posts - late comments - late retractions  <=  part  <=  comments + posts + late retractions

Where an event of the post itself was late, the post may have belonged to other conversations: its part lies between
- (retractions of the minute) and comments of the minute + 1. A count below 0 is stored as 0.

A count at closing is never corrected, because detectors have judged by it. So differences are reported, and nothing is
written.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

from processors.columnar.arrays import Array
from processors.columnar.compare_rows import Difference, difference
from schemas.tables import CONVERSATION_CLOSED, CONVERSATION_MARKS, CONVERSATION_POSTS, EVENTS, TOMBSTONE_VERSION

_CELLS_AT_ONCE: Final = 2_000_000
_LAST_MINUTE: Final = (1 << 32) // 60

SLACK_SECONDS: Final = 5
"""The most that a worker's knowledge of the end of a partition is old, and that the clocks of two brokers differ."""

_TOMBSTONE_OF_COMMENT: Final = f"version >= {TOMBSTONE_VERSION} AND kind = 'comment' AND action = 'add'"

_BOUNDS: Final = f"""
WITH cells AS (
    SELECT conversation, minute, post_id, toInt64(posts) + comments - comments_retracted AS part
    FROM {CONVERSATION_POSTS.name} FINAL
    PREWHERE minute >= toDateTime(%(since)s, 'UTC') AND minute < toDateTime(%(until)s, 'UTC') AND {{only}}
), told AS (
    SELECT post_id, kind, action, toStartOfMinute(toDateTime(occurred_at, 'UTC')) AS minute,
           toDateTime64(received_at, 3, 'UTC') AS received,
           if(kind = 'comment', if(action = 'add', event_id, target_id), '') AS target
    FROM {EVENTS.name} FINAL
    WHERE post_id IN (SELECT post_id FROM cells) AND kind IN ('post', 'comment')
        AND NOT ({_TOMBSTONE_OF_COMMENT})
), own AS (
    SELECT post_id, max(received) AS received FROM told WHERE kind = 'post' GROUP BY post_id
), reactions AS (
    SELECT post_id, minute, countIf(action = 'add') AS added,
           countIf(action = 'add' AND received > minute + %(in_time)s) AS late,
           countIf(action = 'retract') AS taken_back,
           countIf(action = 'retract' AND latest > minute + %(in_time)s) AS taken_back_late
    FROM (SELECT *, max(received) OVER (PARTITION BY post_id, target) AS latest FROM told WHERE kind = 'comment')
    GROUP BY post_id, minute
), bounds AS (
    SELECT cells.conversation AS conversation, cells.minute AS minute,
           sum(if(own.received > cells.minute + %(in_time)s, -toInt64(reactions.taken_back),
                  cells.part - reactions.late - reactions.taken_back_late)) AS least,
           sum(if(own.received > cells.minute + %(in_time)s, toInt64(reactions.added) + 1,
                  cells.part + reactions.taken_back_late)) AS most
    FROM cells
    LEFT JOIN own ON cells.post_id = own.post_id
    LEFT JOIN reactions ON cells.post_id = reactions.post_id AND cells.minute = reactions.minute
    GROUP BY conversation, minute
), closed AS (
    SELECT conversation, minute, toInt64(count) AS count FROM {CONVERSATION_CLOSED.name} FINAL
    PREWHERE minute >= toDateTime(%(since)s, 'UTC') AND minute < toDateTime(%(until)s, 'UTC') AND {{only}}
), floors AS (
    SELECT partition, max(closed_until) AS closed_until FROM {CONVERSATION_MARKS.name} GROUP BY partition
)
SELECT if(is_closed, closed.conversation, bounds.conversation) AS name,
       toUnixTimestamp(if(is_closed, closed.minute, bounds.minute)) AS start,
       closed.is_closed AS is_closed, bounds.is_known AS is_known, closed.count AS count,
       greatest(bounds.least, 0) AS least, greatest(bounds.most, 0) AS most
FROM (SELECT *, 1 AS is_known FROM bounds) AS bounds
FULL JOIN (SELECT *, 1 AS is_closed FROM closed) AS closed
    ON bounds.conversation = closed.conversation AND bounds.minute = closed.minute
LEFT JOIN floors ON floors.partition = kafkaMurmurHash(bounds.conversation) %% %(of)s
WHERE is_closed OR (bounds.minute < floors.closed_until AND bounds.least > 0)
"""


def bounds_sql(only: str = "1") -> str:
    """Returns SQL of the counts at closing with their bounds, for each (conversation, minute) that meets a condition.
    The statement has parameters: `since` and `until` in seconds, `of`, `in_time`."""
    return _BOUNDS.replace("{only}", only)


def in_time(lateness_seconds: float) -> int:
    """Returns the seconds, from the start of a minute on, within which an event of the minute counts at its closing for
    certain."""
    return max(0, int(60 + lateness_seconds - SLACK_SECONDS))


ANSWER: Final = f"""
SELECT countIf(is_closed AND is_known AND least = most), countIf(is_closed AND is_known AND least < most),
       sumIf(count, is_closed AND is_known AND least < most),
       groupArrayIf((name, start, if(is_closed, toString(count), ''),
                                     if(is_known, if(least = most, toString(least), concat(toString(least), ' to ',
                                     toString(most))), '')),
                    NOT (is_closed AND is_known AND count BETWEEN least AND most))
FROM ({bounds_sql()})
"""


class Selects(Protocol):
    """A connection that answers queries with columns, as lists."""

    def select(self, sql: str, params: dict[str, Any] | None = None) -> list[Any]: ...


class StoredSizes(Protocol):
    """The number of stored cells of each minute."""

    def sizes(self, partitions: Sequence[int], of: int, since: int) -> tuple[Array, Array]: ...


class ClosedChecked(NamedTuple):
    """The result for some minutes: the number of counts compared exactly, the number of counts for which the log gives
    bounds alone and the sum of these counts, and the differences."""

    exact: int
    bounded: int
    bounded_count: int
    differences: list[Difference]

    def plus(self, other: "ClosedChecked") -> "ClosedChecked":
        """Returns the sum of both, without the differences."""
        return ClosedChecked(
            self.exact + other.exact, self.bounded + other.bounded, self.bounded_count + other.bounded_count, []
        )


NOTHING_CLOSED: Final = ClosedChecked(0, 0, 0, [])


def check_closed(
    cells: StoredSizes, client: Selects, of: int, lateness_seconds: float, floor: int = 0
) -> Iterator[ClosedChecked]:
    """Compares all counts at closing from the minute `floor` on, some minutes at a time; retention may have deleted
    events and cells of before. `of`: the number of partitions of the topic `conversations`. Blocks. Raises Unavailable,
    Refused."""
    for first, until in minute_windows(*cells.sizes([0], 1, floor), _CELLS_AT_ONCE, _LAST_MINUTE):
        since = max(first, floor)
        answer = client.select(
            ANSWER,
            {
                "since": since * 60,
                "until": min(until * 60, (1 << 32) - 1),
                "of": of,
                "in_time": in_time(lateness_seconds),
            },
        )
        exact, bounded, bounded_count, shown = (column[0] for column in answer)
        differences = [
            difference(CONVERSATION_CLOSED, (name, start), "count", stored or None, expected or None)
            for name, start, stored, expected in shown
        ]
        yield ClosedChecked(exact, bounded, bounded_count, differences)


def minute_windows(minutes: Array, sizes: Array, at_once: int, last: int) -> Iterator[tuple[int, int]]:
    """Splits all minutes until `last` into windows of about `at_once` cells each."""
    since = count = 0
    for minute, size in zip(minutes.tolist(), sizes.tolist(), strict=True):
        if count and count + size > at_once:
            yield since, minute
            since, count = minute, 0
        count += size
    yield since, last

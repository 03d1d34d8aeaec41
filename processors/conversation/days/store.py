"""Days of conversations in ClickHouse: the server rolls them up from minutes and cells, by INSERT ... SELECT."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from deploy.clickhouse.days.rolled import days_query
from pipeline.clickhouse.client import ClickHouse, ExternalTables
from pipeline.clickhouse.literals import string_literal
from processors.columnar.arrays import Array
from processors.conversation.ports import DayPart
from processors.retention.retention import MINUTES_FLOOR
from schemas.tables import CONVERSATION_DAY_MARKS, CONVERSATION_DAYS, CONVERSATION_MINUTES

DAY_SECONDS: Final = 86_400

_SAMPLED: Final = 4096
"""Conversations of minutes that are drawn to find bounds: 50 parts differ by some 10 % in size."""


class ClickHouseDays:
    """DayStore on ClickHouse. Has one connection. One thread calls it."""

    def __init__(self, client: ClickHouse) -> None:
        self._client = client

    def close(self) -> None:
        self._client.close()

    def cut(self) -> None:
        """Ends the call that waits for the server, which raises Unavailable. Called from another thread."""
        self._client.cut()

    def rolled(self, partitions: Sequence[int], of: int) -> dict[int, int]:
        answer = self._client.select(
            f"SELECT partition, intDiv(toUInt32(max(rolled_until)), {DAY_SECONDS}) FROM {CONVERSATION_DAY_MARKS.name} "
            f"WHERE partition IN ({', '.join(map(str, partitions))}) AND partitions = {of} GROUP BY partition"
        )
        return dict(zip(*answer, strict=True)) if answer else {}

    def day_sizes(self, partitions: Sequence[int], of: int, first: int, end: int) -> tuple[Array, Array]:
        answer = self._client.select(
            f"SELECT intDiv(toUInt32(minute), {DAY_SECONDS}) AS number, count() FROM {CONVERSATION_MINUTES.name} "
            f"WHERE {minutes_between(first, end)} AND {_ours(partitions, of)} GROUP BY number ORDER BY number"
        )
        days, counts = answer or ([], [])
        return np.array(days, np.int64), np.array(counts, np.int64)

    def day_bounds(self, partitions: Sequence[int], of: int, first: int, end: int, parts: int) -> list[str]:
        [[sample]] = self._client.select(
            f"SELECT arraySort(groupArraySample({_SAMPLED}, 1)(conversation)) FROM {CONVERSATION_MINUTES.name} "
            f"WHERE {minutes_between(first, end)} AND {_ours(partitions, of)}"
        )
        return list(dict.fromkeys(sample[len(sample) * number // parts] for number in range(1, parts) if sample))

    def roll(self, partitions: Sequence[int], of: int, part: DayPart) -> None:
        some = in_part(part)
        rolled = (
            f"SELECT day, conversation FROM {CONVERSATION_DAYS.name} "
            f"WHERE day >= toDate({part.first}) AND day < toDate({part.end}) AND {some}"
        )
        days = days_query(f"{minutes_between(part.first, part.end)} AND {some} AND {_ours(partitions, of)}", "")
        # The days are few and their minutes many, so that the condition is one of the days.
        # Rows of a day that begins before the floor may be gone, so it stays as it was rolled up first.
        only = f"toDateTime(day, 'UTC') >= {MINUTES_FLOOR} OR (day, conversation) NOT IN ({rolled})"
        self._store(f"SELECT * FROM ({days}) WHERE {only}")

    def roll_again(self, keys: Sequence[tuple[str, int]]) -> None:
        wanted = {"wanted": ("conversation String, number UInt16", keys)}
        named = "(toDate(minute), conversation) IN (SELECT toDate(number), conversation FROM wanted)"
        self._store(days_query(f"{named} AND toStartOfDay(minute) >= {MINUTES_FLOOR}", ""), wanted)

    def mark(self, partitions: Sequence[int], of: int, until: int) -> None:
        self._client.insert(
            CONVERSATION_DAY_MARKS.name,
            {
                "partition": list(partitions),
                "partitions": [of] * len(partitions),
                "rolled_until": [until * DAY_SECONDS] * len(partitions),
            },
        )

    def _store(self, days: str, tables: ExternalTables | None = None) -> None:
        # With more threads each keeps sets of its own, to be united: a third more CPU, and no sooner for small parts.
        statement = f"{days} SETTINGS max_threads = 1"
        self._client.insert_answer(CONVERSATION_DAYS.name, CONVERSATION_DAYS.sent, statement, tables)


def in_part(part: DayPart) -> str:
    """Writes the condition that a conversation is in a part. Tables are sorted by conversation within a day, so that
    only rows of the part are read."""
    bounds = ((">", part.after), ("<=", part.upto))
    return " AND ".join(f"conversation {sign} {string_literal(bound)}" for sign, bound in bounds if bound) or "1"


def minutes_between(first: int, end: int) -> str:
    """Writes the condition of minutes of the days from `first` on and before `end`, counted from 1970."""
    return f"minute >= toDateTime({first * DAY_SECONDS}, 'UTC') AND minute < toDateTime({end * DAY_SECONDS}, 'UTC')"


def _ours(partitions: Sequence[int], of: int) -> str:
    if len(set(partitions)) == of:
        return "1"
    return (
        f"kafkaMurmurHash(conversation) % {int(of)} IN ({', '.join(str(int(partition)) for partition in partitions)})"
    )

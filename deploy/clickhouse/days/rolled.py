"""The SQL of days of conversations: how a day follows from its minutes, and which days are rolled up.

A row of conversation_days is absolute (law 4): the sums of the minutes of a day, and the set of voices of its cells.
Days before ROLLED_UNTIL are in the table; later ones are open, and views compute them by the same query as the worker
that rolls a day up.
"""

from typing import Final

from deploy.clickhouse.drafting import indent
from schemas.metrics import MEASURES
from schemas.tables import CONVERSATION_DAYS

NET_COUNTS: Final = ("posts", *MEASURES)
SAID: Final = " OR ".join([*(f"{count} != 0" for count in NET_COUNTS), "voices > 0"])
"""The condition of a minute with content: a minute that all its posts have left stays as a row of zeros."""

ALL_HASHES: Final = 2**64 - 1
VOICES_BELOW: Final = f"if(voices_exact = 0, arrayMax(voices), {ALL_HASHES})"
"""The threshold below which a cell has all hashes."""

HEARD_IN_ALL: Final = "groupUniqArrayArray(voices) AS heard_all,\n        min(voices_below) AS theta_all"

DAY_VOICES: Final = 4096
"""The most voices that a day keeps as they are: beyond, the smallest hashes, a sketch of standard error 1.6 %."""

ROLLED_UNTIL: Final = (
    "assumeNotNull((SELECT if(count() = max(partitions), min(rolled_until), toDateTime(0, 'UTC')) "
    "FROM {database}.conversation_day_marks FINAL))"
)
"""The start of the first day that some partition has not rolled up; a constant before tables are read."""

_SEEN: Final = "intDiv(bitAnd(version, bitShiftLeft(toUInt64(1), 56) - 1), 2)"
"""The events that a minute has seen, from its version (processors/conversation/rows.py)."""


def counts_and_people(sums: str, minutes: str, people: str, cells: str) -> str:
    """Writes the FROM clause of conversations: `sums` of the query `minutes` AS c, and `people` of `cells` AS v, which
    is what stands behind FROM."""
    return f"""\
FROM
(
    SELECT
        conversation,
        {sums}
    FROM{nested(minutes)}
    GROUP BY conversation
) AS c
LEFT ANY JOIN
(
    SELECT
        conversation,
        {people}
    FROM{cells}
    GROUP BY conversation
) AS v ON v.conversation = c.conversation"""


def nested(query: str) -> str:
    """Writes a query as the subquery of another one."""
    return f"\n    (\n{indent(indent(query))}\n    )"


def days_query(when: str, database: str = "{database}.") -> str:
    """Writes the query of days from the minutes and cells for which `when` holds, a condition on `minute` and
    `conversation`. Its columns are those of CONVERSATION_DAYS.sent, in their order."""
    sums = ",\n        ".join(f"sum(toInt64({count})) AS {count}_sum" for count in NET_COUNTS)
    counts = {count: f"m.{count}_sum" for count in NET_COUNTS}
    values = {
        "conversation": "m.conversation",
        "day": "m.on_day",
        "first_minute": "m.first_said",
        "last_minute": "m.last_said",
        "minutes": "toUInt32(m.minutes_said)",
        **counts,
        "posts": "toUInt64(m.posts_sum)",
        "voices": f"arraySlice(v.below, 1, {DAY_VOICES})",
        "voices_below": f"if(length(v.below) > {DAY_VOICES}, v.below[{DAY_VOICES + 1}], "
        f"if(v.theta = 0, {ALL_HASHES}, v.theta))",
        "channels": "v.channels_said",
        "version": "bitOr(bitShiftLeft(m.fold, 56), m.seen)",
    }
    shown = ",\n    ".join(f"{values[name]} AS `{name}`" for name in CONVERSATION_DAYS.sent)
    return f"""\
SELECT
    {shown}
FROM
(
    SELECT
        conversation,
        toDate(minute) AS on_day,
        minIf(minute, {SAID}) AS first_said,
        maxIf(minute, {SAID}) AS last_said,
        countIf({SAID}) AS minutes_said,
        {sums},
        min(bitShiftRight(version, 56)) AS fold,
        sum({_SEEN}) AS seen
    FROM {database}conversation_minutes FINAL
    PREWHERE {when}
    GROUP BY conversation, on_day
) AS m
LEFT ANY JOIN
(
    SELECT
        conversation,
        toDate(minute) AS on_day,
        min({VOICES_BELOW}) AS theta,
        arraySort(arrayFilter(hash -> hash < theta OR theta = {ALL_HASHES}, groupUniqArrayArray(voices))) AS below,
        arraySort(groupUniqArrayArray(channels)) AS channels_said
    FROM {database}conversation_posts FINAL
    PREWHERE {when}
    GROUP BY conversation, on_day
) AS v ON v.conversation = m.conversation AND v.on_day = m.on_day"""


def all_days() -> str:
    """Writes the query of all days with something said or liked: rows of the table, and days that are open. Beside the
    columns of CONVERSATION_DAYS.sent it has `is_rolled`."""
    names = ", ".join(f"`{name}`" for name in CONVERSATION_DAYS.sent)
    return f"""\
SELECT {names}, 1 AS is_rolled
FROM {{database}}.conversation_days FINAL
WHERE day < toDate({ROLLED_UNTIL}) AND minutes > 0
UNION ALL
SELECT {names}, 0 AS is_rolled
FROM
(
{days_query(f"minute >= {ROLLED_UNTIL}")}
)
WHERE minutes > 0"""

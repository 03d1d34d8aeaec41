"""The SQL of conversations between two times: rolled days in between, and the minutes at both edges."""

from typing import Final

from deploy.clickhouse.days.rolled import NET_COUNTS, ROLLED_UNTIL, SAID, VOICES_BELOW, counts_and_people, nested
from deploy.clickhouse.drafting import time_parameter

_SINCE: Final = time_parameter("since")
_UNTIL: Final = time_parameter("until")
_FIRST: Final = f"toStartOfDay({_SINCE} + 86399)"
_END: Final = f"greatest(least(toStartOfDay({_UNTIL}), {ROLLED_UNTIL}), {_FIRST})"
"""The rolled days of a range lie between: from its first midnight on, up to its last one or to where days are open."""

_DAYS: Final = f"day >= toDate({_FIRST}) AND day < toDate({_END})"
_EDGES: Final = (
    f"((minute >= {_SINCE} AND minute < least({_FIRST}, {_UNTIL})) OR (minute >= {_END} AND minute < {_UNTIL}))"
)


def days_and_edges(which: str, sums: str, people: str) -> str:
    """Writes the FROM clause of conversations between `since` and `until`: `sums` of their days and minutes AS c,
    `people` of their days and cells AS v.

    `which` is a condition on `conversation`. `sums` may name counts, first_said and last_said; `people` voices,
    voices_below and channels.
    """
    counts = ", ".join(NET_COUNTS)
    minutes = f"""\
SELECT conversation, minute AS first_said, minute AS last_said, {counts}
FROM {{database}}.conversation_minutes FINAL
PREWHERE {which} AND {_EDGES}
WHERE {SAID}
UNION ALL
SELECT conversation, first_minute AS first_said, last_minute AS last_said, {counts}
FROM {{database}}.conversation_days FINAL
PREWHERE {which} AND {_DAYS}
WHERE minutes > 0"""
    cells = f"""\
SELECT conversation, voices, {VOICES_BELOW} AS voices_below, channels
FROM {{database}}.conversation_posts FINAL
PREWHERE {which} AND {_EDGES}
UNION ALL
SELECT conversation, voices, voices_below, channels
FROM {{database}}.conversation_days FINAL
PREWHERE {which} AND {_DAYS}"""
    return counts_and_people(sums, minutes, people, nested(cells))

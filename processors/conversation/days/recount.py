"""Compares days of conversations with their minutes, and rolls them up anew.

Runs after the recount of minutes. Only days before the marks are compared: views do not read what lies behind them.
Days that retention has touched are left alone, because their minutes may be gone.
"""

from collections.abc import Iterator
from typing import Any, Final

from deploy.clickhouse.days.rolled import ROLLED_UNTIL, days_query
from pipeline.clickhouse.client import ClickHouse
from processors.columnar.compare_rows import Difference, difference
from processors.conversation.days.rolling import plan_parts
from processors.conversation.days.store import DAY_SECONDS, ClickHouseDays, in_part, minutes_between
from processors.conversation.ports import DayPart
from schemas.tables import CONVERSATION_DAYS

_MINUTES_AT_ONCE: Final = 500_000
_COMPARED: Final = tuple(name for name in CONVERSATION_DAYS.sent if name not in (*CONVERSATION_DAYS.key, "version"))


def recount_days(clickhouse: ClickHouse, check: bool, floor: int = 0) -> Iterator[list[Difference]]:
    """Compares all rolled days, some at a time, and rolls them up anew unless `check` is True. Before `floor`, in
    seconds since 1970, retention may have deleted rows. Blocks. Raises Unavailable, Refused."""
    days = ClickHouseDays(clickhouse)
    first = -(-floor // DAY_SECONDS)
    end = int(clickhouse.select(f"SELECT toUInt16(toDate({ROLLED_UNTIL.replace('{database}.', '')}))")[0][0])
    if first >= end:
        return
    for part in plan_parts(days, [0], 1, span=(first, end), at_once=_MINUTES_AT_ONCE):
        answer = clickhouse.select(_differences_sql(part))
        rows = list(zip(*answer, strict=True))
        differences = [
            difference(CONVERSATION_DAYS, (name, day), column, stored or None, expected or None)
            for name, day, found, *_ in rows
            for column, stored, expected in found
        ]
        if not check:
            _remove(clickhouse, [(name, number) for name, _, _, number, is_forged in rows if is_forged])
            days.roll([0], 1, part)
        yield differences


def _differences_sql(part: DayPart) -> str:
    """Writes the query of wrong days of a part: conversation, day, the columns that differ, with what is stored and
    expected as text, the number of the day, and whether the stored row would win over the right one."""
    some, minutes = in_part(part), minutes_between(part.first, part.end)
    names = ", ".join(CONVERSATION_DAYS.sent)
    values = ", ".join(f"('{name}', toString(s.{name}), toString(e.{name}))" for name in _COMPARED)
    return f"""
SELECT if(s.is_there, s.conversation, e.conversation) AS name, toString(if(s.is_there, s.day, e.day)) AS shown,
    multiIf(NOT s.is_there, [('row', '', 'a row')], NOT e.is_there, [('row', 'a row', '')],
        arrayFilter(column -> column.2 != column.3, [{values},
            ('version', toString(s.version), toString(least(s.version, e.version)))])) AS wrong,
    toUInt16(s.day) AS number, s.is_there AND (NOT e.is_there OR s.version > e.version) AS is_forged
FROM
(
    SELECT {names}, 1 AS is_there FROM {CONVERSATION_DAYS.name} FINAL
    WHERE day >= toDate({part.first}) AND day < toDate({part.end}) AND {some}
) AS s
FULL JOIN
(
    SELECT {names}, 1 AS is_there FROM ({days_query(f"{minutes} AND {some}", "")})
) AS e ON s.conversation = e.conversation AND s.day = e.day
WHERE notEmpty(wrong)
ORDER BY name, shown"""


def _remove(clickhouse: ClickHouse, keys: list[tuple[Any, ...]]) -> None:
    if keys:
        clickhouse.execute(
            f"ALTER TABLE {CONVERSATION_DAYS.name} DELETE WHERE (conversation, toUInt16(day)) IN %(keys)s "
            "SETTINGS mutations_sync = 2",
            {"keys": tuple(keys)},
        )

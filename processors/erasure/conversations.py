"""Conversations after an erasure: minutes added up and days rolled up anew, counts at closing within what the log says,
conversations of erased people gone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from pipeline.clickhouse.client import ClickHouse, ExternalTables
from processors.columnar.hashing import Hasher
from processors.conversation.closing.floors import floors_of_conversations
from processors.conversation.days.store import DAY_SECONDS, ClickHouseDays
from processors.conversation.fold import ConversationFold
from processors.conversation.recount_closed import bounds_sql, in_time
from processors.conversation.rows import minute_columns
from processors.conversation.store import ClickHouseConversations
from processors.erasure.deletion import ERASING, Deletion, noted, stored_before
from processors.erasure.log import COUNTED_PANES, ERASED_POSTS, PANES
from processors.erasure.people import People
from processors.retention.retention import minutes_floor
from schemas.tables import (
    CONVERSATION_CLOSED,
    CONVERSATION_DAYS,
    CONVERSATION_MINUTES,
    CONVERSATION_POSTS,
    EVENTS,
)

GONE: Final = "conversations"
"""Target of `erasing`: conversations that leave."""

BY_CONVERSATION: Final = (CONVERSATION_POSTS, CONVERSATION_MINUTES, CONVERSATION_CLOSED, CONVERSATION_DAYS)

_ROLLED: Final = "days"
_HEARD: Final = "days of before"
"""Targets of `erasing`: (conversation, day) that are rolled up anew, and those that lose voices."""

_DAY_KEY: Final = ("conversation", "toString(day)")

_PANES_AT_ONCE: Final = 50_000
_CLOSED_AT_ONCE: Final = 20_000
_DAYS_AT_ONCE: Final = 20_000
_SECONDS: Final = "toString(toUnixTimestamp(minute))"
_UNFOUNDED: Final = "closed"
"""Target of `erasing`: (conversation, minute) of counts at closing that nothing in the log accounts for."""


class RecountedConversations:
    """The conversations during an erasure. Every method blocks, and raises Unavailable, Refused."""

    def __init__(self, clickhouse: ClickHouse, cells: ClickHouseConversations, deletion: Deletion) -> None:
        self._clickhouse, self._cells, self._deletion = clickhouse, cells, deletion

    def channels(self) -> list[str]:
        """Reads the channels of all events."""
        answer = self._clickhouse.select(f"SELECT DISTINCT channel FROM {EVENTS.name}")
        return list(answer[0]) if answer else []

    def note(self, gone: Sequence[str]) -> None:
        """Notes the conversations that leave, and the minutes of others to which posts added that leave. Called before
        the cells are written anew."""
        self._deletion.add(GONE, [(conversation, "") for conversation in gone])
        self._deletion.add(GONE, [(f"thread:{post_id}", "") for post_id, _ in self._deletion.keys(ERASED_POSTS)])
        blocks = self._clickhouse.stream(
            f"SELECT DISTINCT conversation, {_SECONDS} FROM {CONVERSATION_POSTS.name} "
            f"WHERE {noted(ERASED_POSTS, ['post_id'])} AND NOT {noted(GONE, ['conversation'])}"
        )
        for block in list(blocks):
            panes = list(zip(*block, strict=True))
            for target in (PANES, COUNTED_PANES):
                self._deletion.add(target, panes)

    def add_up_anew(self, of: int, lateness_seconds: float) -> Iterator[int]:
        """Writes the noted minutes anew and deletes older rows of them, and all rows of conversations that leave.
        Yields the number of minutes done so far. `of`: partitions of the topic `conversations`."""
        since = self._deletion.cut()
        # Minutes from before the floor of retention may lack the cells of other posts: their rows stay as they are.
        first = minutes_floor(self._clickhouse)
        panes = self._panes(PANES, first)
        floors = dict.fromkeys(range(of), 0) | self._cells.floors(range(of))
        # A minute without a post that left has seen fewer events than before, so its row would lose against the older
        # one in a merge: that one has to go first. A worker's row of meanwhile is as right as the one written here.
        older = f"{_noted_minutes(PANES)} AND {stored_before(since)}"
        self._deletion.delete(CONVERSATION_MINUTES.name, f"{older} AND minute >= toDateTime({first}, 'UTC')")
        for start in range(0, len(panes), _PANES_AT_ONCE):
            some = panes[start : start + _PANES_AT_ONCE]
            self._write(some, floors, of)
            yield start + len(some)
        for table in BY_CONVERSATION:
            self._deletion.delete(table.name, noted(GONE, ["conversation"]))
        counted = self._panes(COUNTED_PANES, first)
        for start in range(0, len(counted), _CLOSED_AT_ONCE):
            self._correct_closed(counted[start : start + _CLOSED_AT_ONCE], of, lateness_seconds)

    def roll_days_anew(self, people: People) -> None:
        """Rolls the days of the noted minutes up anew, and deletes those of conversations that leave. Called when no
        roll-up is under way that began before the minutes were right: it has read rows that were deleted since."""
        first = minutes_floor(self._clickhouse)
        self._deletion.delete(CONVERSATION_DAYS.name, noted(GONE, ["conversation"]))
        days = ErasedDays(self._clickhouse, self._deletion)
        days.roll_anew(self._panes(PANES, first))
        days.take_voices_out(people, first)

    def _panes(self, target: str, first: int) -> list[tuple[str, int]]:
        """Reads noted minutes from the second `first` on, in their order: some at a time are of few days, and only
        these days are read."""
        panes = [(name, int(second) // 60) for name, second in self._deletion.keys(target) if int(second) >= first]
        return sorted(panes, key=lambda pane: pane[1])

    def _write(self, panes: Sequence[tuple[str, int]], floors: Mapping[int, int], of: int) -> None:
        fold = ConversationFold()
        fold.add_blocks(self._cells.of_panes(panes))
        if not len(fold):
            return
        minutes = fold.add_up(fold.between(0, 1 << 26))
        is_final = minutes.minute < floors_of_conversations(floors, minutes.conversation, of)
        for mask, final in ((is_final, True), (~is_final, False)):
            if mask.any():
                self._cells.upsert(CONVERSATION_MINUTES.name, minute_columns(minutes, mask, final))

    def _correct_closed(self, panes: Sequence[tuple[str, int]], of: int, lateness_seconds: float) -> None:
        """Brings counts at closing within the bounds of the log (processors/conversation/recount_closed.py). Erasure is
        the only thing that ever changes such a count: nobody was there who is not to have been there. `panes`: in the
        order of minutes."""
        sql = bounds_sql("(conversation, minute) IN (SELECT id, toDateTime(start, 'UTC') FROM wanted)")
        answer = self._clickhouse.select(
            f"SELECT name, start, is_known, count, least, most FROM ({sql}) "
            "WHERE is_closed AND NOT (is_known AND count BETWEEN least AND most)",
            {
                "since": panes[0][1] * 60,
                "until": panes[-1][1] * 60 + 1,
                "of": of,
                "in_time": in_time(lateness_seconds),
            },
            _wanted(panes),
        )
        rows: list[Any] = list(zip(*answer, strict=True)) if answer else []
        unknown = [(name, str(start)) for name, start, is_known, *_ in rows if not is_known]
        self._deletion.add(_UNFOUNDED, unknown)
        corrected = [
            (name, start, min(max(count, least), most))
            for name, start, is_known, count, least, most in rows
            if is_known
        ]
        if corrected:
            names, starts, counts = zip(*corrected, strict=True)
            now = self._deletion.server_ms()
            self._clickhouse.insert(
                CONVERSATION_CLOSED.name,
                {
                    "conversation": list(names),
                    "minute": list(starts),
                    "count": list(counts),
                    "closed_at": [now] * len(names),
                },
            )
        if unknown:
            self._deletion.delete(CONVERSATION_CLOSED.name, _noted_minutes(_UNFOUNDED))


def _noted_minutes(target: str) -> str:
    """Returns the condition that conversation and minute of a row are noted. Times are compared, because writing those
    of all rows as text takes longer than all else."""
    return (
        "(conversation, minute) IN "
        f"(SELECT id, toDateTime(toUInt32(rest), 'UTC') FROM {ERASING} WHERE target = '{target}')"
    )


def _wanted(panes: Sequence[tuple[str, int]]) -> ExternalTables:
    return {"wanted": ("id String, start UInt32", [(conversation, minute * 60) for conversation, minute in panes])}


class ErasedDays:
    """The days of conversations during an erasure. Every method blocks, and raises Unavailable, Refused."""

    def __init__(self, clickhouse: ClickHouse, deletion: Deletion) -> None:
        self._clickhouse, self._deletion = clickhouse, deletion
        self._days = ClickHouseDays(clickhouse)

    def roll_anew(self, panes: Sequence[tuple[str, int]]) -> None:
        """Rolls the days of these (conversation, minute) up anew. Called once the minutes are right. Older rows are
        deleted first: a day without a post that left has seen fewer events, so its row would lose in a merge."""
        keys = list(dict.fromkeys((name, minute * 60 // DAY_SECONDS) for name, minute in panes))
        self._deletion.add(_ROLLED, [(name, _date(number)) for name, number in keys])
        older = stored_before(self._deletion.cut())
        self._deletion.delete(CONVERSATION_DAYS.name, f"{noted(_ROLLED, _DAY_KEY)} AND {older}")
        for start in range(0, len(keys), _DAYS_AT_ONCE):
            self._days.roll_again(keys[start : start + _DAYS_AT_ONCE])

    def take_voices_out(self, people: People, until: int) -> None:
        """Takes the voices of the people out of the days that begin before `until`, in seconds since 1970. Erased on
        one channel alone, they leave the days on which somebody spoke there."""
        hashes = {"heard": ("hash UInt64", [(number,) for number in Hasher().actors(list(people.accounts)).tolist()])}
        erased = "(SELECT groupArray(hash) FROM heard)"
        before = f"day < toDate({-(-until // DAY_SECONDS)})"
        on_channel = "" if people.channel is None else " AND has(channels, %(channel)s)"
        found = self._clickhouse.select(
            f"SELECT {', '.join(_DAY_KEY)} FROM {CONVERSATION_DAYS.name} WHERE {before} AND hasAny(voices, {erased})"
            + on_channel,
            {"channel": people.channel},
            hashes,
        )
        self._deletion.add(_HEARD, zip(*found, strict=True))
        changed = {"voices": f"arrayFilter(hash -> NOT has({erased}, hash), d.voices)", "version": "d.version + 1"}
        older = stored_before(self._deletion.cut())
        self._clickhouse.insert_answer(
            CONVERSATION_DAYS.name,
            CONVERSATION_DAYS.sent,
            f"SELECT {', '.join(changed.get(name, f'd.{name}') for name in CONVERSATION_DAYS.sent)} "
            f"FROM {CONVERSATION_DAYS.name} AS d FINAL WHERE {noted(_HEARD, _DAY_KEY)}",
            hashes,
        )
        self._deletion.delete(CONVERSATION_DAYS.name, f"{noted(_HEARD, _DAY_KEY)} AND {older}")


def _date(number: int) -> str:
    return str(np.datetime64(number, "D"))

"""Conversations after an erasure: minutes added up anew, counts at closing within what the log says, conversations of
erased people gone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pipeline.clickhouse.client import ClickHouse, ExternalTables
from processors.conversation.closing.floors import floors_of_conversations
from processors.conversation.fold import ConversationFold
from processors.conversation.recount_closed import SLACK_SECONDS, bounds_sql
from processors.conversation.rows import minute_columns
from processors.conversation.store import ClickHouseConversations
from processors.erasure.deletion import Deletion, noted, stored_before
from processors.erasure.log import AFFECTED_POSTS, ERASED_POSTS
from processors.retention.retention import retention_floors
from schemas.tables import (
    CONVERSATION_CLOSED,
    CONVERSATION_MINUTES,
    CONVERSATION_POSTS,
    EVENTS,
)

GONE: Final = "conversations"
PANES: Final = "minutes"
"""Targets of `erasing`: conversations that leave, and (conversation, minute) that are added up anew."""

BY_CONVERSATION: Final = (CONVERSATION_POSTS, CONVERSATION_MINUTES, CONVERSATION_CLOSED)

_PANES_AT_ONCE: Final = 50_000
_CLOSED_AT_ONCE: Final = 20_000
_SECONDS: Final = "toString(toUnixTimestamp(minute))"


class RecountedConversations:
    """The conversations during an erasure. Every method blocks, and raises Unavailable, Refused."""

    def __init__(self, clickhouse: ClickHouse, cells: ClickHouseConversations, deletion: Deletion) -> None:
        self._clickhouse, self._cells, self._deletion = clickhouse, cells, deletion

    def channels(self) -> list[str]:
        """Reads the channels of all events."""
        answer = self._clickhouse.select(f"SELECT DISTINCT channel FROM {EVENTS.name}")
        return list(answer[0]) if answer else []

    def note(self, gone: Sequence[str]) -> None:
        """Notes the conversations that leave, and the minutes of others to which posts added that are folded anew or
        leave. Called before the cells are written anew."""
        self._deletion.add(GONE, [(conversation, "") for conversation in gone])
        self._deletion.add(GONE, [(f"thread:{post_id}", "") for post_id, _ in self._deletion.keys(ERASED_POSTS)])
        condition = f"{noted(AFFECTED_POSTS, ['post_id'])} OR {noted(ERASED_POSTS, ['post_id'])}"
        blocks = self._clickhouse.stream(
            f"SELECT DISTINCT conversation, {_SECONDS} FROM {CONVERSATION_POSTS.name} WHERE ({condition}) "
            f"AND NOT {noted(GONE, ['conversation'])}"
        )
        for block in list(blocks):
            self._deletion.add(PANES, zip(*block, strict=True))

    def add_up_anew(self, of: int, lateness_seconds: float) -> Iterator[int]:
        """Writes the noted minutes anew and deletes older rows of them, and all rows of conversations that leave.
        Yields the number of minutes done so far. `of`: partitions of the topic `conversations`."""
        since = self._deletion.cut()
        kept_from = retention_floors(self._clickhouse)
        first = max(kept_from.get("posts", 0), kept_from.get("conversations", 0))
        # Minutes from before the floor of retention may lack the cells of other posts: their rows stay as they are.
        panes = [(name, int(second) // 60) for name, second in self._deletion.keys(PANES) if int(second) >= first]
        floors = dict.fromkeys(range(of), 0) | self._cells.floors(range(of))
        # A minute without a post that left has seen fewer events than before, so its row would lose against the older
        # one in a merge: that one has to go first. A worker's row of meanwhile is as right as the one written here.
        older = f"{noted(PANES, ['conversation', _SECONDS])} AND {stored_before(since)}"
        self._deletion.delete(CONVERSATION_MINUTES.name, f"{older} AND minute >= toDateTime({first}, 'UTC')")
        for start in range(0, len(panes), _PANES_AT_ONCE):
            some = panes[start : start + _PANES_AT_ONCE]
            self._write(some, floors, of)
            yield start + len(some)
        for table in BY_CONVERSATION:
            self._deletion.delete(table.name, noted(GONE, ["conversation"]))
        for start in range(0, len(panes), _CLOSED_AT_ONCE):
            self._correct_closed(panes[start : start + _CLOSED_AT_ONCE], of, lateness_seconds)

    def _write(self, panes: Sequence[tuple[str, int]], floors: Mapping[int, int], of: int) -> None:
        fold = ConversationFold()
        for cells in self._cells.of_panes(panes):
            fold.add_cells(cells)
        if not len(fold):
            return
        minutes = fold.add_up(fold.between(0, 1 << 26))
        is_final = minutes.minute < floors_of_conversations(floors, minutes.conversation, of)
        for mask, final in ((is_final, True), (~is_final, False)):
            if mask.any():
                self._cells.upsert(CONVERSATION_MINUTES.name, minute_columns(minutes, mask, final))

    def _correct_closed(self, panes: Sequence[tuple[str, int]], of: int, lateness_seconds: float) -> None:
        """Brings counts at closing within the bounds of the log (processors/conversation/recount_closed.py). Erasure is
        the only thing that ever changes such a count: nobody was there who is not to have been there."""
        sql = bounds_sql("(conversation, toUnixTimestamp(minute)) IN (SELECT id, start FROM wanted)")
        answer = self._clickhouse.select(
            f"SELECT name, start, is_known, count, least, most FROM ({sql}) "
            "WHERE is_closed AND NOT (is_known AND count BETWEEN least AND most)",
            {
                "since": 0,
                "until": (1 << 32) - 1,
                "of": of,
                "in_time": max(0, int(60 + lateness_seconds - SLACK_SECONDS)),
            },
            _wanted(panes),
        )
        rows: list[Any] = list(zip(*answer, strict=True)) if answer else []
        unknown = [(name, str(start)) for name, start, is_known, *_ in rows if not is_known]
        self._deletion.add("closed", unknown)
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
            self._deletion.delete(CONVERSATION_CLOSED.name, noted("closed", ["conversation", _SECONDS]))


def _wanted(panes: Sequence[tuple[str, int]]) -> ExternalTables:
    return {"wanted": ("id String, start UInt32", [(conversation, minute * 60) for conversation, minute in panes])}

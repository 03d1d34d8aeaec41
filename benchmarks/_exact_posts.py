"""Exact rows of some posts in a database that benchmarks/_crowd.py has filled, and their comparison with the log."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Final

import numpy as np

from pipeline.clickhouse.client import ClickHouse, ExternalTables
from pipeline.settings import Settings
from processors.columnar.compare_rows import Difference, compare, difference
from processors.columnar.hashing import Hasher
from processors.conversation.fold import ConversationFold
from processors.conversation.recount_closed import bounds_sql, in_time
from processors.conversation.rows import minute_columns
from processors.conversation.store import ClickHouseConversations
from processors.engagement.recount import recount_posts
from processors.engagement.store import ClickHouseLog
from processors.wiring import job_policy
from schemas.tables import CONVERSATION_CLOSED, CONVERSATION_MINUTES

_PANES_AT_ONCE: Final = 20_000
_AMONG: Final = "(conversation, minute) IN (SELECT name, toDateTime(start, 'UTC') FROM wanted)"
_LAST_MINUTE: Final = 1 << 26
_NOT_COMPARED: Final = ("is_final", "version")
"""As in processors/conversation/recount.py."""


class _Posts:
    """The stored rows of some posts, as a recount reads them."""

    def __init__(self, log: ClickHouseLog, post_ids: Sequence[str]) -> None:
        self._post_ids, self.rows, self.remove = sorted(post_ids), log.rows, log.remove

    def census(self) -> Iterator[tuple[str, int]]:
        """Yields the posts, each as if it had a thousand events: a chunk of a recount has 500 posts then."""
        return ((post_id, 1000) for post_id in self._post_ids)


class ExactPosts:
    """Some posts, with the minutes of conversations to which they add."""

    def __init__(self, settings: Settings, client: ClickHouse, post_ids: Sequence[str]) -> None:
        self._settings, self._client, self._post_ids = settings, client, post_ids
        self._panes: set[tuple[str, int]] = set()

    def write(self) -> None:
        """Writes the rows of the posts and of their minutes anew. Blocks."""
        self._recount(is_written=True)
        for panes in self._panes_at_once():
            with closing(self._cells()) as cells:
                cells.upsert(CONVERSATION_MINUTES.name, self._minutes(cells, panes))

    def differences(self) -> list[Difference]:
        """Compares the posts, their minutes and counts at closing with the log. Blocks."""
        found = self._recount(is_written=False)
        for panes in self._panes_at_once():
            found += [*self._compare_minutes(panes), *self._compare_closed(panes)]
        return found

    @property
    def minutes(self) -> int:
        """The number of minutes of conversations that were compared."""
        return len(self._panes)

    def _recount(self, is_written: bool) -> list[Difference]:
        hasher = Hasher()
        log = ClickHouseLog(lambda numpy: ClickHouse(self._settings, numpy=numpy), hasher)
        try:
            policy, store = job_policy(self._settings, hasher), log if is_written else None
            chunks = recount_posts(log, _Posts(log, self._post_ids), hasher, store, policy)
            return [difference for chunk in chunks for difference in chunk.differences]
        finally:
            log.close()

    def _panes_at_once(self) -> Iterator[list[tuple[str, int]]]:
        """Yields all minutes to which the posts add or have added, some of them at a time, in their order."""
        answer = self._client.select(
            "SELECT DISTINCT conversation, intDiv(toUnixTimestamp(minute), 60) FROM conversation_posts "
            "WHERE post_id IN (SELECT post_id FROM wanted)",
            tables={"wanted": ("post_id String", [(post_id,) for post_id in self._post_ids])},
        )
        self._panes |= set(zip(*answer, strict=True) if answer else ())
        panes = sorted(self._panes, key=lambda pane: pane[1])
        yield from (panes[start : start + _PANES_AT_ONCE] for start in range(0, len(panes), _PANES_AT_ONCE))

    def _cells(self) -> ClickHouseConversations:
        return ClickHouseConversations(lambda numpy: ClickHouse(self._settings, numpy=numpy))

    @staticmethod
    def _minutes(cells: ClickHouseConversations, panes: Sequence[tuple[str, int]]) -> dict[str, Any]:
        fold = ConversationFold()
        fold.add_blocks(cells.of_panes(panes))
        minutes = fold.add_up(fold.between(0, _LAST_MINUTE))
        return minute_columns(minutes, np.ones(len(minutes), np.bool_), final=True)

    def _compare_minutes(self, panes: Sequence[tuple[str, int]]) -> list[Difference]:
        with closing(self._cells()) as cells:
            expected = self._minutes(cells, panes)
        names = [name for name in expected if name not in _NOT_COMPARED]
        columns = ", ".join("toUInt32(minute)" if name == "minute" else name for name in names)
        stored = self._client.select(
            f"SELECT {columns} FROM {CONVERSATION_MINUTES.name} FINAL WHERE {_AMONG}", tables=_wanted(panes)
        )
        found: list[Difference] = []
        compare(
            CONVERSATION_MINUTES,
            {name: expected[name] for name in names},
            dict(zip(names, map(np.asarray, stored), strict=True)),
            found,
        )
        return found

    def _compare_closed(self, panes: Sequence[tuple[str, int]]) -> list[Difference]:
        answer = self._client.select(
            f"SELECT name, start, count, least, most FROM ({bounds_sql(_AMONG)}) "
            "WHERE is_closed AND NOT (is_known AND count BETWEEN least AND most)",
            {
                "since": panes[0][1] * 60,
                "until": panes[-1][1] * 60 + 1,
                "of": self._settings.partitions,
                "in_time": in_time(self._settings.lateness_seconds),
            },
            _wanted(panes),
        )
        return [
            difference(CONVERSATION_CLOSED, (name, start), "count", count, f"{least} to {most}")
            for name, start, count, least, most in (zip(*answer, strict=True) if answer else ())
        ]


def _wanted(panes: Sequence[tuple[str, int]]) -> ExternalTables:
    return {"wanted": ("name String, start UInt32", [(name, minute * 60) for name, minute in panes])}

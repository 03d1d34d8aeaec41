"""The log and the derived rows of posts in ClickHouse.

The server hashes ids under this process's key, so a read of cold posts transfers numbers, not text.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from pipeline.clickhouse.client import ClickHouse
from processors.columnar.hashing import Hasher, Hashes
from processors.engagement.fold.columns import EventColumns, identities
from processors.engagement.ports import LoggedEvents
from processors.engagement.rows.post_facts import PostEvent
from processors.engagement.state import Tagged
from schemas.tables import (
    CARRY_OVER,
    CONVERSATION_POSTS,
    EVENTS,
    KNOWN_POSTS,
    MINUTE_TIME,
    POST_METRICS,
    POST_MINUTES,
    POSTS,
    RETIRED_POSTS,
    TOMBSTONE_VERSION,
    Column,
    Table,
)

BLOCK_EVENTS: Final = 1 << 20
"""Events that are sorted by time at once, in about 60 MB: the fold builds a post's panes fastest in the order of their
minutes."""

PACKED: Final = {
    "channels": "arrayStringConcat(channels, '\\0')",
    "voices": "arrayStringConcat(arrayMap(hash -> hex(reinterpretAsFixedString(hash)), voices))",
}
"""SQL of the arrays of conversation_posts as text, which the driver reads in a tenth of the time."""

FIRST_WINS: Final = 1 << 62
"""The version of an event is this less its offset, so that the first event of an identity in the log wins."""

_REMOVED_AT_ONCE: Final = 500
"""Rows that one DELETE names: with ids of 512 characters the query stays below the server's limit of 256 KiB."""


class ClickHouseLog:
    """EventLog and RowStore on ClickHouse. Has three connections: one for text in lists, one for numbers in arrays, and
    one for a census, which goes on while the others are in use. One thread calls it."""

    def __init__(self, connect: Callable[[bool], ClickHouse], hasher: Hasher) -> None:
        """`connect(numpy)` makes a connection for numpy arrays, or for lists."""
        self._lists, self._arrays, self._census = connect(False), connect(True), connect(False)
        self._hasher = hasher

    def close(self) -> None:
        for connection in (self._lists, self._arrays, self._census):
            connection.close()

    def cut(self) -> None:
        """Ends the call that waits for the server, which raises Unavailable. Called from another thread."""
        for connection in (self._lists, self._arrays, self._census):
            connection.cut()

    def known(self, partitions: Sequence[int], of: int) -> Iterator[Hashes]:
        if not partitions:
            return
        wanted = ", ".join(str(int(partition)) for partition in partitions)
        blocks = self._arrays.stream(
            f"SELECT {self._hasher.sql('post_id')} AS hash FROM {KNOWN_POSTS.name} "
            f"WHERE kafkaMurmurHash(post_id) % {int(of)} IN ({wanted})"
        )
        for block in blocks:
            yield self._hasher.adopt(block[0])

    def read(self, post_ids: Sequence[str]) -> Iterator[LoggedEvents]:
        sql = self._hasher.sql
        hashed = ", ".join(
            [
                *map(sql, ("post_id", "event_id", "target_id")),
                self._hasher.sql_actor("actor_id"),
                *map(sql, ("parent_id", "channel")),
            ]
        )
        blocks = self._arrays.stream(
            f"SELECT toInt8(kind) - 1, toInt8(action) - 1, toUnixTimestamp64Micro(occurred_at), "
            f"parent_id = '' OR parent_id = post_id, version >= {TOMBSTONE_VERSION}, {hashed} FROM {EVENTS.name} "
            "WHERE post_id IN (SELECT post_id FROM wanted)",
            tables={"wanted": ("post_id String", [(post_id,) for post_id in post_ids])},
        )
        waiting: list[Sequence[Any]] = []
        for block in blocks:
            waiting.append(block)
            if sum(len(columns[0]) for columns in waiting) >= BLOCK_EVENTS:
                yield self._ordered(waiting)
                waiting = []
        if waiting:
            yield self._ordered(waiting)

    def read_posts(self, post_ids: Sequence[str]) -> list[PostEvent]:
        columns = self._lists.select(
            "SELECT post_id, event_id, target_id, toUnixTimestamp64Micro(occurred_at), if(author_id = '', actor_id, "
            "author_id), "
            f"channel, url, conversations, links, quotes, followers, {_flat('labels')}, text FROM {EVENTS.name} "
            "WHERE kind = 'post' AND post_id IN (SELECT post_id FROM wanted) ORDER BY version DESC",
            tables={"wanted": ("post_id String", [(post_id,) for post_id in post_ids])},
        )
        return [PostEvent(*values) for values in zip(*columns, strict=True)]

    def read_tagged(self, post_ids: Sequence[str]) -> list[Tagged]:
        columns = self._lists.select(
            "SELECT post_id, toInt8(kind) - 1, event_id, argMax(conversations, version) AS named "
            f"FROM {EVENTS.name} WHERE kind IN ('share', 'comment') AND action = 'add' "
            "AND post_id IN (SELECT post_id FROM wanted) GROUP BY post_id, kind, event_id HAVING notEmpty(named)",
            tables={"wanted": ("post_id String", [(post_id,) for post_id in post_ids])},
        )
        return [Tagged(*values) for values in zip(*columns, strict=True)]

    def retired(self, post_ids: Sequence[str]) -> Mapping[str, int]:
        columns = self._lists.select(
            f"SELECT post_id, toUnixTimestamp(as_of) FROM {RETIRED_POSTS.name} FINAL "
            "WHERE post_id IN (SELECT post_id FROM wanted) AND state != 'kept'",
            tables={"wanted": ("post_id String", [(post_id,) for post_id in post_ids])},
        )
        return dict(zip(*columns, strict=True)) if columns else {}

    def retired_since(self, version: int) -> tuple[Sequence[str], int]:
        columns = self._lists.select(
            f"SELECT post_id, version FROM {RETIRED_POSTS.name} WHERE version >= %(version)s AND state != 'kept'",
            {"version": version},
        )
        return (list(columns[0]), max(columns[1])) if columns and columns[0] else ((), version)

    def read_channels(self, post_ids: Sequence[str]) -> list[str]:
        columns = self._lists.select(
            f"SELECT DISTINCT channel FROM {EVENTS.name} WHERE post_id IN (SELECT post_id FROM wanted)",
            tables={"wanted": ("post_id String", [(post_id,) for post_id in post_ids])},
        )
        return list(columns[0]) if columns else []

    def census(self) -> Iterator[tuple[str, int]]:
        blocks = self._census.stream(
            "SELECT post_id, sum(events) AS logged FROM "
            f"(SELECT post_id, count() AS events FROM {EVENTS.name} GROUP BY post_id "
            + "".join(
                f"UNION ALL SELECT DISTINCT post_id, 0 FROM {table.name} "
                for table in (POST_METRICS, POST_MINUTES, POSTS, CONVERSATION_POSTS, CARRY_OVER)
            )
            + f") WHERE post_id NOT IN (SELECT post_id FROM {RETIRED_POSTS.name} FINAL WHERE state != 'kept') "
            "GROUP BY post_id ORDER BY post_id"
        )
        for block in blocks:
            yield from zip(*block, strict=True)

    def counted(self, post_ids: Sequence[str]) -> list[tuple[str, int]]:
        """Counts the rows of the log of each of these posts, in the order of posts; 0 where there is none."""
        columns = self._lists.select(
            f"SELECT post_id, count() FROM {EVENTS.name} "
            "WHERE post_id IN (SELECT post_id FROM wanted) GROUP BY post_id",
            tables={"wanted": ("post_id String", [(post_id,) for post_id in post_ids])},
        )
        counts = dict(zip(*columns, strict=True)) if columns else {}
        return [(post_id, int(counts.get(post_id, 0))) for post_id in sorted(post_ids)]

    def rows(self, table: Table, columns: Sequence[str], post_ids: Sequence[str]) -> Mapping[str, Any]:
        client = self._lists if table in (POSTS, CARRY_OVER) else self._arrays
        packed = PACKED if table is CONVERSATION_POSTS else {}
        named = ", ".join(packed.get(name) or _as_ticks(table[name]) for name in columns)
        values = client.select(
            f"SELECT {named} FROM {table.name} FINAL WHERE post_id IN (SELECT post_id FROM wanted)",
            tables={"wanted": ("post_id String", [(post_id,) for post_id in post_ids])},
        )
        rows = dict(zip(columns, values or [[] for _ in columns], strict=True))
        if "voices" in rows and packed:
            rows["voices"] = list(map(bytes.fromhex, rows["voices"]))
        return rows

    def remove(self, table: Table, keys: Sequence[tuple[Any, ...]], versions: Sequence[int]) -> None:
        names = [_as_ticks(table[name]) for name in (*table.key, "version")]
        rows = [(*key, version) for key, version in zip(keys, versions, strict=True)]
        for start in range(0, len(rows), _REMOVED_AT_ONCE):
            self._lists.execute(
                f"ALTER TABLE {table.name} DELETE WHERE ({', '.join(names)}) IN %(rows)s SETTINGS mutations_sync = 2",
                {"rows": tuple(rows[start : start + _REMOVED_AT_ONCE])},
            )

    def append(self, events: EventColumns) -> None:
        self._lists.insert(
            EVENTS.name,
            {
                "post_id": events.post_id,
                "kind": events.kind + 1,
                "action": events.action + 1,
                "event_id": events.event_id,
                "actor_id": events.actor_id,
                "parent_id": events.parent_id,
                "target_id": events.target_id,
                "occurred_at": events.occurred_us,
                "received_at": events.received_ms,
                "channel": events.channel,
                "conversations": events.conversations,
                "url": events.url,
                "links": events.links,
                "quotes": events.quotes,
                "author_id": events.author_id,
                "followers": events.followers,
                "labels": events.labels,
                "text": events.text,
                "topic": events.topic,
                "partition": events.partition,
                "offset": events.offset,
                "version": FIRST_WINS - events.offset,
            },
        )

    def upsert(self, table: str, columns: Mapping[str, Any]) -> None:
        numbers = isinstance(columns.get("version"), np.ndarray)
        (self._arrays if numbers else self._lists).insert(table, columns)

    def _ordered(self, blocks: Sequence[Sequence[Any]]) -> LoggedEvents:
        kind, action, occurred_us, is_top, is_erased, post, *texts = (
            np.concatenate(parts) for parts in zip(*blocks, strict=True)
        )
        # A tombstone comes before the event that it stands for, which the server may still have.
        order = np.lexsort((occurred_us, is_erased == 0)) if is_erased.any() else np.argsort(occurred_us, kind="stable")
        event, target, actor, parent, channel = (self._hasher.adopt(text)[order] for text in texts)
        kind, action, occurred_us = kind[order], action[order], occurred_us[order].astype(np.int64)
        events = identities(
            kind, action, occurred_us, event, target, actor, parent, channel, is_top[order], is_erased[order]
        )
        return LoggedEvents(self._hasher.adopt(post)[order], events)


def _flat(name: str) -> str:
    """Returns SQL for a map as a list of key, value, key, value, ..."""
    pairs = f"arrayMap((key, value) -> [key::String, value], mapKeys({name}), mapValues({name}))"
    return f"arrayFlatten({pairs})"


def _as_ticks(column: Column) -> str:
    """Returns SQL for the values of a column as the fold has them: times as integers, lists of numbers as text."""
    if column.type == "Array(UInt32)":
        return f"replaceAll(toString({column.name}), ',', ', ')"
    if column.type.startswith("Map("):
        return _flat(column.name)
    if "DateTime64(6" in column.type:
        return f"toUnixTimestamp64Micro({column.name})"
    return f"toUInt32({column.name})" if column.type == MINUTE_TIME else column.name

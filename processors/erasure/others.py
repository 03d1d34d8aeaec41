"""Rows that no fold makes: spikes with their evidence, groups and deliveries, dead letters, and habits of authors."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from pipeline.clickhouse.client import ClickHouse, ExternalTables
from processors.erasure.deletion import Deletion, noted, stored_before
from processors.erasure.log import ERASED_POSTS
from processors.erasure.tombstones import Eraser
from schemas.tables import ALERT_DELIVERIES, CONVERSATION_SPIKES, DEAD_LETTERS, FORECAST_HABITS, SPIKE_GROUPS

BY_SPIKE: Final = (CONVERSATION_SPIKES, SPIKE_GROUPS, ALERT_DELIVERIES)

_POSITION: Final = "concat(toString(partition), '\\0', toString(offset))"
_NEEDLES_AT_ONCE: Final = 200


class NamingRows:
    """Spikes and dead letters during an erasure. Every method blocks, and raises Unavailable, Refused."""

    def __init__(self, clickhouse: ClickHouse, deletion: Deletion, eraser: Eraser) -> None:
        self._clickhouse, self._deletion, self._eraser = clickhouse, deletion, eraser

    def erase_spikes(self, gone_conversations: Sequence[str]) -> int:
        """Deletes the spikes of conversations that leave, and takes posts, authors and texts that name the people out
        of the others. Returns the number of spikes that changed or left."""
        gone = frozenset(gone_conversations)
        since = self._deletion.cut()
        current: dict[str, Mapping[str, Any]] = {}
        naming, leaving = set(), set()
        for spike in self._spikes():
            spike_id, conversation = spike["spike_id"], spike["conversation"]
            current[spike_id] = spike  # the latest state comes last
            if conversation in gone or conversation.removeprefix("thread:") in self._eraser.posts:
                leaving.add(spike_id)
            elif self._without_names(spike) != spike:
                naming.add(spike_id)
        self._deletion.add("spikes", [(spike_id, "") for spike_id in leaving])
        # Also where the latest state is clean: an earlier one may not be.
        changed = [self._without_names(current[spike_id]) for spike_id in sorted(naming)]
        if changed:
            names = CONVERSATION_SPIKES.sent
            severity = {"severity": [spike["severity"] for spike in changed]}
            counted = {"counted_until": [spike["counted_until"] for spike in changed]}
            columns: dict[str, Any] = {name: [spike[name] for spike in changed] for name in names}
            columns["version"] = np.array(columns["version"], np.uint64)
            self._clickhouse.insert(CONVERSATION_SPIKES.name, columns | severity | counted)
            self._deletion.add("older spikes", [(spike["spike_id"], "") for spike in changed])
        older = f"{noted('older spikes', ['spike_id'])} AND {stored_before(since)}"
        self._deletion.delete(CONVERSATION_SPIKES.name, older)
        for table in BY_SPIKE:
            self._deletion.delete(table.name, noted("spikes", ["spike_id"]))
        return len(leaving) + len(changed)

    def delete_letters(self) -> int:
        """Deletes the dead letters that name the people or are about posts that left, and returns their number."""
        found = [
            (topic, f"{partition}\0{offset}")
            for topic, partition, offset, *texts in self._letters()
            if self._names(*map(bytes.fromhex, texts))
        ]
        self._deletion.add("letters", found)
        posts = noted(ERASED_POSTS, ["key"])
        return self._deletion.delete(DEAD_LETTERS.name, f"{noted('letters', ['topic', _POSITION])} OR {posts}")

    def delete_habits(self) -> int:
        """Deletes what the forecast has learned of the people as authors, and returns the number of rows. Parameters of
        channels stay, which name nobody."""
        people = self._eraser.people
        self._deletion.add("habits", [(account, people.channel or "") for account in people.accounts])
        columns = ["author_id"] if people.channel is None else ["author_id", "channel"]
        return self._deletion.delete(FORECAST_HABITS.name, noted("habits", columns))

    def _spikes(self) -> Iterator[Mapping[str, Any]]:
        names = [column.name for column in CONVERSATION_SPIKES.columns if column.name != "stored_at"]
        times = {column.name: column.type for column in CONVERSATION_SPIKES.columns if "DateTime" in column.type}
        columns = ", ".join(f"toUnixTimestamp({name})" if name in times else name for name in names)
        sql = f"SELECT {columns} FROM {CONVERSATION_SPIKES.name} ORDER BY spike_id, version, stored_at"
        for block in self._clickhouse.stream(sql, block=1000):
            for values in zip(*block, strict=True):
                yield dict(zip(names, values, strict=True))

    def _without_names(self, spike: Mapping[str, Any]) -> Mapping[str, Any]:
        eraser = self._eraser
        rows = zip(spike["top_posts"], spike["top_counts"], spike["top_urls"], strict=True)
        kept = [row for row in rows if row[0] not in eraser.posts and not eraser.names(row[0])]
        authors = self._author_keys(spike["top_authors"])
        return {
            **spike,
            "top_posts": [post for post, _, _ in kept],
            "top_counts": [count for _, count, _ in kept],
            "top_urls": ["" if url in eraser.addresses or eraser.names(url) else url for _, _, url in kept],
            "top_authors": [author for author in spike["top_authors"] if author not in authors],
            "reasons": [reason for reason in spike["reasons"] if not eraser.names(reason)],
            "evidence": "" if eraser.names(spike["evidence"]) else spike["evidence"],
        }

    def _author_keys(self, authors: Sequence[str]) -> list[str]:
        people = self._eraser.people
        found = []
        for key in authors:
            channel, _, account = key.removeprefix("author:").partition("/")
            if account in people.accounts and people.channel in (None, channel):
                found.append(key)
        return found

    def _letters(self) -> Iterator[tuple[Any, ...]]:
        people = self._eraser.people
        texts = dict.fromkeys((*people.spellings, *(f'"{account}"' for account in people.accounts)))
        needles = list(texts)
        for start in range(0, len(needles), _NEEDLES_AT_ONCE):
            tables: ExternalTables = {
                "needles": ("text String", [(text,) for text in needles[start : start + _NEEDLES_AT_ONCE]])
            }
            blocks = self._clickhouse.stream(
                f"SELECT topic, partition, offset, hex(key), hex(bytes), hex(reason) FROM {DEAD_LETTERS.name} WHERE "
                "multiSearchAny(concat(key, '\\n', bytes, '\\n', reason, '\\n', field), "
                "(SELECT groupArray(text) FROM needles))",
                tables=tables,
                block=1000,
            )
            for block in blocks:
                yield from zip(*block, strict=True)

    def _names(self, key: bytes, value: bytes, reason: bytes) -> bool:
        quoted = [f'"{account}"' for account in self._eraser.people.accounts]
        for text in (each.decode("utf-8", "replace") for each in (key, value, reason)):
            if self._eraser.names(text) or any(word in text for word in quoted):
                return True
        return False

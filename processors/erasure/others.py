"""Rows that no fold makes: spikes with their evidence, groups and deliveries, dead letters, and habits of authors."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from pipeline.canonical_url import canonical_url
from pipeline.clickhouse.client import ClickHouse
from processors.erasure.deletion import Deletion, noted, stored_before
from processors.erasure.log import ERASED_POSTS
from processors.erasure.people import People, holds_needle, needle_tables, table_of
from processors.erasure.tombstones import Eraser
from schemas.tables import (
    ALERT_DELIVERIES,
    CARRY_OVER,
    CONVERSATION_SPIKES,
    DEAD_LETTERS,
    FORECAST_HABITS,
    SPIKE_GROUPS,
)

BY_SPIKE: Final = (CONVERSATION_SPIKES, SPIKE_GROUPS, ALERT_DELIVERIES)

_OLDER_SPIKES: Final = "older spikes"
"""Target of `erasing`: spikes that were stored again without the names, whose older rows go."""

_POSITION: Final = "concat(toString(partition), '\\0', toString(offset))"


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
        # What a crashed run has rewritten is rewritten again, because everything that is older than this run goes.
        naming, leaving = {spike_id for spike_id, _ in self._deletion.keys(_OLDER_SPIKES)}, set()
        for spike in self._spikes():
            spike_id, conversation = spike["spike_id"], spike["conversation"]
            current[spike_id] = spike  # the latest state comes last
            if conversation in gone or conversation.removeprefix("thread:") in self._eraser.posts:
                leaving.add(spike_id)
            elif self._without_names(spike) != spike:
                naming.add(spike_id)
        self._deletion.add("spikes", [(spike_id, "") for spike_id in leaving])
        # Also where the latest state is clean: an earlier one may not be.
        changed = [self._without_names(current[spike_id]) for spike_id in sorted(naming & current.keys() - leaving)]
        if changed:
            names = CONVERSATION_SPIKES.sent
            severity = {"severity": [spike["severity"] for spike in changed]}
            counted = {"counted_until": [spike["counted_until"] for spike in changed]}
            columns: dict[str, Any] = {name: [spike[name] for spike in changed] for name in names}
            columns["version"] = np.array(columns["version"], np.uint64)
            self._clickhouse.insert(CONVERSATION_SPIKES.name, columns | severity | counted)
            self._deletion.add(_OLDER_SPIKES, [(spike["spike_id"], "") for spike in changed])
        older = f"{noted(_OLDER_SPIKES, ['spike_id'])} AND {stored_before(since)}"
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

    def delete_messages(self) -> int:
        """Deletes messages of carry_over that name the people or their posts: those of posts that the log still makes
        are clean already. Returns the number of rows."""
        people, found = self._eraser.people, set[tuple[str, str]]()
        addresses = [f"url:{canonical_url(address)}" for address in self._eraser.addresses]
        addresses += [f"post:{post_id}" for post_id in self._eraser.posts]
        search = f" OR {holds_needle('message')}" if people.spellings else ""
        for needles in needle_tables(people.spellings) or [{}]:
            answer = self._clickhouse.select(
                f"SELECT message, post_id, toString(channel) FROM {CARRY_OVER.name} "
                f"WHERE message IN (SELECT text FROM addresses){search}",
                tables={**table_of("addresses", addresses), **needles},
            )
            found |= {
                (message, post_id)
                for message, post_id, channel in (zip(*answer, strict=True) if answer else ())
                if people.channel in (None, channel) and (message in addresses or self._eraser.names(message))
            }
        self._deletion.add("messages", found)
        return self._deletion.delete(CARRY_OVER.name, noted("messages", ["message", "post_id"]))

    def _spikes(self) -> Iterator[Mapping[str, Any]]:
        names = [column.name for column in CONVERSATION_SPIKES.columns if column.name != "stored_at"]
        times = {column.name: column.type for column in CONVERSATION_SPIKES.columns if "DateTime" in column.type}
        columns = ", ".join(f"toUnixTimestamp({name})" if name in times else name for name in names)
        sql = f"SELECT {columns} FROM {CONVERSATION_SPIKES.name} ORDER BY spike_id, version, stored_at"
        for block in self._clickhouse.stream(sql, block=1000):
            for values in zip(*block, strict=True):
                spike = dict(zip(names, values, strict=True))
                # An array of one empty text is stored as an empty array (pipeline/clickhouse/insert_format.py).
                spike["top_urls"] = [*spike["top_urls"], *[""] * (len(spike["top_posts"]) - len(spike["top_urls"]))]
                yield spike

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
        for needles in needle_tables(list(dict.fromkeys((*people.spellings, *_quoted(people))))):
            blocks = self._clickhouse.stream(
                f"SELECT topic, partition, offset, hex(key), hex(bytes), hex(reason) FROM {DEAD_LETTERS.name} WHERE "
                + holds_needle("concat(key, '\\n', bytes, '\\n', reason, '\\n', field)"),
                tables=needles,
                block=1000,
            )
            for block in blocks:
                yield from zip(*block, strict=True)

    def _names(self, key: bytes, value: bytes, reason: bytes) -> bool:
        quoted = _quoted(self._eraser.people)
        for text in (each.decode("utf-8", "replace") for each in (key, value, reason)):
            if self._eraser.names(text) or any(word in text for word in quoted):
                return True
        return False


def _quoted(people: People) -> list[str]:
    """Returns the accounts as strings of JSON, with and without escapes."""
    return [json.dumps(account, ensure_ascii=is_ascii) for account in people.accounts for is_ascii in (False, True)]

"""Finds the events of people in the log, and puts tombstones and events without names in their place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from pipeline.clickhouse.client import ClickHouse, ExternalTables
from processors.erasure.deletion import Deletion, noted, stored_before
from processors.erasure.people import People, holds_needle, needle_tables, table_of
from processors.erasure.tombstones import IDS, Eraser, EventRow
from schemas.tables import CLEANED_VERSION, EVENTS, POSTS, TOMBSTONE_VERSION
from schemas.topics import KINDS

IDENTITY: Final = "concat(toString(kind), '\\0', toString(action), '\\0', event_id)"
"""SQL of an event's identity within its post."""

ERASED_POSTS: Final = "erased posts"
AFFECTED_POSTS: Final = "affected posts"
PANES: Final = "minutes"
COUNTED_PANES: Final = "counted minutes"
_REPLACED: Final = "replaced events"
_CLEANED: Final = "cleaned events"
"""Targets of `erasing`: posts that leave as a whole, posts that are folded anew, minutes of conversations (with seconds
since 1970) that are added up anew, those of them whose posts or comments change, keys of events that something else
stands for now, and keys of events whose older content goes."""

_NUMBERED: Final = {
    "occurred_at": "toUnixTimestamp64Micro",
    "received_at": "toUnixTimestamp64Milli",
    "kind": "toInt8",
    "action": "toInt8",
}
_TEXTS: Final = (
    "concat(event_id, '\\n', parent_id, '\\n', target_id, '\\n', url, '\\n', quotes, '\\n', text, '\\n', "
    "arrayStringConcat(conversations, '\\n'), '\\n', arrayStringConcat(links, '\\n'), '\\n', "
    "arrayStringConcat(mapValues(labels), '\\n'))"
)
_POST_TEXTS: Final = (
    "concat(url, '\\n', quotes, '\\n', text, '\\n', arrayStringConcat(conversations, '\\n'), '\\n', "
    "arrayStringConcat(links, '\\n'), '\\n', arrayStringConcat(mentions, '\\n'), '\\n', "
    "arrayStringConcat(mapValues(labels), '\\n'))"
)
_AT_ONCE: Final = 50_000
_LATE_MS: Final = 600_000
"""How long before a search began a row may have been stored that the search did not see, because its INSERT went on."""


@dataclass
class FoundEvents:
    """The result of a search: the posts that leave as a whole with their addresses, keys of events to look at, and ids
    of events with the text of an account in them. `server_ms`: the server's time at the beginning of the search."""

    posts: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)
    keys: set[tuple[str, str]] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    server_ms: int = 0


class ErasedLog:
    """The table `events` during an erasure. Every method blocks, and raises Unavailable, Refused."""

    def __init__(self, clickhouse: ClickHouse, deletion: Deletion, people: People) -> None:
        self._clickhouse, self._deletion, self._people = clickhouse, deletion, people

    def find(self, is_running: bool = True, earlier: FoundEvents | None = None) -> FoundEvents:
        """Finds posts by the people, events by the people, and events of others that name the people or their posts.
        An erasure that `is_running` also takes up the posts that a crashed one has noted. With what was found `earlier`
        only rows that were stored since then are looked through, or all if these bring a post."""
        found = FoundEvents({post_id for post_id, _ in self._deletion.keys(ERASED_POSTS)} if is_running else set())
        found.server_ms = self._deletion.server_ms()
        accounts = table_of("accounts", self._people.accounts)
        rows = self._select(
            "post_id, url",
            "kind = 'post' AND action = 'add' AND (actor_id IN (SELECT text FROM accounts) "
            f"OR author_id IN (SELECT text FROM accounts)){self._on_channel}",
            accounts,
        )
        for post_id, url in [*rows, *self._posts_of_people(accounts)]:
            found.posts.add(post_id)
            found.addresses.update(filter(None, [url]))
        stored = ""
        if earlier is not None and (found.posts, found.addresses) == (earlier.posts, earlier.addresses):
            found.keys, found.ids = set(earlier.keys), set(earlier.ids)
            stored = f" AND NOT {stored_before(earlier.server_ms - _LATE_MS)}"
        tables = {
            **accounts,
            **table_of("posts", sorted(found.posts)),
            **table_of("addresses", sorted(found.addresses)),
            **table_of("mentions", [f"mention:{name}" for name in self._people.mentions]),
        }
        condition = (
            "actor_id IN (SELECT text FROM accounts) OR quotes IN (SELECT text FROM posts) "
            "OR arrayExists(link -> link IN (SELECT text FROM addresses), links) "
            "OR arrayExists(key -> key IN (SELECT text FROM mentions), conversations)"
        )
        for *key, _ in self._keys(f"({condition}){stored}", tables):
            found.keys.add((key[0], key[1]))
        for needles in needle_tables(self._people.spellings):
            condition = f"{holds_needle(_TEXTS)}{stored}"
            for post_id, identity, ids in self._keys(condition, {**table_of("posts", sorted(found.posts)), **needles}):
                found.keys.add((post_id, identity))
                found.ids.update(ids)
        return found

    def _posts_of_people(self, accounts: ExternalTables) -> list[tuple[str, str]]:
        """Reads the posts whose rows name the people, with their addresses: retention may have deleted the events."""
        answer = self._clickhouse.select(
            f"SELECT DISTINCT post_id, url FROM {POSTS.name} "
            f"WHERE author_id IN (SELECT text FROM accounts){self._on_channel}",
            tables={**accounts, **self._channels},
        )
        return list(zip(*answer, strict=True)) if answer else []

    def naming_posts(self, found: FoundEvents) -> list[str]:
        """Finds posts whose stored rows may name the people, when all other posts were folded anew."""
        tables = {
            **table_of("theirs", sorted(found.posts)),
            **table_of("addresses", sorted(found.addresses)),
            **table_of("names", self._people.mentions),
            **self._channels,
        }
        naming = (
            "quotes IN (SELECT text FROM theirs) OR arrayExists(link -> link IN (SELECT text FROM addresses), links) "
            "OR arrayExists(name -> name IN (SELECT text FROM names), mentions)"
        )
        spellings, post_ids = self._people.spellings, set[str]()
        search = f" OR {holds_needle(_POST_TEXTS)}" if spellings else ""
        for needles in needle_tables(spellings) or [{}]:
            answer = self._clickhouse.select(
                f"SELECT DISTINCT post_id FROM {POSTS.name} WHERE ({naming}{search}){self._on_channel}",
                tables={**tables, **needles},
            )
            post_ids.update(answer[0] if answer else ())
        return sorted(post_ids)

    def erase(self, found: FoundEvents, eraser: Eraser) -> int:
        """Stores what stands for the found events, and deletes these and the posts that leave. Returns how many events
        became tombstones or left with their posts."""
        self._deletion.add(ERASED_POSTS, [(post_id, "") for post_id in found.posts])
        keys, erased = sorted(found.keys), 0
        for start in range(0, len(keys), _AT_ONCE):
            pairs = [(event, self._after(event, eraser)) for event in self._events(keys[start : start + _AT_ONCE])]
            made = [(before, after) for before, after in pairs if after["version"] >= CLEANED_VERSION]
            erased += sum(after["version"] >= TOMBSTONE_VERSION > before["version"] for before, after in made)
            # What has to be done is noted first, for the case that this run does not come to its end.
            self._deletion.add(AFFECTED_POSTS, [(before["post_id"], "") for before, _ in made])
            self._deletion.add(_CLEANED, [_key(after) for _, after in made])
            self._insert([after for before, after in made if after is not before])
            self._deletion.add(_REPLACED, [_key(before) for before, after in made if _key(before) != _key(after)])
            self._deletion.add(_REPLACED, [_key(after) for _, after in made if after["version"] >= TOMBSTONE_VERSION])
        cleaned = CLEANED_VERSION + eraser.epoch
        changed = noted(_REPLACED, ["post_id", IDENTITY])
        self._deletion.delete(EVENTS.name, f"{changed} AND version < {TOMBSTONE_VERSION}")
        self._deletion.delete(
            EVENTS.name,
            f"{noted(_CLEANED, ['post_id', IDENTITY])} AND version < {cleaned} "
            f"AND (post_id, {IDENTITY}) IN (SELECT post_id, {IDENTITY} FROM {EVENTS.name} WHERE version = {cleaned})",
        )
        erased += self._deletion.delete(EVENTS.name, noted(ERASED_POSTS, ["post_id"]))
        return erased

    @staticmethod
    def _after(event: EventRow, eraser: Eraser) -> EventRow:
        """Returns what stands for an event. One that an earlier run has cleaned is stored again, above older rows."""
        after = eraser.erased(event)
        if after is event and CLEANED_VERSION <= event["version"] < TOMBSTONE_VERSION:
            return {**event, "version": CLEANED_VERSION + eraser.epoch}
        return after

    @property
    def _on_channel(self) -> str:
        return "" if self._people.channel is None else " AND channel IN (SELECT text FROM channels)"

    @property
    def _channels(self) -> ExternalTables:
        return table_of("channels", [] if self._people.channel is None else [self._people.channel])

    def _keys(self, condition: str, tables: ExternalTables) -> Iterator[tuple[Any, ...]]:
        """Yields the post, the identity and the ids of events."""
        where = f"post_id NOT IN (SELECT text FROM posts) AND ({condition}){self._on_channel}"
        return self._select(f"post_id, {IDENTITY}, [{', '.join(IDS)}]", where, tables)

    def _select(self, columns: str, where: str, tables: ExternalTables) -> Iterator[tuple[Any, ...]]:
        sql = f"SELECT DISTINCT {columns} FROM {EVENTS.name} WHERE {where}"
        for block in self._clickhouse.stream(sql, tables={**tables, **self._channels}):
            yield from zip(*block, strict=True)

    def _events(self, keys: Sequence[tuple[str, str]]) -> Iterator[EventRow]:
        """Reads the current rows of events."""
        names = EVENTS.sent
        columns = ", ".join(map(_read, names))
        for start in range(0, len(keys), _AT_ONCE):
            wanted = list(keys[start : start + _AT_ONCE])
            blocks = self._clickhouse.stream(
                f"SELECT {columns} FROM {EVENTS.name} FINAL WHERE post_id IN (SELECT id FROM wanted) "
                f"AND (post_id, {IDENTITY}) IN (SELECT id, rest FROM wanted)",
                tables={"wanted": ("id String, rest String", wanted)},
            )
            for block in blocks:
                for values in zip(*block, strict=True):
                    event = dict(zip(names, values, strict=True))
                    flat = event["labels"]
                    event["labels"] = dict(zip(flat[::2], flat[1::2], strict=True))
                    yield event

    def _insert(self, events: Sequence[EventRow]) -> None:
        columns: dict[str, list[Any]] = {name: [event[name] for event in events] for name in EVENTS.sent}
        columns["labels"] = [[part for pair in labels.items() for part in pair] for labels in columns["labels"]]
        if events:
            numbers = {"version": np.array(columns["version"], np.uint64)}
            self._clickhouse.insert(EVENTS.name, {**columns, **numbers})


def _read(name: str) -> str:
    """Returns SQL for a column of an event in the form of an INSERT."""
    if name in _NUMBERED:
        return f"{_NUMBERED[name]}({name})"
    if name != "labels":
        return name
    return "arrayFlatten(arrayMap((key, value) -> [key::String, value], mapKeys(labels), mapValues(labels)))"


def _key(event: EventRow) -> tuple[str, str]:
    action = ("add", "retract")[event["action"] - 1]
    return event["post_id"], f"{KINDS[event['kind'] - 1]}\0{action}\0{event['event_id']}"

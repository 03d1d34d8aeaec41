"""The store of a Bluesky stream: which post each record was about, and the position in the stream.

A delete names its record alone, so a like that is taken back tells nothing of its post. Records and position are one
SQLite file, and change in one transaction behind the acks of Kafka: after kill -9 the position is never ahead of the
records that were seen before it. The oldest records leave by age and by number.
"""

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.errors import Refused
from producers.bluesky.at_uri import EVENT_COLLECTIONS
from producers.bluesky.jetstream.stream_position import Position
from producers.bluesky.mapping import RecordKey

COLLECTION_NUMBERS: Final = {nsid: number for number, nsid in enumerate(EVENT_COLLECTIONS.values())}
NSIDS: Final = tuple(EVENT_COLLECTIONS.values())

PAGE_RECORDS: Final = 1000
"""Records of an actor that are read at a time."""

EXPIRED_AT_ONCE: Final = 20_000
"""The most expired records that one transaction removes, so that none takes long."""

STORE_FORMAT: Final = 1

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY, actor INTEGER NOT NULL, rkey TEXT NOT NULL, collection INTEGER NOT NULL,
    seen INTEGER NOT NULL, kinds TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS records_by_key ON records (actor, rkey, collection);
CREATE TABLE IF NOT EXISTS position (
    one INTEGER PRIMARY KEY CHECK (one = 1), version TEXT NOT NULL, host TEXT NOT NULL, cursor INTEGER NOT NULL,
    time_us INTEGER NOT NULL
);
"""
INSERT: Final = "INSERT OR IGNORE INTO records (actor, rkey, collection, seen, kinds) VALUES (?, ?, ?, ?, ?)"
SAVE: Final = "INSERT OR REPLACE INTO position VALUES (1, ?, ?, ?, ?)"
OF_ACTOR: Final = """
SELECT rkey, collection, kinds FROM records WHERE actor = ? AND (rkey, collection) > (?, ?)
ORDER BY rkey, collection LIMIT ?
"""


@dataclass(frozen=True)
class StorePolicy:
    """Bounds of the records: days by the server's clock, and number (about 150 bytes each)."""

    keep_days: float = 14
    keep_records: int = 10_000_000


class RecordStore:
    """The open file. Belongs to one process at a time, and to one thread.

    Records that are not saved yet are in memory, and found like those of the file.
    """

    def __init__(self, path: Path, policy: StorePolicy | None = None) -> None:
        """Opens or makes the file. Raises Refused where the file is damaged, cannot be written or is in use."""
        self._path, self._policy = path, policy or StorePolicy()
        self._unsaved: dict[RecordKey, tuple[dict[str, str], int]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Refused(f"{path}: cannot be written ({error.strerror}); name another file by --state") from None
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise Refused(f"{path}: in use by another process; end that one, or name another file by --state") from None
        self._database = self._open()

    def find(self, key: RecordKey) -> dict[str, str] | None:
        """Returns the events of a record, as kind -> post_id; None for an unknown record. Raises Refused."""
        if unsaved := self._unsaved.get(key):
            return unsaved[0]
        where = (_actor(key.did), key.rkey, COLLECTION_NUMBERS[key.collection])
        with self._refusing():
            row = self._database.execute(
                "SELECT kinds FROM records WHERE actor = ? AND rkey = ? AND collection = ?", where
            ).fetchone()
        return None if row is None else _kinds(row[0])

    def of_actor(self, did: str) -> Iterator[tuple[RecordKey, dict[str, str]]]:
        """Yields the records of an actor, each with kind -> post_id. Raises Refused."""
        yield from [(key, kinds) for key, (kinds, _) in self._unsaved.items() if key.did == did]
        unsaved = {key for key in self._unsaved if key.did == did}
        actor, last = _actor(did), ("", -1)
        while True:
            with self._refusing():
                page = self._database.execute(OF_ACTOR, (actor, *last, PAGE_RECORDS)).fetchall()
            for rkey, collection, kinds in page:
                if (key := RecordKey(did, NSIDS[collection], rkey)) not in unsaved:
                    yield key, _kinds(kinds)
            if len(page) < PAGE_RECORDS:
                return
            last = (page[-1][0], page[-1][1])

    def add(self, key: RecordKey, kinds: dict[str, str], seen_us: int) -> None:
        """Adds the events of a record, until `save` in memory. The first of a key stays."""
        self._unsaved.setdefault(key, (kinds, seen_us // 1_000_000))

    def position(self) -> Position | None:
        """Returns the saved position; None before the first `save`. Raises Refused."""
        with self._refusing():
            row = self._database.execute("SELECT version, host, cursor, time_us FROM position").fetchone()
        return None if row is None else Position(*row)

    def save(self, position: Position | None) -> None:
        """Saves the position with all added records, and removes expired records. Raises Refused."""
        rows = [
            (_actor(key.did), key.rkey, COLLECTION_NUMBERS[key.collection], seen, _text(kinds))
            for key, (kinds, seen) in self._unsaved.items()
        ]
        with self._refusing(), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(INSERT, rows)
            if position is not None:
                self._database.execute(SAVE, position)
                self._expire(position.time_us // 1_000_000)
        self._unsaved.clear()

    def close(self) -> None:
        """Closes the file without saving."""
        self._database.close()
        os.close(self._lock)

    def _expire(self, now: int) -> None:
        """Removes the oldest records beyond the bounds. Their ids grow as they come."""
        oldest, newest = self._database.execute("SELECT min(id), max(id) FROM records").fetchone()
        if oldest is None:
            return
        bound = max(newest - self._policy.keep_records, oldest - 1)
        until = int(now - self._policy.keep_days * 86_400)
        rows = self._database.execute(
            "SELECT id, seen FROM records WHERE id > ? ORDER BY id LIMIT ?", (bound, EXPIRED_AT_ONCE)
        )
        for number, seen in rows:
            if seen >= until:
                break
            bound = number
        bound = min(bound, oldest - 1 + EXPIRED_AT_ONCE)
        if bound >= oldest:
            self._database.execute("DELETE FROM records WHERE id <= ?", (bound,))

    def _open(self) -> sqlite3.Connection:
        with self._refusing():
            database = sqlite3.connect(self._path, isolation_level=None)
            database.execute("PRAGMA journal_mode = WAL")
            # A power loss may take the last transactions, each whole: the position goes back with its records.
            database.execute("PRAGMA synchronous = NORMAL")
            (found,) = database.execute("PRAGMA user_version").fetchone()
            if found not in (0, STORE_FORMAT):
                raise Refused(f"{self._path}: of another version of this program; name another file by --state")
            database.executescript(SCHEMA)
            database.execute(f"PRAGMA user_version = {STORE_FORMAT}")
        return database

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Turns the errors of SQLite into Refused."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise Refused(f"{self._path}: {error}; is the disk full? Name another file by --state") from None
        except sqlite3.DatabaseError as error:
            raise Refused(f"{self._path}: unreadable ({error}); delete it to start anew") from None


def _actor(did: str) -> int:
    """Returns the number of an actor: 64 bits of a hash."""
    return int.from_bytes(hashlib.blake2b(did.encode(), digest_size=8).digest(), signed=True)


def _text(kinds: dict[str, str]) -> str:
    return " ".join(f"{kind} {post_id}" for kind, post_id in kinds.items())


def _kinds(text: str) -> dict[str, str]:
    words = text.split(" ")
    return dict(zip(words[::2], words[1::2], strict=True))

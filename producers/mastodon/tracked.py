"""The statuses that are watched, on disk: their counters, when each is looked at again, and an outbox.

Events and the change of state that they tell are kept in one transaction before the events are sent, and leave the
outbox once they are acked. After a crash the outbox is sent again: nothing is lost, whatever the server says by then.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.errors import Refused

TRACKED: Final = """
CREATE TABLE IF NOT EXISTS tracked (
    id TEXT PRIMARY KEY, uri TEXT NOT NULL, root TEXT NOT NULL, kind TEXT NOT NULL, actor TEXT NOT NULL,
    created REAL NOT NULL, due REAL NOT NULL, replies INTEGER NOT NULL DEFAULT 0, likes TEXT, shares TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tracked_by_due ON tracked (due);
CREATE INDEX IF NOT EXISTS tracked_by_created ON tracked (created);
CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS positions (name TEXT PRIMARY KEY, last TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass
class Tracked:
    """A status that is watched. `root`: uri of the thread's first status; `created` and `due`: seconds since 1970;
    `replies`: the counter as it was when its answers were read; `likes` and `shares`: states of counters as text."""

    id: str
    uri: str
    root: str
    kind: str
    actor: str
    created: float
    due: float
    replies: int = 0
    likes: str | None = None
    shares: str | None = None


class TrackedStatuses:
    """The statuses of one server. Used by one thread."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes a new one. Raises Refused."""
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._database = sqlite3.connect(path, isolation_level=None, timeout=0)
            self._database.execute("PRAGMA journal_mode = WAL")
        except (OSError, sqlite3.Error) as error:
            raise self._refused(error) from None

    def begin(self) -> None:
        """Begins the transaction, in which nobody else may write. Raises Refused for a file in use."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            for statement in filter(str.strip, TRACKED.split(";")):
                self._database.execute(statement)
        except sqlite3.Error as error:
            raise self._refused(error) from None

    def commit(self) -> None:
        """Makes all changes durable."""
        self._database.execute("COMMIT")
        self._database.execute("BEGIN IMMEDIATE")

    def rollback(self) -> None:
        """Drops the changes since the last commit."""
        self._database.execute("ROLLBACK")
        self._database.execute("BEGIN IMMEDIATE")

    def keep(self, item: str) -> int:
        """Puts an item into the outbox, and returns its number there; numbers rise."""
        number = self._database.execute("INSERT INTO outbox (item) VALUES (?)", (item,)).lastrowid
        assert number is not None, "an INSERT of one row"
        return number

    def outbox(self) -> list[tuple[int, str]]:
        """Returns numbers and items of the outbox, in order."""
        return self._database.execute("SELECT number, item FROM outbox ORDER BY number").fetchall()

    def release(self, number: int) -> None:
        """Removes the items up to a number from the outbox."""
        self._database.execute("DELETE FROM outbox WHERE number <= ?", (number,))

    def close(self) -> None:
        """Drops changes since the last commit, and closes the file."""
        self._database.close()

    def get(self, status_id: str) -> Tracked | None:
        """Returns a status; None where it is not watched."""
        row = self._database.execute("SELECT * FROM tracked WHERE id = ?", (status_id,)).fetchone()
        return None if row is None else Tracked(*row)

    def put(self, status: Tracked) -> None:
        """Adds or replaces a status."""
        values = tuple(vars(status).values())
        self._database.execute(f"INSERT OR REPLACE INTO tracked VALUES ({', '.join('?' * len(values))})", values)

    def drop(self, status_id: str) -> None:
        """Forgets a status."""
        self._database.execute("DELETE FROM tracked WHERE id = ?", (status_id,))

    def due(self, now: float, limit: int) -> list[Tracked]:
        """Returns the statuses that are to be looked at, the longest overdue first."""
        rows = self._database.execute("SELECT * FROM tracked WHERE due <= ? ORDER BY due LIMIT ?", (now, limit))
        return [Tracked(*row) for row in rows]

    def prune(self, before: float, most: int) -> None:
        """Forgets statuses that were written before a time, and the oldest beyond `most`."""
        self._database.execute("DELETE FROM tracked WHERE created < ?", (before,))
        self._database.execute(
            "DELETE FROM tracked WHERE id IN (SELECT id FROM tracked ORDER BY created DESC LIMIT -1 OFFSET ?)", (most,)
        )

    def __iter__(self) -> Iterator[Tracked]:
        return (Tracked(*row) for row in self._database.execute("SELECT * FROM tracked ORDER BY id"))

    def _refused(self, error: Exception) -> Refused:
        return Refused(f"{self._path}: cannot be used ({error}); name another file by --state, or end its user")

    def position(self, name: str) -> str | None:
        """Returns the id of the newest status that was read from a timeline."""
        row = self._database.execute("SELECT last FROM positions WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_position(self, name: str, last: str) -> None:
        """Keeps the id of the newest status that was read from a timeline."""
        self._database.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", (name, last))

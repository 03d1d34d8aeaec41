"""Remembers the meaning of ids: a Delete names a note by its id alone, and a reply names the note that it answers.

The memory is a SQLite file (ENGAGEMENT_COLLECT_STATE), or lives in the process where no file is set: then an Undo or
Delete by id alone of an object from before the last start cannot be resolved. Bounded by number and age.
"""

import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from pipeline.errors import SettingsError
from schemas.topics import Kind

MOST_OBJECTS: Final = 2_000_000
"""Some 400 bytes each in the file."""

AGE_SECONDS: Final = 90 * 24 * 3600
WRITES_PER_PRUNING: Final = 20_000
TABLE: Final = """
CREATE TABLE IF NOT EXISTS known (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, post_id TEXT NOT NULL, event_id TEXT NOT NULL, actor_id TEXT NOT NULL,
    seen INTEGER NOT NULL
) WITHOUT ROWID
"""


class KnownObject(NamedTuple):
    """The meaning of a foreign id: an event."""

    kind: Kind
    post_id: str
    event_id: str
    actor_id: str


class KnownObjects:
    """Known objects by foreign id. Belongs to one thread; a call takes some 20 us."""

    def __init__(self, path: Path | None = None, most: int = MOST_OBJECTS) -> None:
        """Opens or makes the file. Raises SettingsError."""
        self._most, self._writes = most, 0
        try:
            self._database = sqlite3.connect(path or ":memory:", isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(TABLE)
            self._database.execute("CREATE INDEX IF NOT EXISTS known_seen ON known (seen)")
        except sqlite3.Error as error:
            raise SettingsError(f"ENGAGEMENT_COLLECT_STATE: {path} cannot be used ({error}); name a file") from None

    def find(self, name: str) -> KnownObject | None:
        """Returns the meaning of an id; None for an unknown id."""
        row = self._database.execute(
            "SELECT kind, post_id, event_id, actor_id FROM known WHERE id = ?", (_storable(name),)
        ).fetchone()
        return KnownObject(*row) if row is not None else None

    def note(self, name: str, known: KnownObject) -> None:
        """Remembers the meaning of an id."""
        self._database.execute(
            "INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?, ?, ?)",
            (_storable(name), known.kind, *map(_storable, known[1:]), int(time.time())),
        )
        self._writes += 1
        if self._writes % WRITES_PER_PRUNING == 0:
            self.prune(int(time.time()))

    def prune(self, now: int) -> None:
        """Forgets objects beyond the age, and the oldest beyond the number."""
        self._database.execute("DELETE FROM known WHERE seen < ?", (now - AGE_SECONDS,))
        [count] = self._database.execute("SELECT count(*) FROM known").fetchone()
        if count > self._most:
            self._database.execute(
                "DELETE FROM known WHERE id IN (SELECT id FROM known ORDER BY seen LIMIT ?)", (count - self._most,)
            )

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()

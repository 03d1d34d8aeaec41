"""Mastodon's stream, for servers that give a token: statuses and deletions the moment they happen."""

import queue
from collections.abc import Sequence
from typing import Any, Final, Protocol

from mastodon import Mastodon, StreamListener

WAITING_ITEMS: Final = 10_000
"""Items that wait at most; further ones are dropped and counted, since the timelines bring them again."""

RECONNECT_SECONDS: Final = 5

StreamItem = tuple[str, Any]
"""`update` and `edit` with a status, or `delete` with the id of one."""


class Stream(Protocol):
    """What a stream brings. `dropped`: items for which there was no room."""

    dropped: int

    def take(self, seconds: float) -> Sequence[StreamItem]:
        """Returns what has come, in order; waits for it at most so long."""
        ...


class MastodonStream(StreamListener):
    """The stream of all public statuses, or of the local ones, read by a thread; connects again after each cut."""

    def __init__(self, api: Mastodon, *, is_local: bool) -> None:
        """Starts the thread."""
        self.dropped = 0
        self._items: queue.Queue[StreamItem] = queue.Queue(WAITING_ITEMS)
        self._connection: Any = api.stream_public(
            self, run_async=True, reconnect_async=True, reconnect_async_wait_sec=RECONNECT_SECONDS, local=is_local
        )

    def close(self) -> None:
        """Ends the thread."""
        self._connection.close()

    def on_update(self, status: Any) -> None:
        """Keeps a new status. Called by the thread."""
        self._put(("update", status))

    def on_status_update(self, status: Any) -> None:
        """Keeps an edited status. Called by the thread."""
        self._put(("edit", status))

    def on_delete(self, status_id: Any) -> None:
        """Keeps the id of a deleted status. Called by the thread."""
        self._put(("delete", str(status_id)))

    def on_abort(self, err: Exception) -> None:
        """Ignores a cut: the thread connects again."""

    def take(self, seconds: float) -> Sequence[StreamItem]:
        taken: list[StreamItem] = []
        try:
            taken.append(self._items.get(timeout=seconds))
            while True:
                taken.append(self._items.get_nowait())
        except queue.Empty:
            return taken

    def _put(self, item: StreamItem) -> None:
        try:
            self._items.put_nowait(item)
        except queue.Full:
            self.dropped += 1

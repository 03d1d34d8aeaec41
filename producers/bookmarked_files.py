"""Sources of files in order, which go on from a bookmark."""

from collections.abc import Iterator

from producers.bookmark import Bookmark, FilePosition
from producers.source import Source


class BookmarkedFiles(Source):
    """A source of files. With a bookmark the source is resumable.

    `has_events`: some line was an event, or was sent by an earlier run. A subclass keeps `_position`, the file and line
    of the last item, whose line counts as sent.
    """

    def __init__(self, names: tuple[str, ...], bookmark: Bookmark | None) -> None:
        self._names, self._bookmark = names, bookmark
        self.is_resumable = bookmark is not None
        self.has_events = False
        self._position = (0, 0)

    def save_position(self) -> None:
        if self._bookmark is not None:
            self._bookmark.write(FilePosition(*self._position))

    def forget_position(self) -> None:
        if self._bookmark is not None:
            self._bookmark.remove()

    def _unsent_files(self) -> Iterator[tuple[int, int]]:
        """Reads the bookmark, and yields the number of each file that is not sent, and how many of its lines are.
        Raises Refused."""
        start = self._bookmark.read() if self._bookmark else FilePosition()
        self._position = (start.file, start.line)
        for number in range(start.file, len(self._names)):
            yield number, start.line if number == start.file else 0

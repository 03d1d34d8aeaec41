"""The bookmark of a replay: a small file that is replaced atomically, so that kill -9 leaves either the old or the new
content."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import Refused
from pipeline.files.documents import read_json, replace_json


@dataclass(frozen=True)
class FilePosition:
    """A position in the files of a replay: `line` of file number `file` (from 0)."""

    file: int = 0
    line: int = 0


class Bookmark:
    """The position up to which a replay is acked. The stored names of the replay's files keep the bookmark from a
    replay of other files."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self._path = path
        self._names = [str(Path(name).resolve()) for name in names]

    def read(self) -> FilePosition:
        """Returns the stored position, or the start. Raises Refused for a damaged bookmark and for one of other
        files."""
        try:
            stored = read_json(self._path)
            position, names = FilePosition(_count_in(stored, "file"), _count_in(stored, "line")), list(stored["names"])
        except FileNotFoundError:
            return FilePosition()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refused(f"{self._path}: unreadable ({error}); delete it to start anew") from None
        if names != self._names:
            raise Refused(
                f"{self._path} is of another replay ({', '.join(map(str, names))}); delete it, or name another by "
                "--state"
            )
        return position

    def write(self, position: FilePosition) -> None:
        """Replaces the bookmark. Raises Refused when the file cannot be written."""
        try:
            replace_json(self._path, {**asdict(position), "names": self._names})
        except OSError as error:
            raise Refused(f"{self._path}: cannot be written ({error.strerror}); name another file by --state") from None

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def _count_in(stored: Any, name: str) -> int:
    """Returns a number of the bookmark. Raises ValueError, KeyError and TypeError for what is no position."""
    count = stored[name]
    if not isinstance(count, int) or count < 0:
        raise ValueError(f"{name}: not a number from 0 on")
    return count

"""Where a replay stands: a small file that is replaced in one step, so that kill -9 leaves the old or the new one,
never half."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.errors import Refused


@dataclass(frozen=True)
class Place:
    """Everything up to and with `line` of file number `file` (from 0) is acked."""

    file: int = 0
    line: int = 0


class Bookmark:
    """A place in the files of a replay. The file also names them: another replay's bookmark is refused."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self._path = path
        self._names = [str(Path(name).resolve()) for name in names]

    def read(self) -> Place:
        """The start where there is no bookmark. Raises Refused for one that is damaged or of other files."""
        try:
            said = json.loads(self._path.read_text("utf-8"))
            place, names = Place(int(said["file"]), int(said["line"])), said["names"]
        except FileNotFoundError:
            return Place()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refused(f"{self._path}: unreadable ({error}); delete it to start anew") from None
        if names != self._names:
            raise Refused(
                f"{self._path} is of another replay ({', '.join(map(str, names))}); delete it, or name another by "
                "--state"
            )
        return place

    def write(self, place: Place) -> None:
        """Raises Refused when it cannot be written."""
        draft = self._path.with_name(self._path.name + ".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("w", encoding="utf-8") as stream:
                json.dump({**asdict(place), "names": self._names}, stream)
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(self._path)
        except OSError as error:
            raise Refused(f"{self._path}: cannot be written ({error.strerror}); name another file by --state") from None

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

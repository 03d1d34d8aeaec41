"""Hours of GH Archive: their names, and their files fetched one at a time into a folder that keeps them."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final

import requests
from urllib3.exceptions import HTTPError

from pipeline.errors import Refused, SettingsError, Unavailable

BASE: Final = "https://data.gharchive.org"
AGENT: Final = "engagement-pipeline"
TRIES: Final = 5
REQUEST_SECONDS: Final = 60
CHUNK_BYTES: Final = 1 << 20
LONGEST_WAIT: Final = 300.0

_HOURS: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(?:-(\d{1,2})(?:\.\.(\d{1,2}))?)?")


def is_hours(name: str) -> bool:
    """Tells whether a name is one of hours: 2015-01-01-15, 2015-01-01-9..17, or 2015-01-01 for a day."""
    return _HOURS.fullmatch(name) is not None


def hours_of(name: str) -> list[str]:
    """Returns the names of the files of some hours, in order. Raises SettingsError for hours that do not exist."""
    found = _HOURS.fullmatch(name)
    try:
        if found is None:
            raise ValueError
        day = date.fromisoformat(found[1])
        first = int(found[2] or 0)
        last = int(found[3]) if found[3] else (first if found[2] else 23)
        if not first <= last <= 23:
            raise ValueError
    except ValueError:
        raise SettingsError(f"{name} names no hours; write 2015-01-01-15, 2015-01-01-9..17 or 2015-01-01") from None
    return [f"{day.isoformat()}-{hour}.json.gz" for hour in range(first, last + 1)]


class HourFiles:
    """Files of hours, fetched once and kept in `folder`. `base`: the address of the archive."""

    def __init__(self, folder: Path, base: str = BASE, sleep: Callable[[float], None] = time.sleep) -> None:
        self._folder, self._base, self._sleep = folder, base.rstrip("/"), sleep
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"{AGENT}/{version(AGENT)}"

    def fetch(self, name: str) -> Path:
        """Returns the file of an hour. Blocks while it is fetched. Raises Refused where the archive has none, and
        Unavailable after TRIES."""
        path = self._folder / name
        if path.is_file():
            return path
        draft = path.with_name(f"{name}.new")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for number in range(1, TRIES + 1):
                wait = self._try(name, draft, last=number == TRIES)
                if wait is None:
                    draft.replace(path)
                    return path
                self._sleep(min(max(wait, 2.0**number), LONGEST_WAIT))
        except OSError as error:
            raise Refused(f"{self._folder}: cannot be written ({error.strerror}); name another by --folder") from None
        raise AssertionError("the last try returns or raises")

    def _try(self, name: str, draft: Path, *, last: bool) -> float | None:
        """Fetches a file once. Returns None when it is whole, else the seconds that the server asks to wait."""
        address = f"{self._base}/{name}"
        try:
            with self._session.get(address, stream=True, timeout=REQUEST_SECONDS) as answer:
                if answer.status_code == 404:
                    raise Refused(f"{address}: not there; an hour comes some minutes after its end: {_age(name)}")
                if answer.ok:
                    if self._write(answer, draft):
                        return None
                    reason = "the file came in part only"
                else:
                    reason = f"{answer.status_code} {answer.reason}"
                wait = _seconds(answer.headers.get("Retry-After"))
        except (requests.RequestException, HTTPError) as error:
            reason, wait = str(error)[:200], 0.0
        if last:
            raise Unavailable(f"{address} does not come ({reason}); try later")
        return wait

    def _write(self, answer: requests.Response, draft: Path) -> bool:
        """Writes the body of an answer. Returns whether it is whole."""
        size = 0
        with draft.open("wb") as file:
            for chunk in _raw(answer):
                file.write(chunk)
                size += len(chunk)
        expected = answer.headers.get("Content-Length")
        return expected is None or int(expected) == size


def _raw(answer: requests.Response) -> Iterator[bytes]:
    """Yields the bytes of a body as they are, packed."""
    while chunk := answer.raw.read(CHUNK_BYTES, decode_content=False):
        yield chunk


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdecimal() else 0.0


def _age(name: str) -> str:
    """Tells when an hour begins, for people who ask why its file is missing."""
    day, _, hour = name.removesuffix(".json.gz").rpartition("-")
    begin = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(hours=int(hour))
    return f"{name} begins {begin:%Y-%m-%d %H:%M} UTC"


def expand(names: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yields the files of the names in order, each with whether it is an hour of the archive or a file of one's own."""
    for name in names:
        if is_hours(name) and not Path(name).exists():
            yield from ((hour, True) for hour in hours_of(name))
        else:
            yield name, False

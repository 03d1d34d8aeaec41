"""Reads finished posts from files of events, as `replay` takes them, for the backtest of the forecast.

A file is our own NDJSON or the cascades format (`type` and `ts` for `kind` and `occurred_at`), plain or gzipped; its
first line tells which. The creation of a post is the time in the CSV, else that of the post's own event, else that of
its first event; the author is that of the CSV, else that of the post's own event.
"""

import csv
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, NotRequired

import numpy as np
from pydantic import AwareDatetime, Field, TypeAdapter
from typing_extensions import TypedDict

from pipeline.errors import Refused
from pipeline.event_files import EventFile, is_cascades
from processors.virality.fit.cascades import FOREVER, Cascades
from schemas.event_time import IsoText
from schemas.events import Action, Id, InvalidEvent, OptionalId, validate_or_explain
from schemas.topics import Kind

_MINUTE_US: Final = 60_000_000

OnBadLine = Callable[[str], None]


class PostInfo(NamedTuple):
    """A post's line in the CSV: time of creation in microseconds since 1970 (None: not given), and author (empty: not
    given)."""

    created: int | None
    author: str


NO_INFO: Final = PostInfo(None, "")


def read_cascades(names: tuple[str, ...], posts: Path | None, on_bad_line: OnBadLine) -> Cascades:
    """Reads all shares from the files. `on_bad_line` is called with each line that is no event, as file:line: field:
    reason; such lines are left out. Raises Refused for files that cannot be read, and where no file has an event."""
    history = _History()
    for post_id, info in read_post_info(posts).items() if posts is not None else ():
        history.info[history.number(post_id)] = info
    for name in names:
        for where, event in _events(name):
            if isinstance(event, InvalidEvent):
                on_bad_line(f"{where}: {event}")
            else:
                history.add(event)
    if not history.end:
        raise Refused(f"{', '.join(names)}: no event in the files; name files that `engagement replay` takes")
    return history.cascades()


def read_post_info(path: Path) -> dict[str, PostInfo]:
    """Reads the CSV of posts. Raises Refused with file, line and field."""
    posts: dict[str, PostInfo] = {}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = csv.DictReader(stream)
            for field in ("post_id", "created_at"):
                if field not in (rows.fieldnames or ()):
                    raise Refused(f"{path}:1: {field}: no such column; the first line must name post_id and created_at")
            for row in rows:
                text = (row["created_at"] or "").strip()
                try:
                    created_at = datetime.fromisoformat(text)
                except ValueError:
                    created_at = None
                if text and (created_at is None or created_at.tzinfo is None):
                    raise Refused(
                        f"{path}:{rows.line_num}: created_at: {text[:40]!r} is not a time in ISO 8601 with its zone, "
                        "such as 2026-01-01T12:00:00Z; correct the line or leave its time empty"
                    )
                created = _microseconds(created_at) if created_at else None
                posts[row["post_id"]] = PostInfo(created, row.get("author_id") or "")
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}; name a readable CSV of posts") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refused(f"{path}: not a CSV file in UTF-8 ({error}); name a CSV of posts") from None
    return posts


class _Line(TypedDict):
    """The fields of an event that a backtest needs; the rules are those of `schemas.events.Event`."""

    event_id: NotRequired[OptionalId | None]
    kind: Kind
    action: NotRequired[Action]
    post_id: Id
    actor_id: NotRequired[Id]
    author_id: NotRequired[OptionalId | None]
    target_id: NotRequired[OptionalId | None]
    occurred_at: Annotated[AwareDatetime, IsoText()]


class _CascadeLine(TypedDict):
    event_id: Id
    kind: Annotated[Kind, Field(validation_alias="type")]
    post_id: Id
    occurred_at: Annotated[AwareDatetime, IsoText(), Field(validation_alias="ts")]


class _History:
    """The events read so far. Times in microseconds since 1970."""

    def __init__(self) -> None:
        self.end = 0
        self.info: dict[int, PostInfo] = {}  # by the CSV
        self._numbers: dict[str, int] = {}
        self._posted: dict[int, int] = {}  # by the post's own event
        self._wrote: dict[int, tuple[int, str]] = {}  # time and author of the post's newest own event
        self._first: dict[int, int] = {}  # by its first event
        self._shares: dict[tuple[int, str], int] = {}
        self._retracted: dict[tuple[int, str], int] = {}

    def number(self, post_id: str) -> int:
        return self._numbers.setdefault(post_id, len(self._numbers))

    def add(self, event: _Line) -> None:
        """Adds an event. The first event of an identity counts, and the earliest of several retractions."""
        number, at, kind = self.number(event["post_id"]), _microseconds(event["occurred_at"]), event["kind"]
        self.end = max(self.end, at)
        adds = event.get("action") != "retract"
        if adds and at < self._first.get(number, at + 1):
            self._first[number] = at
        if kind == "share":
            if adds:
                self._shares.setdefault((number, event["event_id"] or ""), at)
            else:
                target = (number, event["target_id"] or "")
                self._retracted[target] = min(self._retracted.get(target, at), at)
        elif kind == "post" and adds:
            self._posted[number] = min(self._posted.get(number, at), at)
            wrote = (at, event.get("author_id") or event.get("actor_id", ""))
            self._wrote[number] = max(self._wrote.get(number, wrote), wrote)

    def cascades(self) -> Cascades:
        info = [self.info.get(number, NO_INFO) for number in range(len(self._numbers))]
        created = np.array(
            [
                self._posted.get(number, self._first.get(number, self.end))
                if by_csv.created is None
                else by_csv.created
                for number, by_csv in enumerate(info)
            ],
            np.int64,
        )
        authors = [by_csv.author or self._wrote.get(number, (0, ""))[1] for number, by_csv in enumerate(info)]
        post = np.array([number for number, _ in self._shares], np.int64)
        at = np.array(list(self._shares.values()), np.int64)
        gone = np.full(len(post), FOREVER)
        for entry, share in enumerate(self._shares):
            if share in self._retracted:
                gone[entry] = (self._retracted[share] - created[share[0]]) // _MINUTE_US
        return Cascades(
            list(self._numbers),
            authors,
            created // _MINUTE_US,
            (self.end - created) // _MINUTE_US,
            post,
            (at - created[post]) // _MINUTE_US,
            gone,
            np.ones(len(post), np.int64),
        )


def _events(name: str) -> Iterator[tuple[str, _Line | InvalidEvent]]:
    """Yields each line that is not blank: its position and its event. Raises Refused."""
    validate = None
    for number, line in EventFile(name).lines():
        validate = validate or TypeAdapter(_CascadeLine if is_cascades(line) else _Line).validator.validate_json
        try:
            event: _Line | InvalidEvent = _parse(line, validate)
        except InvalidEvent as error:
            event = error
        yield f"{name}:{number}", event


def _parse(line: bytes, validate: Callable[[bytes], Any]) -> Any:
    """Raises InvalidEvent."""
    event = validate_or_explain(validate, line)
    if event.get("action") == "retract":
        if not event.get("target_id"):
            raise InvalidEvent("target_id", "a retraction must name the event_id that it takes back")
    elif not event.get("event_id"):
        raise InvalidEvent("event_id", "Field required: without it a repeated line could not be told from a new event")
    return event


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)

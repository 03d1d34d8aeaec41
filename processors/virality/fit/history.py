"""Reads finished posts from files of events, in the formats of `replay`, for the backtest of the forecast.

A line is our own NDJSON or the cascades format (`type` and `ts` for `kind` and `occurred_at`). A post is created at the
time in the CSV, else at that of its own event, else at that of its first event; its author is that of the CSV, else
that of its own event.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, NotRequired

import numpy as np
from pydantic import AwareDatetime, Field, TypeAdapter
from typing_extensions import TypedDict

from pipeline.errors import Refused
from pipeline.files.events import is_cascade
from pipeline.files.flaws import Flaw
from pipeline.files.tables import Row, read_table
from pipeline.files.text_file import DEFAULT_READING, ReadPolicy, TextFile
from processors.virality.fit.cascades import FOREVER, Cascades
from schemas.event_time import IsoText
from schemas.events import EARLIEST, EARLY_SAID, Action, Id, InvalidEvent, OptionalId, validate_or_explain
from schemas.topics import Kind

_MINUTE_US: Final = 60_000_000
_POST_COLUMNS: Final = ("post_id", "created_at")

OnBadLine = Callable[[str], None]


class PostInfo(NamedTuple):
    """A post's line in the CSV: time of creation in microseconds since 1970 (None: not given), and author (empty: not
    given)."""

    created: int | None
    author: str


NO_INFO: Final = PostInfo(None, "")


def read_cascades(
    names: tuple[str, ...], posts: Path | None, on_bad_line: OnBadLine, policy: ReadPolicy = DEFAULT_READING
) -> Cascades:
    """Reads all shares from the files. `on_bad_line` is called with each line that is no event, as file:line: field:
    reason; such lines are left out. Raises Refused for files that cannot be read, and where no file has an event."""
    history = _History()
    if posts is not None:
        for post_id, info in read_post_info(posts, on_bad_line, policy).items():
            history.info[history.number(post_id)] = info
    for name in names:
        for where, event in _events(name, policy):
            if isinstance(event, InvalidEvent):
                on_bad_line(f"{where}: {event}")
            else:
                history.add(event)
    if not history.end:
        raise Refused(f"{', '.join(names)}: no event in the files; name files that `engagement replay` takes")
    return history.cascades()


def read_post_info(path: Path, on_bad_line: OnBadLine, policy: ReadPolicy = DEFAULT_READING) -> dict[str, PostInfo]:
    """Reads the CSV of posts; of two rows with one post_id the first is the post. `on_bad_line` is called with each row
    that is no post, as file:line: column: reason. Raises Refused for a file that cannot be read, lacks a column, or has
    no row that is a post."""
    posts: dict[str, PostInfo] = {}
    for number, row in read_table(str(path), _POST_COLUMNS, policy):
        flaw = row.reason if isinstance(row, Flaw) else _flaw_of(row, posts)
        if flaw or isinstance(row, Flaw):
            on_bad_line(f"{path}:{number}: {flaw}")
            continue
        text = row["created_at"].strip()
        created = _microseconds(datetime.fromisoformat(text)) if text else None
        posts[row["post_id"]] = PostInfo(created, row.get("author_id", ""))
    if not posts:
        raise Refused(f"{path}: no row is a post; mend the file, or leave out --posts")
    return posts


def _flaw_of(row: Row, posts: dict[str, PostInfo]) -> str:
    """Returns the bad column of a row, and the reason; empty for a post."""
    if not row["post_id"]:
        return "post_id: empty; name the post"
    if row["post_id"] in posts:
        return f"post_id: {row['post_id'][:100]!r} stands in a row before; leave one of the rows"
    text = row["created_at"].strip()
    try:
        is_time = not text or (datetime.fromisoformat(text).tzinfo is not None)
    except ValueError:
        is_time = False
    if is_time:
        return ""
    return (
        f"created_at: {text[:40]!r} is not a time in ISO 8601 with its zone, such as 2026-01-01T12:00:00Z; correct the "
        "line or leave its time empty"
    )


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


def _events(name: str, policy: ReadPolicy) -> Iterator[tuple[str, _Line | InvalidEvent]]:
    """Yields position and event of each filled line. Raises Refused."""
    validate_own, validate_cascade = _validators()
    for number, line in TextFile(name, policy).filled_lines():
        event: _Line | InvalidEvent
        try:
            if isinstance(line, Flaw):
                event = InvalidEvent("", line.reason)
            else:
                event = _parse(line, validate_cascade if is_cascade(line) else validate_own)
        except InvalidEvent as error:
            event = error
        yield f"{name}:{number}", event


@cache
def _validators() -> tuple[Callable[[bytes], Any], Callable[[bytes], Any]]:
    """Returns the parsers of our own format and of the cascades format."""
    own, cascades = TypeAdapter(_Line), TypeAdapter(_CascadeLine)
    return own.validator.validate_json, cascades.validator.validate_json


def _parse(line: bytes, validate: Callable[[bytes], Any]) -> Any:
    """Raises InvalidEvent."""
    event = validate_or_explain(validate, line)
    if event["occurred_at"] < EARLIEST:
        raise InvalidEvent("ts" if is_cascade(line) else "occurred_at", EARLY_SAID)
    if event.get("action") == "retract":
        if not event.get("target_id"):
            raise InvalidEvent("target_id", "a retraction must name the event_id that it takes back")
    elif not event.get("event_id"):
        raise InvalidEvent("event_id", "Field required: without it a repeated line could not be told from a new event")
    return event


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)

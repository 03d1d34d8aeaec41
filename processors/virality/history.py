"""Finished posts from files of events: what `replay` takes, read for the backtest of the forecast.

Our own NDJSON or the cascades format (`type` and `ts` for `kind` and `occurred_at`), plain or gzipped; the first line
tells which. A post was made when the CSV says, else when its own event says, else at its first event; it is by whom the
CSV says, else its own event.
"""

import csv
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, NotRequired

import numpy as np
from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from pipeline.errors import Refused
from pipeline.event_files import EventFile, is_cascades
from processors.virality.cascades import FOREVER, Cascades
from schemas.events import Action, Id, InvalidEvent, IsoText, explain
from schemas.topics import Kind

MINUTE_US: Final = 60_000_000

Complain = Callable[[str], None]


class Said(NamedTuple):
    """What a CSV says of a post: when it was made, microseconds since 1970, and by whom (empty: not said)."""

    made: int | None
    author: str


NOTHING: Final = Said(None, "")


def read_cascades(names: tuple[str, ...], posts: Path | None, complain: Complain) -> Cascades:
    """Everything that the files say of shares. `complain` is told of each line that is no event, as file:line: field:
    what; such lines are left out. Raises Refused for what cannot be read, and where not one event was found."""
    history = _History()
    for post_id, said in read_posts(posts).items() if posts is not None else ():
        history.said[history.number(post_id)] = said
    for name in names:
        for where, found in _events(name):
            if isinstance(found, InvalidEvent):
                complain(f"{where}: {found}")
            else:
                history.take(found)
    if not history.end:
        raise Refused(f"{', '.join(names)}: no event in it; name files that `engagement replay` takes")
    return history.cascades()


def read_posts(path: Path) -> dict[str, Said]:
    """What a CSV says of each post. Raises Refused with file, line and field."""
    found: dict[str, Said] = {}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = csv.DictReader(stream)
            for field in ("post_id", "created_at"):
                if field not in (rows.fieldnames or ()):
                    raise Refused(f"{path}:1: {field}: no such column; the first line must name post_id and created_at")
            for row in rows:
                said = (row["created_at"] or "").strip()
                try:
                    made = datetime.fromisoformat(said)
                except ValueError:
                    made = None
                if said and (made is None or made.tzinfo is None):
                    raise Refused(
                        f"{path}:{rows.line_num}: created_at: {said[:40]!r} is no time in ISO 8601 with its zone, such "
                        "as 2026-01-01T12:00:00Z; mend the line or leave its time empty"
                    )
                found[row["post_id"]] = Said(_microseconds(made) if made else None, row.get("author_id") or "")
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}; name a readable CSV of posts") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refused(f"{path}: no CSV in UTF-8 ({error}); name a CSV of posts") from None
    return found


class _Line(TypedDict):
    """What a backtest needs of an event; the rules are those of `schemas.events.Event`."""

    event_id: NotRequired[Id]
    kind: Kind
    action: NotRequired[Action]
    post_id: Id
    actor_id: NotRequired[Id]
    author_id: NotRequired[Id | None]
    target_id: NotRequired[Id | None]
    occurred_at: Annotated[AwareDatetime, IsoText()]


class _CascadeLine(TypedDict):
    event_id: Id
    kind: Annotated[Kind, Field(validation_alias="type")]
    post_id: Id
    occurred_at: Annotated[AwareDatetime, IsoText(), Field(validation_alias="ts")]


class _History:
    """What was read so far. Times in microseconds since 1970."""

    def __init__(self) -> None:
        self.end = 0
        self.said: dict[int, Said] = {}  # by the CSV
        self._numbers: dict[str, int] = {}
        self._posted: dict[int, int] = {}  # by the post's own event
        self._wrote: dict[int, tuple[int, str]] = {}  # when its own newest event says so, and who
        self._first: dict[int, int] = {}  # by its first event
        self._shares: dict[tuple[int, str], int] = {}
        self._taken: dict[tuple[int, str], int] = {}

    def number(self, post_id: str) -> int:
        return self._numbers.setdefault(post_id, len(self._numbers))

    def take(self, event: _Line) -> None:
        """The first event of an identity counts, and the earliest of several retractions."""
        number, at, kind = self.number(event["post_id"]), _microseconds(event["occurred_at"]), event["kind"]
        self.end = max(self.end, at)
        adds = event.get("action") != "retract"
        if adds and at < self._first.get(number, at + 1):
            self._first[number] = at
        if kind == "share":
            if adds:
                self._shares.setdefault((number, event["event_id"]), at)
            else:
                target = (number, event["target_id"] or "")
                self._taken[target] = min(self._taken.get(target, at), at)
        elif kind == "post" and adds:
            self._posted[number] = min(self._posted.get(number, at), at)
            wrote = (at, event.get("author_id") or event.get("actor_id", ""))
            self._wrote[number] = max(self._wrote.get(number, wrote), wrote)

    def cascades(self) -> Cascades:
        said = [self.said.get(number, NOTHING) for number in range(len(self._numbers))]
        created = np.array(
            [
                self._posted.get(number, self._first.get(number, self.end)) if by_csv.made is None else by_csv.made
                for number, by_csv in enumerate(said)
            ],
            np.int64,
        )
        authors = [by_csv.author or self._wrote.get(number, (0, ""))[1] for number, by_csv in enumerate(said)]
        post = np.array([number for number, _ in self._shares], np.int64)
        at = np.array(list(self._shares.values()), np.int64)
        gone = np.full(len(post), FOREVER)
        for place, share in enumerate(self._shares):
            if share in self._taken:
                gone[place] = (self._taken[share] - created[share[0]]) // MINUTE_US
        return Cascades(
            list(self._numbers),
            authors,
            created // MINUTE_US,
            (self.end - created) // MINUTE_US,
            post,
            (at - created[post]) // MINUTE_US,
            gone,
            np.ones(len(post), np.int64),
        )


def _events(name: str) -> Iterator[tuple[str, _Line | InvalidEvent]]:
    """Every line that is not blank: its place and what it holds. Raises Refused."""
    validate = None
    for number, line in EventFile(name).lines():
        validate = validate or TypeAdapter(_CascadeLine if is_cascades(line) else _Line).validator.validate_json
        try:
            found: _Line | InvalidEvent = _parse(line, validate)
        except InvalidEvent as error:
            found = error
        yield f"{name}:{number}", found


def _parse(line: bytes, validate: Callable[[bytes], Any]) -> Any:
    """Raises InvalidEvent."""
    try:
        found = validate(line)
    except ValidationError as error:
        raise explain(error) from None
    if found.get("action") == "retract":
        if found.get("target_id") is None:
            raise InvalidEvent("target_id", "a retraction must name the event_id that it takes back")
    elif "event_id" not in found:
        raise InvalidEvent("event_id", "Field required: without it a repeated line could not be told from a new event")
    return found


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)

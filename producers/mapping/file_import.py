"""The source of foreign files: their rows, mapped to events, at least once."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline.files.flaws import Flaw
from pipeline.files.text_file import DEFAULT_READING, ReadPolicy
from producers.bookmark import Bookmark, FilePosition
from producers.event_lines import ParsedLine
from producers.mapping.mapper import EventMap
from producers.mapping.rows import read_rows
from producers.source import SKIPPED, BadInput, Source, SourceItem, SourceRecord
from schemas.events import InvalidEvent


class FileImport(Source):
    """The events of foreign files in order. With a bookmark the source is resumable.

    `locate` returns the file of a name, and may fetch it. `has_events`: some row was an event, or was sent by an
    earlier import.
    """

    verb = "imported"

    def __init__(
        self,
        names: tuple[str, ...],
        event_map: EventMap,
        bookmark: Bookmark | None = None,
        policy: ReadPolicy = DEFAULT_READING,
        locate: Callable[[str], str] = str,
    ) -> None:
        self._names, self._map, self._bookmark, self._policy, self._locate = names, event_map, bookmark, policy, locate
        self.is_resumable = bookmark is not None
        self.has_events = False
        self._position = (0, 0)
        self._notes: Counter[str] = Counter()

    @property
    def notes(self) -> Mapping[str, int]:
        return self._notes

    def items(self) -> Iterator[SourceItem]:
        start = self._bookmark.read() if self._bookmark else FilePosition()
        self._position = (start.file, start.line)
        for number in range(start.file, len(self._names)):
            yield from self._items_of_file(number, start.line if number == start.file else 0)

    def save_position(self) -> None:
        if self._bookmark is not None:
            self._bookmark.write(FilePosition(*self._position))

    def forget_position(self) -> None:
        if self._bookmark is not None:
            self._bookmark.remove()

    def _items_of_file(self, number: int, sent_rows: int) -> Iterator[SourceItem]:
        """Yields the items of file `number`, whose rows up to line `sent_rows` an earlier import has sent."""
        name = self._locate(self._names[number])
        for line_number, row in read_rows(name, self._map.input, self._map.columns, self._policy):
            if line_number <= sent_rows:
                self.has_events = True
                yield SKIPPED
                continue
            items = items_of_row(row, self._map, f"{name}:{line_number}")
            if not items:
                self._notes["rows_without_event"] += 1
            for place, item in enumerate(items):
                if place == len(items) - 1:  # a row is sent when its last event is
                    self._position = (number, line_number)
                self.has_events |= isinstance(item, SourceRecord)
                yield item


def items_of_row(row: Any | Flaw, event_map: EventMap, place: str, raw: bytes | None = None) -> list[SourceItem]:
    """Returns the items of a row: the records of its events, and a bad input for each flaw, with the bytes `raw`, or
    the row as JSON where None."""
    if isinstance(row, Flaw):
        return [BadInput(place, row.reason)]
    items: list[SourceItem] = []
    for mapped in event_map.map_row(row):
        if isinstance(mapped, InvalidEvent):
            items.append(BadInput(place, str(mapped), raw_row(row) if raw is None else raw, mapped.field))
        else:
            items.append(_record(mapped, place))
    return items


def raw_row(row: Any) -> bytes:
    """Returns a row as JSON, for dead letters and for people."""
    return json.dumps(row, default=str, ensure_ascii=False).encode("utf-8", "replace")


def _record(parsed: ParsedLine, place: str) -> SourceRecord:
    event = parsed.event
    return SourceRecord(event["kind"], event["post_id"].encode(), parsed.value, event["occurred_at"], place=place)

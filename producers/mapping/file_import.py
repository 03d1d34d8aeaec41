"""The source of foreign files: their rows, mapped to events, at least once."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline.files.flaws import Flaw
from pipeline.files.text_file import DEFAULT_READING, ReadPolicy
from producers.bookmark import Bookmark
from producers.bookmarked_files import BookmarkedFiles
from producers.event_lines import ParsedLine
from producers.mapping.mapper import EventMap
from producers.mapping.rows import read_rows
from producers.source import SKIPPED, BadInput, SourceItem, SourceRecord
from schemas.events import InvalidEvent


class FileImport(BookmarkedFiles):
    """The events of foreign files in order. `locate` returns the file of a name, and may fetch it."""

    verb = "imported"

    def __init__(
        self,
        names: tuple[str, ...],
        event_map: EventMap,
        bookmark: Bookmark | None = None,
        policy: ReadPolicy = DEFAULT_READING,
        locate: Callable[[str], str] = str,
    ) -> None:
        super().__init__(names, bookmark)
        self._map, self._policy, self._locate = event_map, policy, locate
        self._notes: Counter[str] = Counter()

    @property
    def notes(self) -> Mapping[str, int]:
        return self._notes

    def items(self) -> Iterator[SourceItem]:
        for number, sent_rows in self._unsent_files():
            yield from self._items_of_file(number, sent_rows)

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

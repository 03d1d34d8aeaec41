"""The source of a foreign topic: its records, decoded and mapped to events, at least once."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pipeline.errors import Refused
from pipeline.files.documents import read_json, replace_json
from pipeline.topic_reader import TopicRecord
from producers.mapping.decoders import DecodeRow
from producers.mapping.file_import import items_of_row
from producers.mapping.mapper import EventMap
from producers.source import IDLE, BadInput, Source, SourceItem

Follow = Callable[[Mapping[int, int]], Iterator[TopicRecord | None]]
"""Yields the records of a topic from the offsets of its partitions on, and None about once a second without any."""


class OffsetFile:
    """The next offset of each partition of a topic, on disk. `identity` names cluster, topic and map, and keeps the
    offsets from other imports."""

    def __init__(self, path: Path, identity: tuple[str, ...]) -> None:
        self._path = path
        self._identity = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]

    def read(self) -> dict[int, int]:
        """Returns the offsets; none for the first import. Raises Refused for a damaged file, and one of another
        import."""
        try:
            stored = read_json(self._path)
            offsets = {int(partition): int(offset) for partition, offset in stored["offsets"].items()}
            identity = stored["identity"]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refused(f"{self._path}: unreadable ({error}); delete it to import the topic anew") from None
        if identity != self._identity:
            raise Refused(f"{self._path} is of another import; name another file by --state")
        return offsets

    def write(self, offsets: Mapping[int, int]) -> None:
        """Replaces the offsets. Raises Refused."""
        try:
            replace_json(self._path, {"identity": self._identity, "offsets": {str(k): v for k, v in offsets.items()}})
        except OSError as error:
            raise Refused(f"{self._path}: cannot be written ({error.strerror}); name another file by --state") from None


class TopicImport(Source):
    """The events of a foreign topic. `until_idle`: ends after so many seconds without a record; None: goes on until
    `stop` is called."""

    verb = "imported"
    is_live: ClassVar[bool] = True
    is_resumable = True

    def __init__(
        self,
        follow: Follow,
        decode: DecodeRow,
        event_map: EventMap,
        offsets: OffsetFile,
        until_idle: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._follow, self._decode, self._map, self._offsets = follow, decode, event_map, offsets
        self._until_idle, self._clock = until_idle, clock
        self._next: dict[int, int] = {}
        self._is_stopped = False
        self._notes: Counter[str] = Counter()

    @property
    def notes(self) -> Mapping[str, int]:
        return self._notes

    def stop(self) -> None:
        """Ends the run behind the record at hand, or within about a second. Safe in a signal handler."""
        self._is_stopped = True

    def save_position(self) -> None:
        self._offsets.write(self._next)

    def items(self) -> Iterator[SourceItem]:
        self._next = self._offsets.read()
        last = self._clock()
        for record in self._follow(dict(self._next)):
            if record is not None:
                last = self._clock()
                yield from self._items_of(record)
            else:
                yield IDLE
            if self._is_stopped or (
                record is None and self._until_idle is not None and self._clock() - last >= self._until_idle
            ):
                return

    def _items_of(self, record: TopicRecord) -> Iterator[SourceItem]:
        """Yields the items of a record. The record counts as sent with its last item."""
        place = f"{record.topic} {record.partition} {record.offset}"
        items: list[SourceItem] = []
        if record.value is None:
            self._notes["tombstones"] += 1
        else:
            try:
                row: Any = self._decode(record.value)
            except ValueError as error:
                items = [BadInput(place, str(error), record.value)]
            else:
                items = items_of_row(row, self._map, place, record.value)
                self._notes["records_without_event"] += not items
        yield from items[:-1]
        self._next[record.partition] = record.offset + 1
        yield from items[-1:]

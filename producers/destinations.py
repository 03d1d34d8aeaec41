"""Destinations of the send loop: the topics of Kafka, or a file."""

import json
import sys
from base64 import b64encode
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TextIO

from pipeline.errors import Refused
from pipeline.files.opening import STDIN
from pipeline.kafka.topics import partition_of
from pipeline.record_producer import RecordProducer
from producers.source import SourceRecord
from schemas.topics import Topics


class Destination(Protocol):
    """The end to which the send loop passes records."""

    def add(self, record: SourceRecord) -> None:
        """Takes a record, which may wait until `flush`. Raises Refused and Unavailable."""
        ...

    def flush(self) -> None:
        """Blocks until all records are safe. Raises Refused and Unavailable."""
        ...


class KafkaDestination:
    """The topics of events. With one partition a record meant for the wrong partition becomes a duplicate."""

    def __init__(self, producer: RecordProducer, topics: Topics, partitions: int) -> None:
        self._producer, self._topics, self._partitions = producer, topics, partitions

    def add(self, record: SourceRecord) -> None:
        partition = None
        if record.partition_shift:
            right = partition_of(record.key or b"", self._partitions)
            partition = (right + record.partition_shift) % self._partitions
        self._producer.send(self._topics.of(record.kind), record.key, record.value, partition=partition)

    def flush(self) -> None:
        self._producer.flush()


class FileDestination:
    """An NDJSON file (- is stdout), which `replay` reads.

    Malformed records, which no NDJSON can hold, go into the file with the suffix `.malformed`: a JSON object a line,
    {kind, key_base64, value_base64, shift}. With stdout malformed records are left out.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file. Raises Refused."""
        self._path, self._files = path, ExitStack()
        self._malformed: TextIO | None = None
        try:
            self._events = sys.stdout.buffer if str(path) == STDIN else self._files.enter_context(path.open("wb"))
        except OSError as error:
            raise self._refused(error) from None

    def add(self, record: SourceRecord) -> None:
        try:
            if record.is_event and record.value is not None:
                self._events.write(record.value + b"\n")
            elif str(self._path) != STDIN:
                self._open_malformed().write(json.dumps(_as_json(record)) + "\n")
        except OSError as error:
            raise self._refused(error) from None

    def flush(self) -> None:
        try:
            self._events.flush()
        except OSError as error:
            raise self._refused(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        try:
            self._files.close()
        except OSError as error:
            raise self._refused(error) from None

    def _open_malformed(self) -> TextIO:
        if self._malformed is None:
            path = self._path.with_name(self._path.name + ".malformed")
            self._malformed = self._files.enter_context(path.open("w", encoding="ascii"))
        return self._malformed

    def _refused(self, error: OSError) -> Refused:
        return Refused(f"{self._path}: cannot be written ({error.strerror}); name another file by --out")


def _as_json(record: SourceRecord) -> dict[str, str | int | None]:
    def text(value: bytes | None) -> str | None:
        return None if value is None else b64encode(value).decode("ascii")

    return {
        "kind": record.kind,
        "key_base64": text(record.key),
        "value_base64": text(record.value),
        "shift": record.partition_shift,
    }

"""Destinations of the send loop: the topics of Kafka, or a file."""

import json
import sys
import time
from base64 import b64encode
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TextIO

from pipeline.dead_letters import DeadLetter
from pipeline.errors import RecordTooLarge, Refused
from pipeline.files.opening import STDIN
from pipeline.kafka.topics import partition_of
from pipeline.privacy.pseudonyms import WITHHELD_HEADER, Pseudonyms
from pipeline.record_producer import RecordProducer
from producers.source import BadInput, SourceRecord
from schemas.topics import Topics

CUT_BYTES: Final = 1000
"""The bytes that are kept of a bad input above the size limit, whose least value is 1,024."""


class Destination(Protocol):
    """The end to which the send loop passes records."""

    def add(self, record: SourceRecord) -> None:
        """Takes a record, which may wait until `flush`. Raises Refused and Unavailable."""
        ...

    def add_dead(self, bad: BadInput) -> None:
        """Keeps the value of a bad input, with place and reason. Raises as `add` does."""
        ...

    def flush(self) -> None:
        """Blocks until all records are safe. Raises Refused and Unavailable."""
        ...


class KafkaDestination:
    """The topics of events. With one partition a record meant for the wrong partition becomes a duplicate."""

    def __init__(
        self, producer: RecordProducer, topics: Topics, partitions: int, pseudonyms: Pseudonyms | None = None
    ) -> None:
        """With `pseudonyms` accounts are replaced, and the bytes of bad inputs are left out."""
        self._producer, self._topics, self._partitions = producer, topics, partitions
        self._pseudonyms = pseudonyms

    def add(self, record: SourceRecord) -> None:
        if self._pseudonyms is not None and record.is_event and record.value is not None:
            key, value = self._pseudonyms.record(record.value)
            record = record._replace(key=key, value=value)
        partition = None
        if record.partition_shift:
            right = partition_of(record.key or b"", self._partitions)
            partition = (right + record.partition_shift) % self._partitions
        self._producer.send(self._topics.of(record.kind), record.key, record.value, partition=partition)

    def add_dead(self, bad: BadInput) -> None:
        """Sends a bad input to the topic of dead letters, with the headers of `pipeline.dead_letters`: `topic` and
        `source` name its place, partition and offset are -1. Of bytes above the size limit the first are kept, and
        `cut-from` has their number."""
        letter = DeadLetter(
            topic=bad.place,
            partition=-1,
            offset=-1,
            key=None,
            value=bad.value,
            received_at_ms=time.time_ns() // 1_000_000,
            reason=bad.reason,
            field=bad.field,
        )
        headers = [*letter.headers, ("source", bad.place.encode("utf-8", "replace"))]
        topic, value = self._topics.dead_letters, bad.value or b""
        if self._pseudonyms is not None:
            headers.append((WITHHELD_HEADER, str(len(value)).encode()))
            value = b""
        try:
            self._producer.send(topic, None, value, headers=headers)
        except RecordTooLarge:
            headers.append(("cut-from", str(len(value)).encode()))
            self._producer.send(topic, None, value[:CUT_BYTES], headers=headers)

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
            else:
                self._write_malformed(_as_json(record))
        except OSError as error:
            raise self._refused(error) from None

    def add_dead(self, bad: BadInput) -> None:
        """Writes a bad input beside the malformed records: {source, reason, value_base64}."""
        try:
            self._write_malformed({"source": bad.place, "reason": bad.reason, "value_base64": _base64(bad.value)})
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

    def _write_malformed(self, fields: dict[str, str | int | None]) -> None:
        if str(self._path) == STDIN:
            return
        if self._malformed is None:
            path = self._path.with_name(self._path.name + ".malformed")
            self._malformed = self._files.enter_context(path.open("w", encoding="ascii"))
        self._malformed.write(json.dumps(fields) + "\n")

    def _refused(self, error: OSError) -> Refused:
        return Refused(f"{self._path}: cannot be written ({error.strerror}); name another file by --out")


def _as_json(record: SourceRecord) -> dict[str, str | int | None]:
    return {
        "kind": record.kind,
        "key_base64": _base64(record.key),
        "value_base64": _base64(record.value),
        "shift": record.partition_shift,
    }


def _base64(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode("ascii")

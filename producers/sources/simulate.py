"""Simulated records into Kafka or into a file."""

import json
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from pipeline.errors import Refused
from pipeline.event_files import STDIN
from pipeline.outlet import Outlet
from pipeline.topics import partition_of
from producers.pacing import Pace, PacePolicy
from producers.progress import Progress
from producers.simulation.record import SourceRecord
from producers.summary import Summary
from schemas.topics import Topics


def paced(records: Iterator[SourceRecord], rate: float | None) -> Iterator[SourceRecord]:
    """The records, at most `rate` a second."""
    if rate is None:
        yield from records
        return
    pace = Pace(PacePolicy(rate=rate), time.monotonic())
    for record in records:
        if (delay := pace.delay(time.monotonic(), 0.0)) > 0:
            time.sleep(delay)
        yield record


def send_records(
    records: Iterator[SourceRecord], outlet: Outlet, topics: Topics, partitions: int, progress: Progress | None = None
) -> Summary:
    """Sends all and waits for all acks. With one partition, records meant for the wrong one cannot be: they are
    duplicates then."""
    summary, started = Summary(), time.monotonic()
    for number, record in enumerate(records):
        partition = (
            (partition_of(record.key or b"", partitions) + record.partition_shift) % partitions
            if record.partition_shift
            else None
        )
        outlet.send(topics.of(record.kind), record.key, record.value, partition=partition)
        _count(summary, record)
        if progress is not None and number % 500 == 0:
            progress.show(number, None)
    outlet.flush()
    summary.seconds = time.monotonic() - started
    return summary


def write_records(records: Iterator[SourceRecord], out: Path, progress: Progress | None = None) -> Summary:
    """Events as NDJSON into `out` (- is stdout), which `replay` reads; malformed records, which no NDJSON can hold,
    into `out`.malformed: one JSON object a line, {kind, key_base64, value_base64, shift}. To stdout the malformed ones
    are left out. Raises Refused."""
    summary, started = Summary(), time.monotonic()
    with ExitStack() as stack:
        try:
            good = sys.stdout.buffer if str(out) == STDIN else stack.enter_context(out.open("wb"))
            bad = None
            for number, record in enumerate(records):
                if record.is_event and record.value is not None:
                    good.write(record.value + b"\n")
                elif str(out) != STDIN:
                    bad = bad or stack.enter_context(out.with_name(out.name + ".malformed").open("w", encoding="ascii"))
                    bad.write(json.dumps(_as_json(record)) + "\n")
                _count(summary, record)
                if progress is not None and number % 500 == 0:
                    progress.show(number, None)
            good.flush()
        except OSError as error:
            raise Refused(f"{out}: cannot be written ({error.strerror}); name another file by --out") from None
    summary.seconds = time.monotonic() - started
    return summary


def _count(summary: Summary, record: SourceRecord) -> None:
    if record.is_event:
        summary.sent[record.kind] += 1
    else:
        summary.malformed += 1


def _as_json(record: SourceRecord) -> dict[str, str | int | None]:
    def text(value: bytes | None) -> str | None:
        return None if value is None else b64encode(value).decode("ascii")

    return {
        "kind": record.kind,
        "key_base64": text(record.key),
        "value_base64": text(record.value),
        "shift": record.partition_shift,
    }

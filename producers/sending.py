"""The send loop of all sources: at least once, paced, counted, resumable where the source is."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pipeline.errors import CheckFailed, RecordTooLarge
from pipeline.files.bad_lines import BadLines
from pipeline.observability.progress import ProgressDisplay
from producers.destinations import Destination
from producers.pacing import Pace, PacePolicy
from producers.source import BadInput, Skipped, Source, SourceRecord
from producers.summary import Summary

SAVE_SECONDS: Final = 2.0
"""How often the loop waits for all acks and saves the position of a resumable source: after a crash the records of at
most this time are sent twice."""

ITEMS_PER_PROGRESS: Final = 500


@dataclass(frozen=True)
class SendPolicy:
    """`strict`: the first bad input ends the run. `pace`: bounds of the pace."""

    strict: bool = False
    pace: PacePolicy = field(default_factory=PacePolicy)


def send_all(
    source: Source,
    destination: Destination,
    policy: SendPolicy | None = None,
    *,
    progress: ProgressDisplay | None = None,
    complain: Callable[[str], None] = lambda _: None,
) -> Summary:
    """Sends every record of a source and waits until all are safe.

    `complain` is called with the place and the flaw of bad inputs, among which are records that are too large for
    Kafka. Raises CheckFailed for a bad input where strict, Refused and Unavailable as the destination does. A live
    source ends when it says so, and keeps its position.
    """
    policy = policy or SendPolicy()
    summary, started = Summary(), time.monotonic()
    bad_lines = BadLines(complain, policy.strict)
    pace = Pace(policy.pace, started) if policy.pace != PacePolicy() else None
    saved = started
    for number, item in enumerate(source.items()):
        if progress is not None and number % ITEMS_PER_PROGRESS == 0:
            progress.show(summary.sent.total(), source.fraction)
        try:
            if isinstance(item, SourceRecord):
                if pace is not None and not item.goes_along:
                    _wait(pace, item)
                item = _add(item, source, destination)
            if isinstance(item, SourceRecord):
                _count(item, summary)
            elif isinstance(item, BadInput):
                if item.value is not None:
                    destination.add_dead(item)
                bad_lines(f"{item.place}: {item.reason}")
            elif isinstance(item, Skipped):
                summary.skipped += 1
        except CheckFailed:
            destination.flush()
            raise
        if source.is_resumable and time.monotonic() - saved > SAVE_SECONDS:
            destination.flush()
            source.save_position()
            saved = time.monotonic()
    destination.flush()
    if source.is_resumable:
        (source.save_position if source.is_live else source.forget_position)()
    summary.bad, summary.notes = bad_lines.count, dict(source.notes)
    summary.seconds = time.monotonic() - started
    return summary


def _add(record: SourceRecord, source: Source, destination: Destination) -> SourceRecord | BadInput:
    """Passes a record on. A record above the size limit becomes a bad input: a live source would bring the same record
    again after each restart, and of a file its place is known."""
    try:
        destination.add(record)
    except RecordTooLarge as error:
        if source.is_live:
            return BadInput(record.place or f"a {record.kind}", str(error), record.value)
        if record.place:
            return BadInput(record.place, str(error))
        raise
    return record


def _count(record: SourceRecord, summary: Summary) -> None:
    if record.is_event:
        summary.sent[record.kind] += 1
    else:
        summary.malformed += 1


def _wait(pace: Pace, record: SourceRecord) -> None:
    occurred = 0.0 if record.occurred is None else record.occurred.timestamp()
    if (delay := pace.delay(time.monotonic(), occurred)) > 0:
        time.sleep(delay)

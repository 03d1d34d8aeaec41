"""Decodes records of the source topics into columns of events, and records that are no events into dead letters.

The compiled schema takes about 2 us an event, and a call per record costs no more than one call for a joined batch
(both printed by benchmarks/stages.py). So every record is judged alone, and none can shift or spoil its neighbours. The
other half of the time goes into the columns, which create no object per event for the garbage collector to visit.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import compress
from typing import Any, Final, NamedTuple

import numpy as np
from pydantic import ValidationError

from pipeline.dead_letters import DeadLetter
from processors.engagement.fold.columns import KIND_NUMBER, EventColumns
from processors.runtime.records import KafkaRecord, Run, dead_letter
from schemas.events import (
    EARLY_SAID,
    Event,
    InvalidEvent,
    check_event,
    conversation_keys,
    parse_event,
    validate_json,
)
from schemas.folding import fold_name
from schemas.labels import flat_labels

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_US: Final = 0
"""The earliest event time, 1970: panes and versions count minutes from then."""

JUDGED_AT_ONCE: Final = 1000
"""Records that are judged together. Where one of them is bad, each is judged again, alone."""

NUL_ESCAPED: Final = b"\\u0000"
"""The only spelling of NUL in JSON."""


@dataclass(frozen=True)
class DecodingPolicy:
    """The rules of decoding. `future_limit`: how far ahead of its receipt an event may be dated, in seconds.
    `text_length`: how many characters of texts are kept; 0 keeps none."""

    future_limit: float = 600
    text_length: int = 0


class DecodedEvents(NamedTuple):
    """The events of some runs in their order, the run and the record of each event, and the dead letters."""

    events: EventColumns
    runs: list[Run]
    records: list[KafkaRecord]
    dead: list[DeadLetter]


def decode_events(runs: Iterable[Run], policy: DecodingPolicy) -> DecodedEvents:
    """Decodes runs. Never raises, whatever a record holds."""
    events: list[Event] = []
    owners: list[Run] = []
    records: list[KafkaRecord] = []
    dead: list[DeadLetter] = []
    for run in runs:
        for start in range(0, len(run.records), JUDGED_AT_ONCE):
            part = run.records[start : start + JUDGED_AT_ONCE]
            good = _good(part, run.kind)
            if good is None:
                for record in part:
                    try:
                        events.append(_event(run, record))
                    except InvalidEvent as flaw:
                        dead.append(dead_letter(run, record, flaw))
                    else:
                        records.append(record)
            else:
                events += good
                records += part
        owners += [run] * (len(events) - len(owners))
    columns = _columns(events, owners, records, policy.text_length)
    flaws = _flaws(columns, records, policy)
    if flaws:
        dead += [dead_letter(owners[number], records[number], flaw) for number, flaw in sorted(flaws.items())]
        mask = _all_but(flaws, len(columns))
        columns = columns.where(mask)
        owners, records = list(compress(owners, mask.tolist())), list(compress(records, mask.tolist()))
    return DecodedEvents(columns, owners, records, dead)


def split_runs(runs: Iterable[Run], size: int) -> Iterator[list[Run]]:
    """Splits runs into parts of `size` records each, in the same order."""
    part: list[Run] = []
    room = size
    for run in runs:
        start = 0
        while start < len(run.records):
            records = run.records[start : start + room]
            part.append(Run(run.topic, run.kind, run.partition, records))
            start += len(records)
            room -= len(records)
            if not room:
                yield part
                part, room = [], size
    if part:
        yield part


def misplaced_event(run: Run, record: KafkaRecord, belongs: int, of: int) -> DeadLetter:
    """Makes the dead letter of an event on the wrong partition."""
    cure = "partition by murmur2 of the key as Kafka's Java client does (librdkafka: partitioner=murmur2_random)"
    return dead_letter(
        run,
        record,
        InvalidEvent("post_id", f"on partition {run.partition}, its key belongs on {belongs} of {of}: {cure}"),
    )


def retired_event(run: Run, record: KafkaRecord, as_of: int) -> DeadLetter:
    """Makes the dead letter of an event of a post that retention has deleted. `as_of`: that of the post's last row, in
    seconds since 1970."""
    newest = datetime.fromtimestamp(as_of, UTC).isoformat(timespec="minutes")
    said = f"the post has gone: its newest event was before {newest}, longer ago than ENGAGEMENT_RETENTION_POSTS_DAYS"
    return dead_letter(run, record, InvalidEvent("post_id", f"{said}; a longer retention helps posts that still stand"))


def _good(records: Sequence[KafkaRecord], kind: str) -> list[Event] | None:
    """Returns the events of records that are all good, as nearly always; None where a record is bad."""
    values = [record.value or b"" for record in records]
    if NUL_ESCAPED in b"".join(values):
        return None
    try:
        events: list[Event] = list(map(validate_json, values))
        for event in events:
            if "target_id" in event or "action" in event or not event.get("event_id") or event["actor_id"] is None:
                check_event(event)
    except (ValidationError, InvalidEvent):
        return None
    kinds: list[str] = [event["kind"] for event in events]
    return events if kinds.count(kind) == len(events) else None


def _event(run: Run, record: KafkaRecord) -> Event:
    """Parses a record. Raises InvalidEvent."""
    if record.value is None:
        raise InvalidEvent("", "no value (a tombstone): source topics are not compacted, send action 'retract'")
    event = parse_event(record.value)
    if event["kind"] != run.kind:
        raise InvalidEvent(
            "kind",
            f"a {event['kind']} in the topic of {run.kind}s, send it to "
            f"{run.topic.rpartition('.')[0]}.{event['kind']}s",
        )
    return event


def _columns(events: list[Event], owners: list[Run], records: list[KafkaRecord], text_length: int) -> EventColumns:
    count = len(events)
    nothing: list[str] = []
    # The fields that any event has; events of one kind have half of all fields at most.
    fields: set[str] = set().union(*events)

    def values(name: str, absent: Any) -> list[Any]:
        return [event.get(name) or absent for event in events] if name in fields else [absent] * count

    targets = values("target_id", "")
    return EventColumns(
        topic=[run.topic for run in owners],
        partition=np.fromiter([run.partition for run in owners], np.uint16, count),
        offset=np.fromiter([record.offset for record in records], np.int64, count),
        received_ms=np.fromiter([record.timestamp for record in records], np.int64, count),
        kind=np.fromiter([KIND_NUMBER[run.kind] for run in owners], np.int8, count),
        # A retraction has a target, and nothing else has one.
        action=np.fromiter(map(bool, targets), np.int8, count),
        occurred_us=_microseconds([event["occurred_at"] for event in events]),
        event_id=[event["event_id"] for event in events],  # type: ignore[misc]  # check_event has filled it in
        post_id=[event["post_id"] for event in events],
        actor_id=[event["actor_id"] or "" for event in events],
        parent_id=values("parent_id", ""),
        target_id=targets,
        channel=_folded(values("channel", "")),
        url=values("url", ""),
        conversations=[
            conversation_keys(event.get("hashtags"), event.get("mentions"))
            if "hashtags" in event or "mentions" in event
            else nothing
            for event in events
        ]
        if "hashtags" in fields or "mentions" in fields
        else [nothing] * count,
        links=[links if "" not in links else list(filter(None, links)) for links in values("links", nothing)],
        quotes=values("quotes", ""),
        author_id=values("author_id", ""),
        followers=[event.get("followers") for event in events] if "followers" in fields else [None] * count,
        labels=[flat_labels(event.get("labels")) for event in events] if "labels" in fields else [nothing] * count,
        text=[(event.get("text") or "")[:text_length] for event in events]
        if "text" in fields and text_length
        else [""] * count,
    )


def _folded(names: list[str]) -> list[str]:
    """Folds names, each different name once."""
    folded = {name: fold_name(name) for name in set(names)}
    if all(name == fold for name, fold in folded.items()):
        return names
    return [folded[name] for name in names]


def _microseconds(moments: list[datetime]) -> Any:
    # The difference of two times of one zone never asks the zone, and takes a quarter of the time of
    # datetime.timestamp.
    epoch = _EPOCH.astimezone(moments[0].tzinfo) if moments else _EPOCH
    # A double holds seconds since 1970 to half a microsecond until 2^32 s, in 2106, which is also where minutes in a
    # DateTime column end; until then a later time is refused as too far ahead.
    seconds = np.fromiter([(moment - epoch).total_seconds() for moment in moments], np.float64, len(moments))
    return np.rint(seconds * 1e6).astype(np.int64)


def _flaws(columns: EventColumns, records: list[KafkaRecord], policy: DecodingPolicy) -> dict[int, InvalidEvent]:
    """Returns the flaws of events by number, by the rules that are cheaper to apply to all events together."""
    flaws: dict[int, InvalidEvent] = {}
    limit_us = int(policy.future_limit * 1e6)
    for number in np.flatnonzero(columns.occurred_us > columns.received_ms * 1000 + limit_us).tolist():
        flaws[number] = InvalidEvent(
            "occurred_at",
            f"more than {policy.future_limit:g} s ahead of its receipt: mend the sender's clock or time zone",
        )
    for number in np.flatnonzero(columns.occurred_us < FIRST_US).tolist():
        flaws[number] = InvalidEvent("occurred_at", EARLY_SAID)
    for number in _wrong_keys(columns.post_id, [record.key for record in records]):
        flaws.setdefault(
            number, InvalidEvent("post_id", "the record's key is not the post_id: send post_id as the key")
        )
    return flaws


def _wrong_keys(post_ids: list[str], keys: list[bytes | None]) -> list[int]:
    # One comparison for all keys: where NUL occurs only as the separator, equal texts mean equal lists.
    together = "\0".join(post_ids)
    if None not in keys and b"\0".join(keys) == together.encode() and together.count("\0") < max(1, len(post_ids)):  # type: ignore[arg-type]
        return []
    return [number for number, (key, post_id) in enumerate(zip(keys, post_ids, strict=True)) if key != post_id.encode()]


def _all_but(numbers: Iterable[int], count: int) -> Any:
    mask = np.ones(count, np.bool_)
    mask[list(numbers)] = False
    return mask

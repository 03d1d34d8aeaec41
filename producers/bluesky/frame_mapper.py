"""From frames to the items of a source: events with their records kept, deletes resolved, accounts taken back."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from producers.bluesky.jetstream.frames import Frame, FrameError, moment
from producers.bluesky.mapping import Created, Deleted, RecordKey, Skip, map_commit, retractions
from producers.bluesky.record_store import RecordStore
from producers.bluesky.stream_filter import StreamFilter
from producers.event_lines import dump
from producers.source import SourceRecord

ACCOUNT_STATUSES: Final = ("takendown", "suspended", "deactivated", "desynchronized", "throttled")
"""The states of an account that may end: its records stay. Others count as `inactive`."""

EARLY_DELETES: Final = 10_000
"""The most deletes that are kept for records which come later: around a cut in the stream events change places."""

Counts = Counter[tuple[str, ...]]


class FrameMapper:
    """Maps frames with the help of a store. `counts` are those of SourceMetrics."""

    def __init__(self, store: RecordStore, stream_filter: StreamFilter, counts: Counts) -> None:
        self._store, self._filter, self.counts = store, stream_filter, counts
        self._early: dict[RecordKey | str, int] = {}

    def map(self, frame: Frame) -> Iterator[SourceRecord]:
        """Yields the records of a frame, and keeps the meaning of the frame's record. Raises FrameError."""
        if frame.kind == "account":
            yield from self._account(frame)
            return
        outcome = map_commit(frame) if frame.kind == "commit" else Skip(_kind_of_skip(frame.kind))
        if isinstance(outcome, Skip):
            self.counts["skipped", outcome.reason] += 1
        elif isinstance(outcome, Deleted):
            yield from self._deleted(outcome)
        else:
            yield from self._created(outcome, frame.time_us)

    def _created(self, created: Created, seen_us: int) -> Iterator[SourceRecord]:
        events = [event for event in created.events if self._filter.passes(event, self._is_followed)]
        if not events:
            self.counts["skipped", "filter"] += 1
            return
        self._store.add(created.key, {event["kind"]: event["post_id"] for event in events}, seen_us)
        for event in events:
            yield self._record(event, "add")
        if self._early and (deleted_us := self._deleted_before(created.key, seen_us)) is not None:
            kinds = {event["kind"]: event["post_id"] for event in events}
            yield from self._retracted(created.key, kinds, moment(deleted_us))

    def _deleted(self, deleted: Deleted) -> Iterator[SourceRecord]:
        kinds = self._store.find(deleted.key)
        if kinds is None:
            self.counts["unresolved_deletes",] += 1
            self._remember(deleted.key, deleted.seen_us)
            return
        yield from self._retracted(deleted.key, kinds, moment(deleted.seen_us))

    def _account(self, frame: Frame) -> Iterator[SourceRecord]:
        """Takes back all known records of a deleted account."""
        is_active, status = frame.body.get("active"), frame.body.get("status")
        if not isinstance(is_active, bool):
            raise FrameError("account.active", "missing, or neither true nor false")
        if is_active or status != "deleted":
            reason = status if status in ACCOUNT_STATUSES else "inactive"
            self.counts["skipped", "account_active" if is_active else f"account_{reason}"] += 1
            return
        self.counts["deleted_accounts",] += 1
        self._remember(frame.did, frame.time_us)
        is_known = False
        for key, kinds in self._store.of_actor(frame.did):
            is_known = True
            yield from self._retracted(key, kinds, moment(frame.time_us))
        self.counts["unresolved_accounts",] += not is_known

    def _retracted(self, key: RecordKey, kinds: dict[str, str], occurred_at: datetime) -> Iterator[SourceRecord]:
        for event in retractions(key, kinds, occurred_at):
            yield self._record(event, "retract")

    def _remember(self, gone: RecordKey | str, deleted_us: int) -> None:
        """Keeps a delete, of a record or of an account (by DID), for records still to come."""
        self._early[gone] = deleted_us
        if len(self._early) > EARLY_DELETES:
            del self._early[next(iter(self._early))]

    def _deleted_before(self, key: RecordKey, seen_us: int) -> int | None:
        """Returns the time of a record's delete, alone or with the account, if the delete came first; else None."""
        for gone in (key, key.did):
            deleted_us = self._early.get(gone)
            if deleted_us is not None and deleted_us >= seen_us:
                self.counts["resolved_late",] += gone == key
                return deleted_us
        return None

    def _is_followed(self, key: RecordKey) -> bool:
        return self._store.find(key) is not None

    def _record(self, event: dict[str, Any], action: str) -> SourceRecord:
        self.counts["events", event["kind"], action] += 1
        return SourceRecord(event["kind"], event["post_id"].encode(), dump(event), event["occurred_at"])


def _kind_of_skip(kind: str) -> str:
    return kind if kind in ("identity", "sync") else "other_kind"

"""The generic webhook: events of ours, plain or in the envelope of Standard Webhooks, {type, timestamp, data}.

What the data leaves out comes from the envelope: `kind` from the beginning of type (`like.created`, `like.deleted`),
`occurred_at` from timestamp. A missing event_id is derived from the header webhook-id.
"""

from collections.abc import Iterable
from typing import Any

from producers.collector.mappers.fields import RETRACTION_WORDS, Json, parse_object
from producers.collector.mappers.port import MappedItem, RequestFacts, event_item
from producers.collector.reading.items import split_items
from schemas.events import InvalidEvent
from schemas.topics import KINDS


class GenericHook:
    """Maps webhooks of programs written for this pipeline."""

    def map(self, body: bytes, facts: RequestFacts) -> Iterable[MappedItem]:
        return map(self._item, split_items(body))

    def _item(self, raw: bytes) -> MappedItem:
        try:
            document = parse_object(raw, "an event")
            data = document.get("data")
            if "kind" in document or not isinstance(data, dict):
                return MappedItem(raw, raw)
            return event_item(raw, {**_gaps(document, data), **data})
        except InvalidEvent as flaw:
            return MappedItem(raw, flaw=flaw)


def _gaps(envelope: Json, data: Json) -> Json:
    gaps: dict[str, Any] = {"occurred_at": envelope.get("timestamp")}
    words = str(envelope.get("type") or "").lower().split(".")
    if "kind" not in data and words[0] in KINDS:
        gaps["kind"] = words[0]
        if len(words) > 1 and words[-1] in RETRACTION_WORDS:
            gaps["action"] = "retract"
    return gaps

"""The project's own events: one object, an array, or NDJSON."""

from producers.collector.mappers.port import MappedItem, RequestFacts
from producers.collector.reading.items import split_items


class PlainEvents:
    """Passes events on unchanged."""

    def map(self, body: bytes, facts: RequestFacts) -> list[MappedItem]:
        media_type = facts.headers.get("content-type", "").partition(";")[0].strip().lower()
        return [MappedItem(raw, raw) for raw in split_items(body, media_type)]

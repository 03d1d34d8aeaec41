"""CloudEvents 1.0 over HTTP: structured, batched and binary. The data is an event of ours, or an activity.

What the data leaves out comes from the envelope: `event_id` from source and id, `occurred_at` from time, `post_id` from
subject, `kind` from the end of type (`com.shop.like`, `com.shop.like.retracted`).
"""

import binascii
from base64 import b64decode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote

from pydantic_core import from_json, to_json

from producers.collector.mappers.activity_streams import ActivityStreams
from producers.collector.mappers.fields import RETRACTION_WORDS, Json, parse_object
from producers.collector.mappers.port import MappedItem, RequestFacts, event_item
from producers.collector.reading.items import split_array
from schemas.events import ID_LENGTH, InvalidEvent
from schemas.topics import KINDS

STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
ACTIVITY_TYPES: Final = frozenset({"application/activity+json", "application/ld+json"})
REQUIRED_ATTRIBUTES: Final = ("id", "source", "type")
HEADER: Final = "ce-"


class CloudEvents:
    """Maps CloudEvents."""

    def __init__(self, activities: ActivityStreams) -> None:
        self._activities = activities

    def map(self, body: bytes, facts: RequestFacts) -> Iterable[MappedItem]:
        media_type = facts.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type == BATCHED:
            text = body.strip()
            if not text.startswith(b"["):
                raise InvalidEvent("", "Input should be a JSON array of CloudEvents")
            return (item for raw in split_array(text) for item in self._structured(raw, facts))
        if media_type == STRUCTURED:
            return self._structured(body, facts)
        if "ce-specversion" in facts.headers:
            return self._binary(body, media_type, facts)
        raise InvalidEvent(
            "specversion", f"no CloudEvent: send Content-Type {STRUCTURED} or {BATCHED}, or the headers ce-id, "
            "ce-source, ce-type and ce-specversion"
        )  # fmt: skip

    def _structured(self, raw: bytes, facts: RequestFacts) -> list[MappedItem]:
        try:
            envelope = parse_object(raw, "a CloudEvent")
            check_envelope(envelope)
            media_type = str(envelope.get("datacontenttype") or "application/json")
            data = _data_of(envelope)
            return self._items(raw, envelope, data, media_type.partition(";")[0].strip().lower(), facts)
        except InvalidEvent as flaw:
            return [MappedItem(raw, flaw=flaw)]

    def _binary(self, body: bytes, media_type: str, facts: RequestFacts) -> list[MappedItem]:
        try:
            envelope = {
                name.removeprefix(HEADER): unquote(value, errors="replace")
                for name, value in facts.headers.items()
                if name.startswith(HEADER)
            }
            check_envelope(envelope)
            return self._items(body, envelope, parse_object(body, "an event"), media_type, facts)
        except InvalidEvent as flaw:
            return [MappedItem(body, flaw=flaw)]

    def _items(
        self, raw: bytes, envelope: Mapping[str, Any], data: Json, media_type: str, facts: RequestFacts
    ) -> list[MappedItem]:
        if media_type in ACTIVITY_TYPES:
            items = self._activities.items_of(to_json(data, inf_nan_mode="constants"), facts)
            return [MappedItem(raw, item.value, item.flaw) for item in items]
        if media_type not in ("", "application/json", "text/json") and not media_type.endswith("+json"):
            raise InvalidEvent("datacontenttype", "send JSON: application/json, or application/activity+json")
        return [event_item(raw, {**_gaps(envelope, data), **data})]


def check_envelope(envelope: Mapping[str, Any]) -> None:
    """Checks the required attributes. Raises InvalidEvent."""
    if envelope.get("specversion") != "1.0":
        raise InvalidEvent("specversion", "Input should be '1.0'")
    for name in REQUIRED_ATTRIBUTES:
        if not isinstance(envelope.get(name), str) or not envelope[name]:
            raise InvalidEvent(name, "Field required: text")
    for name in ("subject", "time", "datacontenttype"):
        if envelope.get(name) is not None and not isinstance(envelope[name], str):
            raise InvalidEvent(name, "Input should be text")


def _data_of(envelope: Json) -> Json:
    data = envelope.get("data")
    if envelope.get("data_base64") is not None:
        if data is not None:
            raise InvalidEvent("data_base64", "comes beside data; send one of them")
        try:
            data = from_json(b64decode(envelope["data_base64"], validate=True))
        except (TypeError, ValueError, binascii.Error) as error:
            raise InvalidEvent("data_base64", f"holds no JSON in base64 ({error}); send data") from None
    if not isinstance(data, dict):
        raise InvalidEvent("data", "Field required: an event" if data is None else "Input should be an object")
    return data


def _gaps(envelope: Mapping[str, Any], data: Json) -> Json:
    """Returns the fields of the envelope that fill gaps of the data."""
    gaps: Json = {"occurred_at": envelope.get("time"), "post_id": envelope.get("subject")}
    words = [word.lower() for word in envelope["type"].replace("/", ".").split(".")]
    if "kind" not in data and len(words) > 1 and words[-1] in RETRACTION_WORDS and words[-2] in KINDS:
        gaps |= {"kind": words[-2], "action": "retract"}
    elif "kind" not in data and words[-1] in KINDS:
        gaps["kind"] = words[-1]
    if {**gaps, **data}.get("action") != "retract":
        event_id = f"{envelope['source']}#{envelope['id']}"
        if len(event_id) > ID_LENGTH:
            event_id = "ce-" + sha256(event_id.encode("utf-8", "surrogatepass")).hexdigest()
        gaps["event_id"] = event_id
    return {name: value for name, value in gaps.items() if value}

"""Checks an event against the schema and the rules of its sender, and fills in gaps."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from pydantic_core import from_json, to_json

from schemas.events import Event, InvalidEvent, check_event, validate_json, validate_or_explain
from schemas.folding import fold_name


@dataclass(frozen=True, slots=True)
class TakingRules:
    """Rules for the events of a request.

    `channels`: those that the sender may name, None: all; `channel`: filled in where an event names none.
    `id_root`: what missing event_ids are derived from, with the event's index; empty: they are refused.
    `latest`: the latest event time; `record_limit`: the largest event, in bytes.
    """

    channels: tuple[str, ...] | None
    channel: str | None
    id_root: str
    latest: datetime
    record_limit: int

    def take(self, value: bytes, index: int) -> tuple[Event, bytes]:
        """Returns the event and the bytes to send. Raises InvalidEvent."""
        if len(value) > self.record_limit:
            raise InvalidEvent(
                "", f"{len(value)} bytes, above the limit of {self.record_limit}: shorten it, or raise "
                "ENGAGEMENT_RECORD_LIMIT and the topic's max.message.bytes"
            )  # fmt: skip
        event: Event = validate_or_explain(validate_json, value)
        gaps = self._gaps(event, index)
        if gaps:
            value = _filled(value, gaps)
            event.update(gaps)  # type: ignore[typeddict-item]  # names of Event
        check_event(event)
        self._check_channel(event)
        if event["occurred_at"] > self.latest:
            raise InvalidEvent(
                "occurred_at",
                "is too far in the future; set the sender's clock, or raise ENGAGEMENT_FUTURE_LIMIT_SECONDS",
            )
        return event, value

    def _gaps(self, event: Event, index: int) -> dict[str, str]:
        gaps = {}
        if self.channel is not None and not event.get("channel"):
            gaps["channel"] = self.channel
        if self.id_root and not event.get("event_id") and event.get("action") != "retract":
            gaps["event_id"] = f"{self.id_root}:{index}"
        return gaps

    def _check_channel(self, event: Event) -> None:
        channel = event.get("channel")
        if self.channels is None or channel in self.channels:
            return
        allowed = ", ".join(self.channels)
        if channel and fold_name(channel) in map(fold_name, self.channels):
            return
        if not channel:
            raise InvalidEvent("channel", f"Field required with this key: one of {allowed}")
        raise InvalidEvent("channel", f"this key may send {allowed} only; use the key of the other channel")


def default_channel(channels: tuple[str, ...] | None, of_endpoint: str | None) -> str | None:
    """Returns the channel of events that name none: the key's, if it has just one, else the endpoint's, if allowed."""
    if channels is not None and len(channels) == 1:
        return channels[0]
    return of_endpoint if channels is None or of_endpoint in channels else None


def latest_time(now: datetime, future_limit_seconds: float) -> datetime:
    """Returns the latest acceptable event time at `now`."""
    return now + timedelta(seconds=future_limit_seconds)


def id_root_of(source: str, key: str) -> str:
    """Returns the root of derived event_ids: the same for the same sender and Idempotency-Key, whatever their text."""
    return "idem-" + sha256(f"{source}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _filled(value: bytes, gaps: dict[str, str]) -> bytes:
    fields: dict[str, Any] = from_json(value)
    fields.update(gaps)
    return to_json(fields, inf_nan_mode="constants")

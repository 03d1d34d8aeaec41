"""Takes the items of a request: checks each by itself, sends events to their topics and rejected items to dead letters.

The answer is made when Kafka has acked all of it.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from pipeline.errors import EngagementError, Refused
from pipeline.privacy.pseudonyms import Pseudonyms
from producers.collector.access.senders import EventSender
from producers.collector.access.signatures import SignatureScheme
from producers.collector.mappers.port import MappedItem, Mapper, RequestFacts
from producers.collector.metrics import CollectorMetrics
from producers.collector.outgoing import OutgoingRecord, Overloaded, RecordSender
from producers.collector.reading.dead_items import dead_record
from producers.collector.reading.taking import TakingRules, default_channel, latest_time
from producers.collector.refusals import Rejection, Reply, SlowDown, items_reply
from schemas.events import InvalidEvent
from schemas.topics import Topics

TURN_SECONDS: Final = 0.002
"""How long the items of a request are checked before other requests get a turn."""

AWAY_SECONDS: Final = 5.0
"""Retry-After while Kafka is away."""


@dataclass(frozen=True)
class IntakePolicy:
    """Limits of events. `future_limit_seconds`: how far ahead an event time may be; `record_limit`: bytes. With
    `pseudonyms` accounts are replaced, and the bytes of rejected items are left out."""

    topics: Topics
    future_limit_seconds: float = 600.0
    record_limit: int = 1_000_000
    body_limit: int = 5 * 1024 * 1024
    pseudonyms: Pseudonyms | None = None


@dataclass(frozen=True)
class Inlet:
    """An endpoint for events. `media_types`: those that are taken, None: any; `scheme`: how requests
    are signed; `channel`: of events that name none, where the key has no lone channel; `summary`: of a hook, for the
    API's page."""

    place: str
    mapper: Mapper
    scheme: SignatureScheme
    media_types: frozenset[str] | None = None
    channel: str | None = None
    summary: str = ""


class ItemIntake:
    """Takes the items of an inlet."""

    def __init__(self, inlet: Inlet, sender: RecordSender, metrics: CollectorMetrics, policy: IntakePolicy) -> None:
        self._inlet, self._sender, self._metrics, self._policy = inlet, sender, metrics, policy

    def admit(self) -> None:
        """Refuses a request before reading its body while Kafka takes no records. Raises SlowDown."""
        try:
            self._sender.admit()
        except Overloaded as error:
            raise SlowDown(429, str(error), 1) from None
        except EngagementError as error:
            raise SlowDown(503, str(error), AWAY_SECONDS) from None

    async def take(self, headers: Mapping[str, str], sender: EventSender, body: bytes, id_root: str) -> Reply:
        """Takes all items of a body; missing event_ids are derived from `id_root`. Raises SlowDown."""
        now = datetime.now(UTC)
        items: list[MappedItem] = []
        rejected: list[Rejection] = []
        records: list[OutgoingRecord] = []
        origin: list[int] = []
        rules = TakingRules(
            sender.channels,
            default_channel(sender.channels, self._inlet.channel),
            id_root,
            latest_time(now, self._policy.future_limit_seconds),
            self._policy.record_limit,
        )
        topics, turn = self._policy.topics, time.perf_counter()
        for item in self._items(body, RequestFacts(headers, now)):
            if time.perf_counter() - turn > TURN_SECONDS:
                await asyncio.sleep(0)
                turn = time.perf_counter()
            index = len(items)
            items.append(item)
            try:
                if item.flaw is not None:
                    raise item.flaw
                if item.value is None:
                    continue
                event, value = rules.take(item.value, index)
                key = event["post_id"].encode()
                if self._policy.pseudonyms is not None:
                    key, value = self._policy.pseudonyms.record(value)
            except InvalidEvent as flaw:
                rejected.append(Rejection(index, flaw.field, flaw.reason))
                continue
            except Refused as error:
                rejected.append(Rejection(index, "", str(error)))
                continue
            records.append(OutgoingRecord(topics.of(event["kind"]), key, value))
            origin.append(index)
        await self._send(records, origin, items, rejected, sender, now)
        accepted = len(origin)
        ignored = len(items) - accepted - len(rejected)
        self._metrics.count_items(sender.source, accepted, len(rejected), ignored)
        return items_reply(accepted, ignored, [_placed(each, items) for each in rejected])

    def _items(self, body: bytes, facts: RequestFacts) -> Iterator[MappedItem]:
        """Yields the items of a body; a body that cannot be read is one item with a flaw."""
        try:
            yield from self._inlet.mapper.map(body, facts)
        except InvalidEvent as flaw:
            yield MappedItem(body, flaw=flaw)

    async def _send(
        self,
        records: list[OutgoingRecord],
        origin: list[int],
        items: list[MappedItem],
        rejected: list[Rejection],
        sender: EventSender,
        now: datetime,
    ) -> None:
        """Sends events and dead letters. Events that the broker refuses move from `origin` to `rejected`."""
        refused = await self._deliver([*records, *self._dead(rejected, items, sender, now)])
        late = [Rejection(origin[at], "", reason) for at, reason in refused.items() if at < len(origin)]
        if late:
            await self._deliver(self._dead(late, items, sender, now))
            gone = {each.index for each in late}
            origin[:] = [index for index in origin if index not in gone]
            rejected[:] = sorted([*rejected, *late], key=lambda each: each.index)

    def _dead(
        self, rejected: list[Rejection], items: list[MappedItem], sender: EventSender, now: datetime
    ) -> list[OutgoingRecord]:
        topic, place = self._policy.topics.dead_letters, f"collector{self._inlet.place}"
        received, limit = int(now.timestamp() * 1000), self._policy.record_limit
        return [
            dead_record(
                topic,
                place,
                sender.source,
                items[each.index].raw,
                _placed(each, items),
                received_ms=received,
                limit=limit,
                is_withheld=self._policy.pseudonyms is not None,
            )
            for each in rejected
        ]

    async def _deliver(self, records: list[OutgoingRecord]) -> dict[int, str]:
        try:
            return await self._sender.deliver(records)
        except Overloaded as error:
            raise SlowDown(429, str(error), 1) from None
        except EngagementError as error:
            raise SlowDown(503, str(error), AWAY_SECONDS) from None


def _placed(rejection: Rejection, items: list[MappedItem]) -> Rejection:
    """Returns a rejection by its place in the request, where items are numbered otherwise."""
    row = items[rejection.index].row
    return rejection if row is None else replace(rejection, index=row)

"""A collector without Kafka and without sockets: its application, a sender that remembers, a client."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from pipeline.errors import Unavailable
from pipeline.privacy.pseudonyms import load_pseudonyms
from pipeline.settings import Settings
from producers.collector.access.grants import Access, AccessPolicy
from producers.collector.access.origins import OriginPolicy
from producers.collector.access.senders import SenderLimits
from producers.collector.app import build_app
from producers.collector.inlets import make_inlets
from producers.collector.intake import IntakePorts
from producers.collector.item_intake import IntakePolicy
from producers.collector.mappers.hooks import HOOKS, HookSpec
from producers.collector.metrics import CollectorMetrics
from producers.collector.outgoing import OutgoingRecord, Overloaded
from producers.collector.reading.body import BodyBudget, BodyPolicy
from producers.collector.reading.idempotency import IdempotencyPolicy, IdempotencyStore

LIKE = {
    "event_id": "l1",
    "kind": "like",
    "post_id": "p1",
    "actor_id": "ann",
    "occurred_at": "2026-01-01T00:00:00Z",
    "channel": "web",
}


def like(number: int, **changes: Any) -> dict[str, Any]:
    """A like like no other."""
    return {**LIKE, "event_id": f"l{number}", "actor_id": f"actor-{number}", **changes}


@dataclass
class FakeSender:
    """A `RecordSender` that remembers. `absence`: Kafka is away; `full`: too many records wait; `hold`: acks wait for
    it; `largest`: bytes that the broker takes."""

    sent: list[OutgoingRecord] = field(default_factory=list)
    absence: str = ""
    full: bool = False
    hold: asyncio.Event | None = None
    largest: int = 1_100_000
    waiting_bytes: int = 0

    def start(self) -> None:
        pass

    def admit(self) -> None:
        if self.absence:
            raise Unavailable(self.absence)
        if self.full:
            raise Overloaded("Kafka lags; send again")

    async def deliver(self, records: Sequence[OutgoingRecord]) -> dict[int, str]:
        self.admit()
        if self.hold is not None:
            await self.hold.wait()
        refused = {index: "too large" for index, each in enumerate(records) if len(each.value) > self.largest}
        self.sent += [each for index, each in enumerate(records) if index not in refused]
        return refused

    async def close(self) -> None:
        pass

    def of(self, kind: str) -> list[OutgoingRecord]:
        """The records sent to the topic of a kind, or to `dead-letters`."""
        return [record for record in self.sent if record.topic == f"engagement.{kind}"]


class FakeCollector:
    """The application, as it is put together by the command, around a FakeSender."""

    def __init__(
        self,
        settings: Settings | None = None,
        access: AccessPolicy | None = None,
        origins: OriginPolicy | None = None,
        body: BodyPolicy | None = None,
        answers: IdempotencyPolicy | None = None,
        hooks: Mapping[str, HookSpec] = HOOKS,
    ) -> None:
        settings = settings or Settings()
        self.sender = FakeSender()
        self.ports = IntakePorts(
            self.sender,
            Access(access or AccessPolicy(limits=SenderLimits(settings.collect_body_limit))),
            IdempotencyStore(answers),
            BodyBudget(body or BodyPolicy()),
            origins or OriginPolicy(),
            CollectorMetrics(),
        )
        policy = IntakePolicy(
            settings.topics,
            settings.future_limit_seconds,
            settings.record_limit,
            settings.collect_body_limit,
            load_pseudonyms(settings),
        )
        self.app = build_app(make_inlets(settings, hooks), self.ports, policy)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://127.0.0.1")

    def post(self, path: str = "/v1/events", **request: Any) -> httpx.Response:
        """The answer to a single POST; headers may hold any Latin letter, as on the wire."""
        headers = {name: str(value).encode("latin-1") for name, value in request.pop("headers", {}).items()}

        async def send() -> httpx.Response:
            async with self.client() as client:
                return await client.post(path, headers=headers, **request)

        return asyncio.run(send())

"""What happens to a request, in this order:

1. Who sends it, and may he now: key, rate, requests at a time, and whether Kafka takes records.
2. The body, within its bounds; its signature, where that says who sends it.
3. The answer to an earlier request of the same Idempotency-Key, if any.
4. The mapper makes items of the body; each is checked by itself.
5. Events go to their topics, rejected items to the dead letters.
6. Only when Kafka has acked all of it, the answer.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from pipeline.errors import EngagementError
from producers.collector.access.grants import Access
from producers.collector.access.origins import OriginPolicy
from producers.collector.access.senders import Sender, SenderLoad
from producers.collector.access.signatures import SignatureScheme
from producers.collector.mappers.port import MappedItem, Mapper, RequestFacts
from producers.collector.metrics import CollectorMetrics
from producers.collector.outgoing import OutgoingRecord, Overloaded, RecordSender
from producers.collector.reading.body import BodyBudget, ClientGone, Receive, discard_body, read_body
from producers.collector.reading.dead_items import dead_record
from producers.collector.reading.idempotency import IdempotencyStore, check_key
from producers.collector.reading.taking import TakingRules, default_channel, id_root_of, latest_time
from producers.collector.refusals import Rejection, Reply, RequestRefused, SlowDown, items_reply
from schemas.events import InvalidEvent
from schemas.topics import Topics

ITEMS_PER_TURN: Final = 200
"""Items that are checked before other requests get a turn: some 2 ms."""

KEY_HEADERS: Final = ("idempotency-key", "webhook-id")
"""Headers that name a request, so that a repeated one is known."""

AWAY_SECONDS: Final = 5.0
"""Retry-After while Kafka is away."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IntakePolicy:
    """Limits of events. `future_limit_seconds`: how far ahead an event time may be; `record_limit`: bytes."""

    topics: Topics
    future_limit_seconds: float = 600.0
    record_limit: int = 1_000_000
    body_limit: int = 5 * 1024 * 1024


@dataclass(frozen=True)
class Inlet:
    """An endpoint that takes events. `media_types`: those that are taken, None: any; `scheme`: how requests
    are signed; `channel`: of events that name none, where the key has no lone channel."""

    place: str
    mapper: Mapper
    scheme: SignatureScheme
    media_types: frozenset[str] | None = None
    channel: str | None = None


@dataclass(frozen=True)
class IntakePorts:
    """The parts of the collector that all inlets share."""

    sender: RecordSender
    access: Access
    answers: IdempotencyStore
    budget: BodyBudget
    origins: OriginPolicy
    metrics: CollectorMetrics


class Intake:
    """An ASGI application for the POSTs of one inlet."""

    def __init__(self, inlet: Inlet, ports: IntakePorts, policy: IntakePolicy) -> None:
        self._inlet, self._ports, self._policy = inlet, ports, policy

    async def __call__(self, scope: Any, receive: Receive, send: Any) -> None:
        started = time.perf_counter()
        request = _Request(scope, receive)
        try:
            reply = await self._answer(request)
        except RequestRefused as refused:
            reply = refused.as_reply()
            if not request.is_read:
                reply = await self._answer_early(request, reply)
        except ClientGone:
            reply = None
        except Exception:
            log.exception("a request to %s failed", self._inlet.place)
            reply = RequestRefused(500, "the collector failed; its log tells why. Send the request again").as_reply()
        code = 499 if reply is None else reply.status
        self._ports.metrics.count_request(self._inlet.place, code, request.source, time.perf_counter() - started)
        if reply is not None:
            await send_reply(send, reply)

    async def _answer_early(self, request: "_Request", reply: Reply) -> Reply:
        """Reads the rest of the body of a refused request; after too large or slow a body the connection is closed."""
        policy = self._ports.budget.policy
        if await discard_body(request.receive, self._policy.body_limit, policy.seconds):
            return reply
        return Reply(reply.status, reply.body, reply.content_type, {**reply.headers, "Connection": "close"})

    async def _answer(self, request: "_Request") -> Reply:
        self._ports.origins.check(request.headers)
        self._check_media_type(request)
        sender = self._ports.access.by_key(self._inlet.scheme, request.headers, request.query)
        if sender is None:
            self._admit()
            return await self._read(request, None)
        load = self._enter(request, sender)
        try:
            self._admit()
            return await self._read(request, sender)
        finally:
            load.leave()

    async def _read(self, request: "_Request", sender: Sender | None) -> Reply:
        limit = self._policy.body_limit if sender is None else sender.limits.body_bytes
        request.is_read = True
        body = await read_body(request.receive, request.headers, limit, self._ports.budget)
        try:
            if sender is not None:
                return await self._once(request, sender, body)
            signer = self._ports.access.by_signature(self._inlet.scheme, request.headers, request.query, body)
            load = self._enter(request, signer)
            try:
                if len(body) > signer.limits.body_bytes:
                    raise RequestRefused(413, f"the body is above {signer.limits.body_bytes} bytes; send fewer events")
                return await self._once(request, signer, body)
            finally:
                load.leave()
        finally:
            self._ports.budget.give_back(len(body))

    async def _once(self, request: "_Request", sender: Sender, body: bytes) -> Reply:
        """Takes a request, or repeats the earlier answer of its Idempotency-Key."""
        name = next((name for name in KEY_HEADERS if name.encode() in request.headers), "")
        if not name:
            return await self._take(request, sender, body, "")
        key = request.header(name)
        scope, now = (sender.source, check_key(key)), time.monotonic()
        said = f"{self._inlet.place}\0{request.media_type}\0".encode()
        digest = sha256(said + body).digest()
        answers = self._ports.answers
        earlier = answers.find(scope, digest, now)
        if earlier is not None:
            reply = await asyncio.shield(earlier)
            return Reply(reply.status, reply.body, reply.content_type, {"Idempotent-Replayed": "true"})
        answers.promise(scope, digest, now)
        try:
            reply = await self._take(request, sender, body, id_root_of(*scope))
        except BaseException as error:
            known = isinstance(error, RequestRefused)
            answers.forget(scope, error if known else SlowDown(503, "the first request failed; send it again", 1))
            raise
        answers.keep(scope, reply)
        return reply

    async def _take(self, request: "_Request", sender: Sender, body: bytes, id_root: str) -> Reply:
        now = datetime.now(UTC)
        rejected: list[Rejection] = []
        raws: list[bytes] = []
        try:
            items = self._inlet.mapper.map(body, RequestFacts(request.texts, now))
        except InvalidEvent as flaw:
            items = [MappedItem(body, flaw=flaw)]
        records: list[OutgoingRecord] = []
        origin: list[int] = []
        rules = TakingRules(
            sender.channels,
            default_channel(sender.channels, self._inlet.channel),
            id_root,
            latest_time(now, self._policy.future_limit_seconds),
            self._policy.record_limit,
        )
        topics = self._policy.topics
        for index, item in enumerate(items):
            if index % ITEMS_PER_TURN == ITEMS_PER_TURN - 1:
                await asyncio.sleep(0)
            try:
                if item.flaw is not None:
                    raise item.flaw
                if item.value is None:
                    continue
                event, value = rules.take(item.value, index)
            except InvalidEvent as flaw:
                rejected.append(Rejection(index, flaw.field, flaw.reason))
                raws.append(item.raw)
                continue
            records.append(OutgoingRecord(topics.of(event["kind"]), event["post_id"].encode(), value))
            origin.append(index)
        await self._send(records, origin, items, rejected, raws, sender, now)
        accepted = len(origin)
        ignored = len(items) - accepted - len(rejected)
        self._ports.metrics.count_items(sender.source, accepted, len(rejected), ignored)
        return items_reply(accepted, ignored, rejected)

    async def _send(
        self,
        records: list[OutgoingRecord],
        origin: list[int],
        items: list[MappedItem],
        rejected: list[Rejection],
        raws: list[bytes],
        sender: Sender,
        now: datetime,
    ) -> None:
        """Sends events and dead letters. Events that the broker refuses move from `origin` to `rejected`."""
        refused = await self._deliver([*records, *self._dead(rejected, raws, sender, now)])
        late = [Rejection(origin[at], "", reason) for at, reason in refused.items() if at < len(origin)]
        if late:
            await self._deliver(list(self._dead(late, [items[each.index].raw for each in late], sender, now)))
            gone = {each.index for each in late}
            origin[:] = [index for index in origin if index not in gone]
            rejected[:] = sorted([*rejected, *late], key=lambda each: each.index)

    def _dead(
        self, rejected: list[Rejection], raws: list[bytes], sender: Sender, now: datetime
    ) -> list[OutgoingRecord]:
        topic, place = self._policy.topics.dead_letters, f"collector{self._inlet.place}"
        received, limit = int(now.timestamp() * 1000), self._policy.record_limit
        return [
            dead_record(topic, place, sender.source, raw, each, received_ms=received, limit=limit)
            for each, raw in zip(rejected, raws, strict=True)
        ]

    async def _deliver(self, records: list[OutgoingRecord]) -> dict[int, str]:
        try:
            return await self._ports.sender.deliver(records)
        except Overloaded as error:
            raise SlowDown(429, str(error), 1) from None
        except EngagementError as error:
            raise SlowDown(503, str(error), AWAY_SECONDS) from None

    def _admit(self) -> None:
        """Refuses a request before reading its body while Kafka takes no records. Raises SlowDown."""
        try:
            self._ports.sender.admit()
        except Overloaded as error:
            raise SlowDown(429, str(error), 1) from None
        except EngagementError as error:
            raise SlowDown(503, str(error), AWAY_SECONDS) from None

    def _enter(self, request: "_Request", sender: Sender) -> SenderLoad:
        request.source = sender.source
        load = self._ports.access.load_of(sender)
        load.enter(sender.limits, time.monotonic())
        return load

    def _check_media_type(self, request: "_Request") -> None:
        allowed = self._inlet.media_types
        if allowed is None or request.media_type in allowed:
            return
        if request.media_type in ("text/plain", "") and self._ports.origins.is_allowed(request.headers):
            return
        raise RequestRefused(415, f"Content-Type: send {' or '.join(sorted(allowed))}")


class _Request:
    """A request as its scope says; headers by lower-case name, the first of each name."""

    __slots__ = ("headers", "is_read", "media_type", "query", "receive", "source")

    def __init__(self, scope: Any, receive: Receive) -> None:
        self.receive = receive
        self.headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        self.query: bytes = scope["query_string"]
        self.media_type = self.header("content-type").partition(";")[0].strip().lower()
        self.source, self.is_read = "-", False

    def header(self, name: str) -> str:
        return self.headers.get(name.encode(), b"").decode("latin-1").strip()

    @property
    def texts(self) -> dict[str, str]:
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers.items()}


async def send_reply(send: Any, reply: Reply) -> None:
    """Sends a reply over ASGI."""
    headers = [
        (b"content-type", reply.content_type.encode()),
        (b"content-length", str(len(reply.body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})

"""The way of a request, in this order:

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
from hashlib import sha256
from typing import Any, Final

from producers.collector.access.grants import Access
from producers.collector.access.origins import OriginPolicy
from producers.collector.access.senders import EventSender, SenderLoad
from producers.collector.item_intake import Inlet, IntakePolicy, ItemIntake
from producers.collector.metrics import CollectorMetrics
from producers.collector.outgoing import RecordSender
from producers.collector.reading.body import BodyBudget, ClientGone, Receive, discard_body, read_body
from producers.collector.reading.idempotency import IdempotencyStore, check_key
from producers.collector.reading.taking import id_root_of
from producers.collector.refusals import Reply, RequestRefused, SlowDown

KEY_HEADERS: Final = ("idempotency-key", "webhook-id")
"""Headers that name a request, so that a repeated one is known."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IntakePorts:
    """The shared parts of all inlets."""

    sender: RecordSender
    access: Access
    answers: IdempotencyStore
    budget: BodyBudget
    origins: OriginPolicy
    metrics: CollectorMetrics


class Intake:
    """An ASGI application for the POSTs of an inlet."""

    def __init__(self, inlet: Inlet, ports: IntakePorts, policy: IntakePolicy) -> None:
        self._inlet, self._ports, self._policy = inlet, ports, policy
        self._items = ItemIntake(inlet, ports.sender, ports.metrics, policy)

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
            self._items.admit()
            return await self._read(request, None)
        load = self._enter(request, sender)
        try:
            self._items.admit()
            return await self._read(request, sender)
        finally:
            load.leave()

    async def _read(self, request: "_Request", sender: EventSender | None) -> Reply:
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

    async def _once(self, request: "_Request", sender: EventSender, body: bytes) -> Reply:
        """Takes a request, or repeats the earlier answer of its Idempotency-Key."""
        name = next((name for name in KEY_HEADERS if name.encode() in request.headers), "")
        if not name:
            return await self._items.take(request.texts, sender, body, "")
        key = request.header(name)
        scope, now = (sender.source, check_key(key)), time.monotonic()
        said = f"{self._inlet.place}\0{request.media_type}\0".encode()
        digest = sha256(said + body).digest()
        answers = self._ports.answers
        earlier = answers.find(scope, digest, now)
        if earlier is not None:
            reply = await asyncio.shield(earlier)
            return Reply(reply.status, reply.body, reply.content_type, {"Idempotent-Replayed": "true"})
        promised = answers.promise(scope, digest, now)
        try:
            reply = await self._items.take(request.texts, sender, body, id_root_of(*scope))
        except BaseException as error:
            known = isinstance(error, RequestRefused)
            answers.forget(
                scope, promised, error if known else SlowDown(503, "the first request failed; send it again", 1)
            )
            raise
        answers.keep(scope, promised, reply)
        return reply

    def _enter(self, request: "_Request", sender: EventSender) -> SenderLoad:
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

"""The ASGI application of the collector: its endpoints, and the pages about it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from producers.collector.intake import Intake, IntakePorts
from producers.collector.item_intake import Inlet, IntakePolicy
from producers.collector.openapi import docs_page, openapi_document
from producers.collector.refusals import Reply, RequestRefused, encode

CORS_HEADERS: Final = (
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "Idempotency-Key",
    "Webhook-Id",
    "Webhook-Timestamp",
    "Webhook-Signature",
)


class StatusPages:
    """/healthz, /readyz, /metrics, /openapi.json and /docs."""

    def __init__(self, ports: IntakePorts, inlets: list[Inlet]) -> None:
        self._ports = ports
        self._document = openapi_document({inlet.place: inlet.summary for inlet in inlets})
        self._openapi, self._docs = json.dumps(self._document).encode(), docs_page(self._document).encode()

    def routes(self) -> list[BaseRoute]:
        """Returns the routes of all pages."""
        pages = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/openapi.json": self._openapi_json,
            "/docs": self._docs_html,
        }
        return [Route(path, page, methods=["GET"]) for path, page in pages.items()]

    async def _healthz(self, _: Request) -> Response:
        return Response(encode({"live": True}), 200, media_type="application/json")

    async def _readyz(self, _: Request) -> Response:
        absence = self._ports.sender.absence
        body = encode({"ready": not absence, "reasons": [absence] if absence else []})
        return Response(body, 503 if absence else 200, media_type="application/json")

    async def _metrics(self, request: Request) -> Response:
        ports = self._ports
        ports.metrics.waiting_bytes.set(ports.sender.waiting_bytes)
        ports.metrics.body_bytes.set(ports.budget.held)
        ports.metrics.kafka_up.set(not ports.sender.absence)
        body, content_type = ports.metrics.render(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    async def _openapi_json(self, _: Request) -> Response:
        return Response(self._openapi, media_type="application/json")

    async def _docs_html(self, _: Request) -> Response:
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        return Response(self._docs, media_type="text/html", headers={"content-security-policy": policy})


def build_app(inlets: list[Inlet], ports: IntakePorts, policy: IntakePolicy) -> Starlette:
    """Returns the application: connected to Kafka from its start, closed after all acks."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        ports.sender.start()
        try:
            yield
        finally:
            await ports.sender.close()

    routes: list[BaseRoute] = [
        Route(inlet.place, Intake(inlet, ports, policy), methods=["POST"], name=inlet.place) for inlet in inlets
    ]
    routes += StatusPages(ports, inlets).routes()
    middleware = []
    if ports.origins.allowed:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=sorted(ports.origins.allowed),
                allow_methods=["POST"],
                allow_headers=CORS_HEADERS,
                expose_headers=["Retry-After", "Idempotent-Replayed"],
                allow_credentials=True,  # beacons always come with them
                max_age=600,
            )
        )
    return Starlette(
        routes=routes,
        middleware=middleware,
        lifespan=lifespan,
        exception_handlers={HTTPException: _as_problem},
    )


async def _as_problem(_: Request, error: Any) -> Response:
    """Answers a request to no endpoint, or by a wrong method."""
    detail = {404: "no such endpoint; GET /docs lists all", 405: "wrong method; GET /docs lists all endpoints"}
    reply: Reply = RequestRefused(error.status_code, detail.get(error.status_code, str(error.detail))).as_reply()
    return Response(reply.body, reply.status, media_type=reply.content_type, headers=dict(error.headers or {}))

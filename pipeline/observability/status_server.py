"""The status server: /metrics, /healthz and /readyz over HTTP, on loopback unless the settings say otherwise.

The server runs aiohttp on an event loop of its own, in a daemon thread, so it answers while the worker's event loop is
busy or hung. Nothing is authenticated: the answers are counters and sentences, never an event.
"""

import asyncio
import errno
import json
import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from threading import Thread
from typing import Final, Protocol

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from pipeline.errors import SettingsError
from pipeline.observability.health import Report

CONNECTION_SECONDS: Final = 5.0
"""A connection is cut after this long, answered or not: idle clients, clients that send slowly, clients that do not
read."""

MOST_CONNECTIONS: Final = 512
"""Beyond this many connections the oldest are cut, so that clients cannot use up the worker's file descriptors."""

MOST_HEADERS: Final = 32
LONGEST_LINE: Final = 4096
"""Bounds of a request, in lines and bytes a line: at most 64 MiB wait for their end, over all connections."""

LISTEN_BACKLOG: Final = 1024
"""Connections that the kernel holds until the server accepts them; Linux caps the number at net.core.somaxconn."""

TRIM_SECONDS: Final = 0.05
"""How long after a connection is accepted the oldest ones are cut. The kernel hands over connections in bursts."""

DRAIN_SECONDS: Final = 0.5
"""How long `close` lets answers finish that are under way."""


class RendersMetrics(Protocol):
    """The content of `/metrics`."""

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Returns body and content type for the Accept header of a request."""


class StatusServer:
    """Listens from construction until `close`. `port` is the bound port."""

    def __init__(
        self,
        host: str,
        port: int,
        metrics: RendersMetrics,
        report: Callable[[float], Report],
        clock: Callable[[], float] = time.monotonic,
        *,
        spare_ports: int = 0,
    ) -> None:
        """Raises SettingsError when the address cannot be bound. `clock` is the clock of the health state. Where `port`
        is taken, the next `spare_ports` ones are tried."""
        self._metrics, self._report, self._clock = metrics, report, clock
        try:
            self._socket = _listen(host, port, min(spare_ports, 65_535 - port))
        except OSError as error:
            raise SettingsError(
                f"ENGAGEMENT_METRICS_HOST and _PORT: cannot listen on {host}:{port} ({error.strerror or error}); "
                "give a free port, or 0 to take any"
            ) from None
        self.host, self.port = host, int(self._socket.getsockname()[1])
        self._loop, self._stopping = asyncio.new_event_loop(), asyncio.Event()
        self._thread = Thread(target=self._run, name="status", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address as a URL without a path."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def close(self) -> None:
        """Stops listening; returns within a second or two."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(2 * DRAIN_SECONDS)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(
            application,
            access_log=None,
            shutdown_timeout=DRAIN_SECONDS,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            max_headers=MOST_HEADERS,
        )
        await runner.setup()
        requests = runner.server
        assert requests is not None, "setup has made the server"

        def connect() -> asyncio.Protocol:
            connection = requests()
            self._loop.call_later(CONNECTION_SECONDS, _cut, connection)
            self._loop.call_later(TRIM_SECONDS, trim)
            return connection

        def trim() -> None:
            for connection in requests.connections[:-MOST_CONNECTIONS]:
                _cut(connection)

        listener = await self._loop.create_server(connect, sock=self._socket, backlog=LISTEN_BACKLOG)
        await self._stopping.wait()
        listener.close()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        status, content_type, body = self._content(request.path, request.headers.get("Accept", ""))
        headers = {"Content-Type": content_type, "Cache-Control": "no-store", "Server": "engagement"}
        answer = web.Response(status=status, body=body, headers=headers)
        answer.force_close()
        return answer

    def _content(self, path: str, accept: str) -> tuple[HTTPStatus, str, bytes]:
        """Returns status, content type and body of the answer to a GET."""
        if path == "/metrics":
            body, content_type = self._metrics.render(accept)
            return HTTPStatus.OK, content_type, body
        if path in ("/healthz", "/readyz"):
            now = self._report(self._clock())
            is_well = now.live if path == "/healthz" else now.ready
            body = json.dumps({"live": now.live, "ready": now.ready, "reasons": now.reasons}).encode()
            return HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE, "application/json", body
        return HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"here are /metrics, /healthz and /readyz\n"


def _listen(host: str, port: int, spare_ports: int) -> socket.socket:
    """Listens at the port, or at the next free port. Raises OSError of the last one tried."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in range(port, port + spare_ports):
        try:
            return socket.create_server((host, number), family=family, backlog=LISTEN_BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return socket.create_server((host, port + spare_ports), family=family, backlog=LISTEN_BACKLOG)


def _cut(connection: RequestHandler) -> None:
    """Ends a connection at once, without waiting until the client has read the answer."""
    if connection.transport is not None:
        connection.transport.abort()

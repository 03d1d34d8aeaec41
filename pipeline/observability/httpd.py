"""The status server: /metrics, /healthz, /readyz over HTTP in a daemon thread, on loopback unless told otherwise.

It answers while the event loop is busy or hung, which is when it is asked. There is no authentication: what it shows
are counters and sentences, never an event.
"""

import json
import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Thread
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from pipeline.errors import SettingsError
from pipeline.observability.health import Report

REQUEST_SECONDS: Final = 5.0
"""A client that is slower than this is cut off; it must not hold a thread."""


class Renders(Protocol):
    """What `/metrics` shows."""

    def render(self, accept: str = "") -> tuple[bytes, str]: ...


class StatusServer:
    """Listens from the moment it is made until `close`. `port` is the one it got."""

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Renders,
        report: Callable[[float], Report],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises SettingsError when it cannot listen there. `clock` is that of the health state."""

        def answer(path: str, accept: str) -> tuple[HTTPStatus, str, bytes]:
            if path == "/metrics":
                body, content_type = metrics.render(accept)
                return HTTPStatus.OK, content_type, body
            if path in ("/healthz", "/readyz"):
                now = report(clock())
                good = now.live if path == "/healthz" else now.ready
                body = json.dumps({"live": now.live, "ready": now.ready, "reasons": now.reasons}).encode()
                return HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, "application/json", body
            return HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"here are /metrics, /healthz and /readyz\n"

        try:
            self._server = _Server(host, port, answer)
        except OSError as error:
            raise SettingsError(
                f"ENGAGEMENT_METRICS_HOST and _PORT: cannot listen on {host}:{port} ({error.strerror or error}); "
                "give a free port, or 0 to take any"
            ) from None
        self.host, self.port = host, int(self._server.server_address[1])
        self._thread = Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="status", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def close(self) -> None:
        """Stop listening; returns within a second."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(1)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, answer: Callable[[str, str], tuple[HTTPStatus, str, bytes]]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.answer = answer
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own asks DNS for the host's name, which may hang
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_SECONDS
    protocol_version = "HTTP/1.0"
    server_version, sys_version = "engagement", ""

    def do_GET(self) -> None:
        self._send(with_body=True)

    def do_HEAD(self) -> None:
        self._send(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Scrapes are not logged."""

    def _send(self, with_body: bool) -> None:
        status, content_type, body = self.server.answer(urlsplit(self.path).path, self.headers.get("Accept", ""))
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

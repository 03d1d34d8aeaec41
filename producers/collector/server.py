"""Runs the application on uvicorn: a bound socket, TLS where it is set, and an end that loses no answered event."""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn

from pipeline.errors import SettingsError
from producers.collector.http_protocol import BoundedHttp

BACKLOG: Final = 1024
KEEP_ALIVE_SECONDS: Final = 15
ANSWER_GRACE_SECONDS: Final = 5.0
"""What answers may take to reach their clients, beyond the wait for acks, after SIGTERM."""

GARBAGE_THRESHOLD: Final = 50_000
"""Objects between two looks of the garbage collector: a request makes a hundred, nearly none in cycles."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ListenPolicy:
    """Where the server listens, and for how many. `ack_seconds`: longest wait of a request for its acks."""

    host: str
    port: int
    certificate: Path | None = None
    private_key: Path | None = None
    connections: int = 1000
    ack_seconds: float = 10.0


def bind_listener(policy: ListenPolicy) -> socket.socket:
    """Binds the address. Raises SettingsError when it cannot be bound."""
    try:
        family = socket.AF_INET6 if ":" in policy.host else socket.AF_INET
        return socket.create_server((policy.host, policy.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"--host and --port: cannot listen on {policy.host}:{policy.port} ({error.strerror or error}); "
            "give a free port, or 0 to take any"
        ) from None


def run_server(app: Any, policy: ListenPolicy, listener: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT; then no connection is accepted, and all requests in progress are answered.

    Raises SettingsError for a certificate that cannot be used.
    """
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedHttp,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ssl_certfile=policy.certificate,
        ssl_keyfile=policy.private_key,
        limit_concurrency=policy.connections,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(policy.ack_seconds + ANSWER_GRACE_SECONDS),
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(
            f"ENGAGEMENT_COLLECT_CERTIFICATE and _PRIVATE_KEY cannot be used ({error.strerror or error}); "
            "name PEM files of a certificate chain and of its unencrypted key"
        ) from None
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 100)
    scheme = "https" if policy.certificate else "http"
    host = f"[{policy.host}]" if ":" in policy.host else policy.host
    log.info("listening on %s://%s:%d", scheme, host, listener.getsockname()[1])
    server = _Server(config)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listener]))
    log.info("stopped; every answered event is in Kafka")


class _Server(uvicorn.Server):
    """Ends with exit code 0 at SIGTERM; uvicorn raises the signal again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        kept = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)

"""Runs the application on uvicorn: a bound socket, TLS where it is set, and an end that loses no answered event."""

import asyncio
import gc
import logging
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn

from pipeline.errors import SettingsError
from pipeline.serving.asgi_server import SignalledServer
from pipeline.serving.listening import ACCEPT_BACKLOG, listener_url
from producers.collector.http_protocol import BoundedHttp

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
        backlog=ACCEPT_BACKLOG,
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
    log.info("listening on %s", listener_url(scheme, policy.host, listener))
    server = SignalledServer(config)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listener]))
    log.info("stopped; every answered event is in Kafka")

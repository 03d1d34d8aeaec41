"""The command `serve`."""

import asyncio
import json
import logging
import socket
from typing import Any, Final

import click
import uvicorn

from pipeline.brands import load_brands
from pipeline.observability.logs import configure_logs
from pipeline.page.access import access_rule
from pipeline.page.app import LivePage, page_app
from pipeline.page.database import PageDatabase
from pipeline.page.views import PagePorts
from pipeline.serving.asgi_server import SignalledServer
from pipeline.serving.listening import bind_listener, listener_url
from pipeline.settings import load_settings

IDLE_CONNECTION_SECONDS: Final = 15
STREAM_GRACE_SECONDS: Final = 2


@click.command("serve", epilog="Example: engagement serve --port 8090")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where it listens; others than loopback need a token."
)
@click.option("--port", default=8090, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--json", "as_json", is_flag=True, help='Print {"url": ...} as soon as it listens.')
def serve_page(host: str, port: int, as_json: bool) -> None:
    """Show the live page in a browser: what rises and why, conversations by the minute, cascades as they grow.

    Prints the address of the page and serves until Ctrl-C. Reads ClickHouse alone, as ENGAGEMENT_PAGE_CLICKHOUSE
    says where set.
    """
    settings = load_settings()
    configure_logs(settings)
    rule = access_rule(settings, host)
    database = PageDatabase(settings)
    ports = PagePorts(database, load_brands(settings.brands))
    with bind_listener(host, port) as listener:
        url = listener_url("http", host, listener)
        click.echo(json.dumps({"url": url}) if as_json else f"the live page: {url} (Ctrl-C ends it)")
        try:
            _run(ports, rule, listener)
        finally:
            database.close()


def _run(ports: PagePorts, rule: Any, listener: socket.socket) -> None:
    pages: list[LivePage] = []
    config = uvicorn.Config(
        page_app(ports, rule, pages.append),
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_CONNECTION_SECONDS,
        timeout_graceful_shutdown=STREAM_GRACE_SECONDS,
    )
    config.load()
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_PageServer(config, pages).serve(sockets=[listener]))


class _PageServer(SignalledServer):
    """Ends the streams of all viewers at the signal; uvicorn would wait for them."""

    def __init__(self, config: uvicorn.Config, pages: list[LivePage]) -> None:
        super().__init__(config)
        self._pages = pages

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        # A signal handler runs between two steps of the loop, which must be woken up.
        for page in self._pages:
            self._loop.call_soon_threadsafe(page.close)

"""HTTP/1.1 of uvicorn with bounds that uvicorn leaves to a proxy: of the time and size of a request's head.

Without them a client that sends its headers a byte a minute holds a connection for ever, and endless headers, also
behind a chunked body, fill the memory.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS: Final = 10.0
"""From the first byte of a request, or the opening of a connection, to the end of the headers."""

HEAD_BYTES: Final = 64 * 1024
FRAMING_OF_BODY: Final = 8
"""Most bytes of framing for each byte of a body: a chunk of one byte takes five."""


class BoundedHttp(HttpToolsProtocol):
    """Closes a connection without headers in time, or with more bytes around bodies than any client needs."""

    _head_timer: asyncio.TimerHandle | None = None
    _in_head = True
    _received = _body = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)
        self._received += len(data)
        super().data_received(data)
        if self._received - self._body > HEAD_BYTES + FRAMING_OF_BODY * self._body:
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head, self._received, self._body = True, 0, 0
        super().on_message_complete()

    def _give_up(self) -> None:
        self._head_timer = None
        if self._in_head and not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

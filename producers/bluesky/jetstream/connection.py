"""The connection to Jetstream: one host at a time, another one after a failure, with growing pauses.

A host that answers no for good (HTTP 4xx) is an error only before the first connection of all: later it may be a
deployment. A cursor that a v2 host has no events for any more (CursorTooOld) is a gap; the stream goes on from its
floor.
"""

import json
import logging
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from pipeline.errors import Refused
from producers.bluesky.jetstream.compression import Compression
from producers.bluesky.jetstream.endpoints import (
    MESSAGE_BYTES,
    SUBPROTOCOL,
    TIME_CURSOR,
    JetstreamEndpoint,
    Request,
    Wanted,
    subscription_url,
)
from producers.bluesky.jetstream.stream_position import REWIND_US, Position, resume_cursor

LONG_SESSION_SECONDS: Final = 60.0
"""A session that lasted this long was no failure, even without an event."""

QUEUED_FRAMES: Final = 1024
"""Frames that wait in memory for the reader. Beyond them TCP slows down the host."""

RETRIED_STATUSES: Final = (408, 425, 429)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConnectionPolicy:
    """Times of a connection, in seconds. `pause` and `longest_pause`: of the back-off, which doubles. `ping`: between
    two pings; a host that answers none within as long is away. `tick`: at most so long between two results."""

    pause: float = 0.5
    longest_pause: float = 30.0
    open: float = 10.0
    ping: float = 20.0
    tick: float = 0.5


class StreamMessage(NamedTuple):
    """A message of a host, unread."""

    endpoint: JetstreamEndpoint
    value: bytes


class JetstreamConnection:
    """A stream of messages over connections to one host after the other. Belongs to one thread."""

    def __init__(
        self,
        endpoints: tuple[JetstreamEndpoint, ...],
        wanted: Wanted,
        compression: Compression | None = None,
        policy: ConnectionPolicy | None = None,
    ) -> None:
        self._endpoints, self._wanted = endpoints, wanted
        self._compression, self._policy = compression or Compression(is_wanted=False), policy or ConnectionPolicy()
        self._turn = self._failures = 0
        self._floors: dict[str, int] = {}
        self._refused: set[str] = set()
        self._dictionary_refusals: Counter[str] = Counter()
        self._began_us: int | None = None
        self._is_ending = False
        self.counts: Counter[str] = Counter()
        self.is_connected = False
        self.sessions = 0
        self.trouble = "not connected yet"

    def messages(
        self, position: Callable[[], Position | None], is_over: Callable[[], bool]
    ) -> Iterator[StreamMessage | None]:
        """Yields messages, and None while no message comes, until `is_over`. Raises Refused when every host
        answers no before any was connected."""
        while not is_over():
            endpoint = self._endpoints[self._turn % len(self._endpoints)]
            started, begun = time.monotonic(), position()
            try:
                with self._open(endpoint, begun) as socket:
                    self._note_connected(endpoint)
                    yield from self._receive(endpoint, socket, is_over)
                self.trouble = "the stream was ended"
            except InvalidStatus as error:
                if self._is_cured(endpoint, begun, error):
                    continue
                self.trouble = self._refusal(endpoint, error)
            except (WebSocketException, OSError, EOFError) as error:
                self.trouble = str(error) or type(error).__name__
            finally:
                self.is_connected = False
            if is_over():
                return
            if time.monotonic() - started > LONG_SESSION_SECONDS:
                self._failures = 0
            yield from self._pause(endpoint, is_over)

    def decode(self, value: bytes) -> bytes:
        """Returns the JSON of a message. Raises FrameError."""
        return self._compression.decode(value)

    def note_progress(self) -> None:
        """Notes progress of the stream: the next failure counts as the first."""
        self._failures = 0

    def end_session(self) -> None:
        """Ends the present connection; the next one begins behind it."""
        self._is_ending = True

    def _open(self, endpoint: JetstreamEndpoint, position: Position | None) -> ClientConnection:
        compression = self._compression.ask(endpoint)
        cursor = resume_cursor(endpoint, position)
        if cursor is None and self._began_us is not None:
            cursor = self._began_us - REWIND_US
        if cursor is not None and cursor < TIME_CURSOR:
            cursor = max(cursor, self._floors.get(endpoint.url, 0))
        # v1 takes one compression at a time, v2 never deflates.
        deflates = endpoint.version == "v1" and not compression
        return connect(
            subscription_url(endpoint, Request(self._wanted, cursor, compression)),
            subprotocols=[Subprotocol(SUBPROTOCOL)] if endpoint.version == "v2" else None,
            compression="deflate" if deflates else None,
            open_timeout=self._policy.open,
            ping_interval=self._policy.ping,
            ping_timeout=self._policy.ping,
            close_timeout=1,
            max_size=2 * MESSAGE_BYTES,
            max_queue=QUEUED_FRAMES,
            legacy=True,
        )

    def _note_connected(self, endpoint: JetstreamEndpoint) -> None:
        self.is_connected = True
        self.sessions += 1
        self._is_ending = False
        del self._dictionary_refusals[endpoint.url]
        if self._began_us is None:
            self._began_us = time.time_ns() // 1000
        log.info("connected to %s", endpoint.url)

    def _receive(
        self, endpoint: JetstreamEndpoint, socket: ClientConnection, is_over: Callable[[], bool]
    ) -> Iterator[StreamMessage | None]:
        while not (self._is_ending or is_over()):
            try:
                value = socket.recv(timeout=self._policy.tick, decode=False)
            except TimeoutError:
                yield None
                continue
            yield StreamMessage(endpoint, value)

    def _is_cured(self, endpoint: JetstreamEndpoint, begun: Position | None, error: InvalidStatus) -> bool:
        """Takes in a v2 host's answer to a cursor or a dictionary, and returns whether to ask again at once."""
        name, message = _xrpc_error(error)
        if name == "CursorTooOld":
            found = re.search(r"floor (\d{1,15})\b", message)
            floor = int(found[1]) if found else 0
            if floor <= self._floors.get(endpoint.url, 0):
                return False
            self._floors[endpoint.url] = floor
            if begun is None or floor > begun.cursor:  # else only the overlap is gone
                self.counts["cursor_gaps"] += 1
                log.warning("%s: %s; going on from %d, events between are lost", endpoint.url, message[:300], floor)
            return True
        if name == "UnknownZstdDictionary":
            # A second refusal in a row means that the host hands out another dictionary than it takes.
            self._dictionary_refusals[endpoint.url] += 1
            refusals = self._dictionary_refusals[endpoint.url]
            (self._compression.forget if refusals == 1 else self._compression.give_up)(endpoint)
            return refusals <= 2
        return False

    def _refusal(self, endpoint: JetstreamEndpoint, error: InvalidStatus) -> str:
        """Returns the answer of a host. Raises Refused when all hosts have answered no, and none was ever connected."""
        status, (name, message) = error.response.status_code, _xrpc_error(error)
        said = " ".join(filter(None, (f"HTTP {status}", name, message[:300].strip())))
        if 400 <= status < 500 and status not in RETRIED_STATUSES:
            self._refused.add(endpoint.url)
            if not self.sessions and len(self._refused) == len(self._endpoints):
                raise Refused(f"{endpoint.url}: {said}; is --host right, and are the other options?") from None
        return said

    def _pause(self, endpoint: JetstreamEndpoint, is_over: Callable[[], bool]) -> Iterator[None]:
        """Waits before the next host, yielding None meanwhile."""
        self._turn += 1
        self._failures += 1
        self.counts["reconnects"] += 1
        longest = min(self._policy.longest_pause, self._policy.pause * 2.0 ** min(self._failures - 1, 20))
        seconds = longest * random.uniform(0.5, 1)
        log.warning("%s: %s; connecting again in %.1f s", endpoint.url, self.trouble, seconds)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not is_over():
            yield None
            time.sleep(min(left, self._policy.tick))


def _xrpc_error(error: InvalidStatus) -> tuple[str, str]:
    """Returns name and message of a refusal; of v1, whose refusals are plain text, an empty name."""
    body = (error.response.body or b"").decode("utf-8", "replace")
    try:
        fields = json.loads(body)
    except ValueError:
        return "", body
    if not isinstance(fields, dict):
        return "", body
    return str(fields.get("error", "")), str(fields.get("message", ""))

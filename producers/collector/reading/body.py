"""Reads the body of a request within bounds of size, time and memory, and takes gzip apart without swelling."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from producers.collector.refusals import RequestRefused, SlowDown

GZIP_WINDOW: Final = 31
"""zlib's window bits for gzip alone: header and checksum are verified."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGone(Exception):
    """The client has closed the connection before the end of the body."""


@dataclass(frozen=True)
class BodyPolicy:
    """Bounds of bodies. `seconds`: longest time of one body; `memory_bytes`: all bodies that are held at a time."""

    seconds: float = 30.0
    memory_bytes: int = 128 * 1024 * 1024


class BodyBudget:
    """The memory of all bodies held at a time."""

    def __init__(self, policy: BodyPolicy) -> None:
        self.policy, self.held = policy, 0

    def take(self, size: int) -> None:
        """Adds to the memory held. Raises SlowDown above the bound."""
        if self.held + size > self.policy.memory_bytes:
            raise SlowDown(429, "too many large bodies at a time; send again in a second, or smaller ones", 1)
        self.held += size

    def give_back(self, size: int) -> None:
        """Subtracts from the memory held."""
        self.held -= size


async def read_body(receive: Receive, headers: "dict[bytes, bytes]", limit: int, budget: BodyBudget) -> bytes:
    """Reads a body of at most `limit` bytes, also after decompression; the caller gives its length back to the budget.

    Raises RequestRefused for a body too large, too slow or damaged, ClientGone for one that ends early.
    """
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"identity", b"", b"gzip", b"x-gzip"):
        raise RequestRefused(415, "Content-Encoding: send gzip, or leave it out", {"Accept-Encoding": "gzip"})
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    message = None
    inflate = _Inflate(limit) if encoding in (b"gzip", b"x-gzip") else None
    chunks: list[bytes] = []
    size = held = 0
    try:
        async with asyncio.timeout(budget.policy.seconds):
            while message is None or message.get("more_body"):
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                chunk = message.get("body", b"")
                if inflate is not None:
                    chunk = inflate.feed(chunk)
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)
                budget.take(len(chunk))
                held += len(chunk)
                if chunk:
                    chunks.append(chunk)
        if inflate is not None:
            inflate.end()
    except TimeoutError:
        budget.give_back(held)
        raise RequestRefused(
            408, f"the body did not come within {budget.policy.seconds:g} s; send smaller ones", {"Connection": "close"}
        ) from None
    except BaseException:
        budget.give_back(held)
        raise
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def discard_body(receive: Receive, limit: int, seconds: float) -> bool:
    """Reads and drops the rest of a body, so the client sees the answer; False for a body too large or slow."""
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while size <= limit:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect":
                    return False
                if not message.get("more_body"):
                    return True
    except TimeoutError:
        pass
    return False


def too_large(limit: int) -> RequestRefused:
    """Returns the refusal of a body above the limit."""
    return RequestRefused(
        413,
        f"the body is above {limit} bytes (decompressed); send fewer events at a time",
        {"Connection": "close"},
    )


class _Inflate:
    """Decompresses gzip of one or several members, never beyond `limit` bytes in all."""

    def __init__(self, limit: int) -> None:
        self._left = self._limit = limit
        self._member: Any = None
        self._complete = True

    def feed(self, data: bytes) -> bytes:
        """Returns the decompressed bytes of a chunk. Raises RequestRefused for damage, or above the limit."""
        parts = []
        while data:
            if self._member is None:
                if self._complete and not data.strip(b"\0"):  # padding behind the last member
                    break
                self._member, self._complete = zlib.decompressobj(GZIP_WINDOW), False
            try:
                part = self._member.decompress(data, self._left + 1)
            except zlib.error as error:
                raise RequestRefused(400, f"the body is no sound gzip ({error}); compress it again") from None
            self._left -= len(part)
            if self._left < 0:
                raise too_large(self._limit)
            parts.append(part)
            data = self._member.unconsumed_tail
            if self._member.eof:
                data, self._member, self._complete = self._member.unused_data, None, True
        return b"".join(parts)

    def end(self) -> None:
        """Raises RequestRefused where the last member is cut off."""
        if not self._complete:
            raise RequestRefused(400, "the gzip body is cut off; send it again")

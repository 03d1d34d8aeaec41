"""Delivery over HTTP: the one file of the processors that imports aiohttp.

An endpoint follows no redirect (an alert is for the address in the file), asks no proxy of the environment, and shows
of an address its host alone: the path of a webhook is a secret.
"""

import asyncio
import json
import logging
import re
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import aiohttp
from pydantic import SecretStr

from pipeline.observability.logs import Redaction
from pipeline.observability.outages import OutageLog
from processors.alerts.fields import host_of
from processors.alerts.ports import Answer, Notice
from processors.alerts.receivers.wording import digest_key

REFUSAL_CHARACTERS: Final = 200
"""How much of the body of a refusal is shown."""

READ_BYTES: Final = 8192
"""How much of the body of a refusal is read, at most."""

SECRET_CHARACTERS: Final = 8
"""A part of an address of at least this length is taken for a secret."""

log = logging.getLogger(__name__)


class Message(NamedTuple):
    """The body of a POST and its headers."""

    body: bytes
    headers: dict[str, str]


MakeMessage = Callable[[Notice, float], Message]
"""Makes the message of a notice; the time is Unix time in seconds."""

MakeDigest = Callable[[Sequence[Notice], float], Message]
"""Makes the one message of several notices."""


class Reply(NamedTuple):
    """A reply to a request: its meaning for a delivery, and its body, empty where none was wanted."""

    answer: Answer
    body: bytes = b""


class HttpClient:
    """Requests with the headers and certificates of one receiver. Connects at the first request; belongs to one event
    loop."""

    def __init__(
        self,
        timeout: float,
        headers: Mapping[str, SecretStr],
        tls: ssl.SSLContext | None,
        secrets: Iterable[SecretStr],
    ) -> None:
        """`timeout`: of a whole request, seconds. `secrets`: addresses whose parts no answer may show."""
        self._timeout, self._headers, self._tls = timeout, headers, tls
        self._redact = Redaction(_secrets_of(secrets, headers.values()))
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: SecretStr, body: bytes, headers: Mapping[str, str], most: int = 0) -> Reply:
        """Posts to an address, and reads at most `most` bytes of the body of a success. Never raises but when
        cancelled."""
        host = host_of(url)
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout))
        try:
            async with self._session.post(
                url.get_secret_value(),
                data=body,
                headers={**{name: text.get_secret_value() for name, text in self._headers.items()}, **headers},
                allow_redirects=False,
                ssl=self._tls or True,
            ) as response:
                if 200 <= response.status < 300:
                    return Reply(Answer(True), await _read(response.content, most))
                answered = (await _read(response.content, READ_BYTES)).decode(errors="replace")
                refusal = self.shown(f"{response.reason or ''}: {answered}")
                wait = _retry_seconds(response.headers.get("Retry-After", ""))
                return Reply(Answer(False, f"{host} answers {response.status} {refusal}", wait))
        except TimeoutError:
            return Reply(Answer(False, f"{host} has not answered within {self._timeout:g} s"))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The text of such an error may quote the address.
            reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            return Reply(Answer(False, f"{host} cannot be reached ({reason})"))

    def shown(self, text: str) -> str:
        """Returns the text of a server as far as it may be shown. Servers quote the address that they do not know; the
        cut comes last, and leaves no part of a secret."""
        return _one_line(self._redact(text))[:REFUSAL_CHARACTERS]

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class Endpoint:
    """One address, or each instance of a cluster. Belongs to one event loop."""

    def __init__(
        self,
        urls: Iterable[SecretStr],
        timeout: float,
        headers: Mapping[str, SecretStr] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`timeout`: of a whole request, seconds."""
        self._urls = list(urls)
        self._client = HttpClient(timeout, dict(headers or {}), tls, self._urls)
        self._outages = OutageLog(log)

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Posts to all addresses; delivered when one of them accepts. Never raises but when cancelled."""
        replies = await asyncio.gather(*(self._client.post(url, body, headers) for url in self._urls))
        answers = [reply.answer for reply in replies]
        failed = [answer for answer in answers if not answer.is_delivered]
        if len(failed) == len(answers):
            return failed[0]
        for number, answer in enumerate(answers):
            name = f"instance {number + 1} of {len(answers)}"
            if answer.is_delivered:
                self._outages.note_success(name)
            else:
                self._outages.note_failure(name, f"{answer.reason}; another instance was told", answer.reason)
        return Answer(True)

    async def close(self) -> None:
        await self._client.close()


class HttpReceiver:
    """A Receiver that posts the message of each notice to an endpoint."""

    def __init__(self, endpoint: Endpoint, make_message: MakeMessage, make_digest: MakeDigest | None = None) -> None:
        """Without `make_digest` the notices of a digest are sent one by one."""
        self._endpoint, self._make_message, self._make_digest = endpoint, make_message, make_digest

    async def send(self, notice: Notice, now: float) -> Answer:
        message = self._make_message(notice, now)
        return await self._endpoint.post(message.body, {"Idempotency-Key": notice.key, **message.headers})

    async def send_digest(self, notices: Sequence[Notice], now: float) -> Answer:
        if self._make_digest is None:
            answers = [await self.send(notice, now) for notice in notices]
            return next((answer for answer in answers if not answer.is_delivered), answers[0])
        message = self._make_digest(notices, now)
        return await self._endpoint.post(message.body, {"Idempotency-Key": digest_key(notices), **message.headers})

    async def close(self) -> None:
        await self._endpoint.close()


def compact_json(value: Any) -> bytes:
    """Returns a value as JSON without blanks, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def tls_context(ca: Path) -> ssl.SSLContext:
    """Returns a TLS context that trusts the certificates in `ca`. Raises ValueError with the cure."""
    try:
        if not ca.is_file():
            raise ValueError(f"{ca} is not a file; name a PEM file of certificates")
        return ssl.create_default_context(cafile=str(ca))
    except OSError as error:
        reason = "not PEM" if isinstance(error, ssl.SSLError) else error.strerror or "not PEM"
        raise ValueError(f"{ca} holds no certificates ({reason}); name a PEM file of certificates") from None


def _retry_seconds(header: str) -> float:
    """Returns a Retry-After in seconds, 0 for a date, which no known receiver sends."""
    return float(header) if header.isdecimal() else 0.0


async def _read(stream: aiohttp.StreamReader, most: int) -> bytes:
    """Reads at most `most` bytes of a body."""
    parts = list[bytes]()
    while (left := most - sum(map(len, parts))) > 0 and (part := await stream.read(left)):
        parts.append(part)
    return b"".join(parts)


def _one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _secrets_of(urls: Iterable[SecretStr], values: Iterable[SecretStr]) -> set[str]:
    """Returns the secrets to mask in answers: values of headers, and the parts of an address but its host."""
    secrets = {value.get_secret_value() for value in values}
    for url in urls:
        parts = urlsplit(url.get_secret_value())
        userinfo = parts.netloc.rpartition("@")[0]
        secrets.update((userinfo, unquote(userinfo), *userinfo.split(":")))
        rest = f"{parts.path}?{parts.query}" if parts.query else parts.path
        longer = {rest, parts.path, *re.split(r"[/?&=]", rest)}
        secrets.update(part for part in longer if len(part) >= SECRET_CHARACTERS)
    return secrets - {""}

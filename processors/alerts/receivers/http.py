"""Delivery over HTTP: the one file of the processors that imports aiohttp.

An endpoint follows no redirect (an alert is for the address in the file), asks no proxy of the environment, and shows
of an address its host alone: the path of a webhook is a secret.
"""

import asyncio
import json
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
from pydantic import SecretStr

from pipeline.errors import SettingsError
from pipeline.observability.outages import OutageLog
from processors.alerts.fields import host_of
from processors.alerts.ports import Answer, Notice

REFUSAL_BYTES: Final = 200
"""How much of the body of a refusal is shown."""

log = logging.getLogger(__name__)


class Message(NamedTuple):
    """The body of a POST and its headers."""

    body: bytes
    headers: dict[str, str]


MakeMessage = Callable[[Notice, float], Message]
"""Makes the message of a notice; the time is Unix time in seconds."""


class Endpoint:
    """One address, or each instance of a cluster. Connects at the first request; belongs to one event loop."""

    def __init__(
        self,
        urls: Iterable[SecretStr],
        timeout: float,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`timeout`: of a whole request, seconds."""
        self._urls, self._timeout, self._headers, self._tls = list(urls), timeout, dict(headers or {}), tls
        self._session: aiohttp.ClientSession | None = None
        self._outages = OutageLog(log)

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Posts to all addresses; delivered when one of them accepts. Never raises but when cancelled."""
        answers = await asyncio.gather(*(self._post(url, body, headers) for url in self._urls))
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
        if self._session is not None:
            await self._session.close()

    async def _post(self, url: SecretStr, body: bytes, headers: Mapping[str, str]) -> Answer:
        host = host_of(url)
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout))
        try:
            async with self._session.post(
                url.get_secret_value(),
                data=body,
                headers={**headers, **self._headers},
                allow_redirects=False,
                ssl=self._tls or True,
            ) as response:
                if 200 <= response.status < 300:
                    return Answer(True)
                refusal = (await response.content.read(REFUSAL_BYTES)).decode(errors="replace")
                return Answer(
                    False,
                    " ".join(f"{host} answers {response.status} {response.reason or ''}: {refusal}".split()),
                    _retry_seconds(response.headers.get("Retry-After", "")),
                )
        except TimeoutError:
            return Answer(False, f"{host} has not answered within {self._timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The text of such an error may quote the address.
            reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            return Answer(False, f"{host} cannot be reached ({reason})")


class HttpReceiver:
    """A Receiver that posts the message of each notice to an endpoint."""

    def __init__(self, endpoint: Endpoint, make_message: MakeMessage) -> None:
        self._endpoint, self._make_message = endpoint, make_message

    async def send(self, notice: Notice, now: float) -> Answer:
        message = self._make_message(notice, now)
        return await self._endpoint.post(message.body, {"Idempotency-Key": notice.key, **message.headers})

    async def close(self) -> None:
        await self._endpoint.close()


def compact_json(value: Any) -> bytes:
    """Returns a value as JSON without blanks, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def tls_context(name: str, ca: Path) -> ssl.SSLContext:
    """Returns a TLS context that trusts the certificates in `ca`. Raises SettingsError for the receiver `name`."""
    try:
        return ssl.create_default_context(cafile=str(ca))
    except OSError as error:
        reason = error.strerror or "not PEM"
        raise SettingsError(f"receivers.{name}.ca: {ca} holds no certificates ({reason})") from None


def _retry_seconds(header: str) -> float:
    """Returns a Retry-After in seconds, 0 for a date, which no known receiver sends."""
    return float(header) if header.isdecimal() else 0.0

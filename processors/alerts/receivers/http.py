"""Receivers over HTTP: the one file that imports aiohttp.

No redirect is followed (an alert is for whom the file names), no proxy of the environment is asked, no address is shown
but its host: the path of a webhook is a secret.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

import aiohttp
from pydantic import SecretStr

from pipeline.errors import SettingsError
from processors.alerts.config import AlertmanagerReceiver, AlertsConfig, ReceiverConfig, SlackReceiver
from processors.alerts.fields import host_of
from processors.alerts.ports import Answer, Notice, Receiver
from processors.alerts.receivers.messages import Content, for_alertmanager, for_slack, for_webhook

SAID_BYTES: Final = 200
"""Of a refusal so much is shown."""

log = logging.getLogger(__name__)


class Endpoint:
    """One address, or each instance of a cluster. Connects when first used; belongs to one event loop."""

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

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Posts to all; delivered is what one of them took. Never raises but when cancelled."""
        answers = await asyncio.gather(*(self._post(url, body, headers) for url in self._urls))
        failed = [answer for answer in answers if not answer.is_delivered]
        if len(failed) == len(answers):
            return failed[0]
        for answer in failed:
            log.warning("%s; another instance was told", answer.reason)
        return Answer(True)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _post(self, url: SecretStr, body: bytes, headers: Mapping[str, str]) -> Answer:
        where = host_of(url)
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
                said = (await response.content.read(SAID_BYTES)).decode(errors="replace")
                return Answer(
                    False,
                    " ".join(f"{where} answers {response.status} {response.reason or ''}: {said}".split()),
                    _seconds(response.headers.get("Retry-After", "")),
                )
        except TimeoutError:
            return Answer(False, f"{where} has not answered within {self._timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Their texts may quote the address.
            said = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            return Answer(False, f"{where} cannot be reached ({said})")


class HttpReceiver:
    """A Receiver: an endpoint, and what it is sent."""

    def __init__(self, endpoint: Endpoint, make: Callable[[Notice, float], Content]) -> None:
        self._endpoint, self._make = endpoint, make

    async def send(self, notice: Notice, now: float) -> Answer:
        content = self._make(notice, now)
        return await self._endpoint.post(content.body, {"Idempotency-Key": notice.key, **content.headers})

    async def close(self) -> None:
        await self._endpoint.close()


def open_receivers(config: AlertsConfig) -> dict[str, Receiver]:
    """A receiver of each name. Nothing is connected yet. Raises SettingsError for certificates that cannot be read."""
    return {name: _open_receiver(name, each, config) for name, each in config.receivers.items()}


def open_heartbeat(config: AlertsConfig) -> Endpoint | None:
    """Whoever is told that alerts can be delivered."""
    beat = config.heartbeat
    return None if beat is None else Endpoint([beat.url], beat.timeout)


def _open_receiver(name: str, each: ReceiverConfig, config: AlertsConfig) -> HttpReceiver:
    tls = None
    if each.ca is not None:
        try:
            tls = ssl.create_default_context(cafile=str(each.ca))
        except OSError as error:
            why = error.strerror or "not PEM"
            raise SettingsError(f"receivers.{name}.ca: {each.ca} holds no certificates ({why})") from None
    headers = {header: text.get_secret_value() for header, text in each.headers.items()}
    if isinstance(each, AlertmanagerReceiver):
        urls = [SecretStr(url.get_secret_value().rstrip("/") + "/api/v2/alerts") for url in each.urls]
        make = partial(for_alertmanager, hold=each.hold, link=config.link)
        return HttpReceiver(Endpoint(urls, each.timeout, headers, tls), make)
    endpoint = Endpoint([each.url], each.timeout, headers, tls)
    if isinstance(each, SlackReceiver):
        return HttpReceiver(endpoint, partial(for_slack, link=config.link))
    secret = each.secret.get_secret_value() if each.secret else None
    return HttpReceiver(endpoint, partial(for_webhook, source=config.source, secret=secret))


def _seconds(said: str) -> float:
    """Retry-After in seconds; as a date it is not asked for by those we tell."""
    return float(said) if said.isdecimal() else 0.0

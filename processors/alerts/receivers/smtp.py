"""Delivery by SMTP: the one file that imports aiosmtplib. Each message has a connection of its own."""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from typing import Final, NamedTuple

import aiosmtplib
from pydantic import SecretStr

from pipeline.observability.logs import Redaction
from pipeline.observability.outages import OutageLog
from processors.alerts.ports import Answer, Notice
from processors.alerts.receivers.email_message import digest_email, spike_email
from processors.alerts.receivers.wording import Links, shorten
from processors.alerts.values.mailboxes import mailbox_of
from schemas.alert_words import plain_line

SHOWN_CHARACTERS: Final = 200
REFUSED_WAIT: Final = 300.0
"""Seconds until the next attempt after a refusal that the server calls permanent (5xx)."""

CONNECT_CURES: Final = {
    ssl.SSLCertVerificationError: "its certificate is not trusted; name the certificates to trust as ca",
    ssl.SSLError: "no TLS; compare security with the port: starttls on 587, tls on 465",
}


class MailServer(NamedTuple):
    """A mail server. `timeout`: of a whole delivery, seconds. `tls`: None where `security` is none."""

    host: str
    port: int
    security: str
    tls: ssl.SSLContext | None
    user: SecretStr | None
    password: SecretStr | None
    timeout: float


class Mailer:
    """A Receiver that sends e-mail."""

    def __init__(self, server: MailServer, sender: str, to: Sequence[str], links: Links) -> None:
        self._server, self._sender, self._to, self._links = server, sender, list(to), links
        secrets = (server.user, server.password)
        self._redact = Redaction({secret.get_secret_value() for secret in secrets if secret is not None} - {""})
        self._outages = OutageLog(logging.getLogger(__name__))

    async def send(self, notice: Notice, now: float) -> Answer:
        return await self._deliver(spike_email(notice, now, self._sender, self._to, self._links))

    async def send_digest(self, notices: Sequence[Notice], now: float) -> Answer:
        return await self._deliver(digest_email(notices, now, self._sender, self._to, self._links))

    async def close(self) -> None:
        """Does nothing: no connection outlives its message."""

    async def _deliver(self, message: EmailMessage) -> Answer:
        server = self._server
        where = f"{server.host}:{server.port}"
        try:
            async with asyncio.timeout(server.timeout):
                refused = await self._transmit(message)
        except TimeoutError:
            return Answer(False, f"{where} has not answered within {server.timeout:g} s")
        except aiosmtplib.SMTPRecipientsRefused as error:
            first = error.recipients[0]
            return self._refusal(where, first.code, f"{first.recipient}: {first.message}")
        except aiosmtplib.SMTPResponseException as error:
            return self._refusal(where, error.code, error.message)
        except (aiosmtplib.SMTPConnectError, aiosmtplib.SMTPServerDisconnected, OSError, ValueError) as error:
            return Answer(False, f"{where} cannot be reached ({self._cause(error)})")
        except aiosmtplib.SMTPException as error:  # an extension that the server does not have
            return Answer(False, f"{where} cannot do what security asks for ({self._shown(str(error))})", REFUSED_WAIT)
        for mailbox in self._to:
            name = mailbox_of(mailbox).addr_spec
            if name in refused:
                told = f"{where} answers {refused[name].code} {self._shown(refused[name].message)}; others were told"
                self._outages.note_failure(name, f"no e-mail to {name}: {told}", told)
            else:
                self._outages.note_success(name)
        return Answer(True)

    async def _transmit(self, message: EmailMessage) -> dict[str, aiosmtplib.SMTPResponse]:
        """Sends a message and returns the mailboxes that were refused, where others were not."""
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            timeout=server.timeout,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            tls_context=server.tls,
            username=None if server.user is None else server.user.get_secret_value(),
            password=None if server.password is None else server.password.get_secret_value(),
            local_hostname="localhost",
        )
        try:
            await client.connect()
            sender, to = mailbox_of(self._sender), map(mailbox_of, self._to)
            recipients = [mailbox.addr_spec for mailbox in to]
            refused, _ = await client.send_message(message, sender=sender.addr_spec, recipients=recipients)
            return refused
        finally:
            client.close()

    def _refusal(self, where: str, code: int, text: str) -> Answer:
        return Answer(False, f"{where} answers {code} {self._shown(text)}", REFUSED_WAIT if code >= 500 else 0.0)

    def _cause(self, error: BaseException) -> str:
        """Returns the cause of a failed connection in words."""
        causes = [error, error.__cause__, error.__context__]
        for kind, cure in CONNECT_CURES.items():
            if any(isinstance(cause, kind) for cause in causes):
                return cure
        reasons = (cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror)
        return self._shown(next(reasons, type(error).__name__))

    def _shown(self, text: str) -> str:
        return shorten(self._redact(plain_line(text)), SHOWN_CHARACTERS)

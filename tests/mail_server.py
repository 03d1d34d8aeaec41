"""A mail server on loopback that remembers its mail and misbehaves when it is told to."""

import asyncio
import email
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "alerts", "hunter2-hunter2"


@dataclass(frozen=True)
class Mail:
    """What came in. `is_encrypted`: over TLS; `user`: who had logged in."""

    sender: str
    to: list[str]
    message: EmailMessage
    is_encrypted: bool
    user: str | None

    @property
    def key(self) -> str:
        """The idempotency key that its id was made of: `5f.opened@...` -> `5f/opened`."""
        return str(self.message["Message-ID"]).strip("<>").partition("@")[0].replace(".", "/", 1)

    def part(self, kind: str) -> Any:
        """The content of the part of a type."""
        content = next(part for part in self.message.walk() if part.get_content_type() == kind).get_content()
        return content.replace("\r\n", "\n")


class MailServer:
    """`security`: none, starttls or tls. `refusal`: what it answers to the data; `refused`: what it answers to a
    mailbox; `seconds`: how long it waits before that. Comes back at the same port."""

    def __init__(self, folder: Path, security: str = "none") -> None:
        self.mails: list[Mail] = []
        self.refusal, self.seconds = "", 0.0
        self.refused: dict[str, str] = {}
        self.security, self.port = security, _free_port()
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self._context)
        self._controller: Controller | None = None
        self._released = threading.Event()
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self._released.clear()
        options: dict[str, Any] = {"auth_require_tls": False, "authenticator": _login}
        if self.security == "tls":
            options["ssl_context"] = self._context
        if self.security == "starttls":
            options |= {"tls_context": self._context, "require_starttls": True}
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)
        self._controller.start()

    def kill(self) -> None:
        self._released.set()
        if self._controller is not None:
            with suppress(Exception):
                self._controller.stop()
            self._controller = None

    async def handle_RCPT(  # noqa: N802  # aiosmtpd names it so
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        end = time.monotonic() + self.seconds
        while time.monotonic() < end and not self._released.is_set():
            await asyncio.sleep(0.02)
        if self.refusal:
            return self.refusal
        assert isinstance(envelope.content, bytes)
        message = email.message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        user = session.auth_data.login.decode() if session.auth_data else None
        is_encrypted = self.security == "tls" or session.ssl is not None
        self.mails.append(Mail(envelope.mail_from or "", list(envelope.rcpt_tos), message, is_encrypted, user))
        return "250 OK"


def _login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    is_right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=is_right, handled=is_right, auth_data=data)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

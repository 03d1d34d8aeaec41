"""E-mail: a message a state, so that a spike is one thread in a mail program."""

import ssl
from ipaddress import ip_address
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from processors.alerts.fields import FlawAt, Secret, Switch, Text, Words
from processors.alerts.pictures.chart import NO_PICTURES, is_drawable
from processors.alerts.ports import Receiver
from processors.alerts.receivers.settings import ReceiverSettings, Sender
from processors.alerts.receivers.smtp import Mailer, MailServer
from processors.alerts.values.mailboxes import check_mailbox, check_server, server_of


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Mailbox = Annotated[Words, AfterValidator(check_mailbox)]


class EmailSettings(ReceiverSettings):
    """Mailboxes, by way of a mail server. `server`: its host and port. `security`: `starttls` (the connection must
    change to TLS before anything is said), `tls` from the first byte, or `none`. `from`, `to`: mailboxes. `picture`:
    shown in the message."""

    kind: Literal["email"]
    server: Annotated[Words, AfterValidator(check_server)]
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: Text | None = None
    password: Secret | None = None
    sender: Mailbox = Field(alias="from")
    to: Annotated[list[Mailbox], BeforeValidator(_listed), Field(min_length=1, max_length=50)]
    picture: Switch = True

    @model_validator(mode="after")
    def _password_is_safe(self) -> "EmailSettings":
        if (self.user is None) != (self.password is None):
            missing = "user" if self.user is None else "password"
            raise FlawAt((missing,), "is missing; a mail server asks for both user and password")
        host, _ = server_of(self.server)
        if self.security == "none" and self.password is not None and not _is_loopback(host):
            raise FlawAt(("security",), "would send the password in clear; say starttls or tls")
        if self.security == "none" and self.ca is not None:
            raise FlawAt(("ca",), "is of no use with security: none; leave it out, or say starttls or tls")
        return self

    @property
    def addresses(self) -> list[SecretStr]:
        return [SecretStr(f"smtp://{self.server}")]

    @property
    def notes(self) -> list[str]:
        return [NO_PICTURES] if self.takes_picture and not is_drawable() else []

    @property
    def takes_picture(self) -> bool:
        return self.picture

    def open(self, name: str, sender: Sender) -> Receiver:
        tls = None
        if self.security != "none":
            tls = self.open_tls(name) or ssl.create_default_context()
        server = MailServer(*server_of(self.server), self.security, tls, self.user, self.password, self.timeout)
        return Mailer(server, self.sender, self.to, sender.links)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

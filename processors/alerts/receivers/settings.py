"""The settings common to all kinds of receivers, and the methods that a kind implements."""

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import Field, SecretStr, StringConstraints, model_validator

from processors.alerts.fields import Limit, Seconds, Section, Text, check_header
from processors.alerts.ports import Receiver
from processors.alerts.receivers.http import Endpoint, HttpReceiver, MakeMessage, tls_context


class Sender(NamedTuple):
    """The parts of a message that all receivers of a file share. `source`: name of the sender; `link`: address of a
    conversation's page, with {conversation} for its key."""

    source: str
    link: str | None


class ReceiverSettings(Section):
    """A receiver as the alerts file has it. A subclass for each kind adds fields and implements `addresses` and `open`.

    `rate`: bound of requests. `timeout`: of one request, in seconds. `ca`: file of certificates to trust. `headers`:
    sent with each request. A receiver `is_forgetful` where an open spike has to be repeated to stay known.
    """

    is_forgetful: ClassVar[bool] = False

    kind: str
    rate: Limit | None = None
    timeout: Annotated[Seconds, Field(gt=0, le=120)] = 10.0
    ca: Path | None = Field(None, strict=False)
    headers: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")], Text] = Field(default={})

    @model_validator(mode="before")
    @classmethod
    def _headers_hide_secrets(cls, value: Any) -> Any:
        headers = value.get("headers") if isinstance(value, dict) else None
        if isinstance(headers, dict):
            for name, text in headers.items():
                check_header(str(name), text)
        return value

    @property
    @abstractmethod
    def addresses(self) -> list[SecretStr]:
        """Addresses of the requests: one, or one of each instance of a cluster."""

    @abstractmethod
    def open(self, name: str, sender: Sender) -> Receiver:
        """Returns the receiver called `name`, not connected yet. Raises SettingsError."""

    def open_http(self, name: str, make_message: MakeMessage) -> Receiver:
        """Returns a receiver over HTTP to `addresses`. Raises SettingsError for certificates that cannot be read."""
        headers = {header: text.get_secret_value() for header, text in self.headers.items()}
        tls = None if self.ca is None else tls_context(name, self.ca)
        return HttpReceiver(Endpoint(self.addresses, self.timeout, headers, tls), make_message)

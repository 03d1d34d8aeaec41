"""The settings common to all kinds of receivers, and the methods that a kind implements."""

import ssl
from abc import abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from pipeline.errors import SettingsError
from processors.alerts.fields import FlawAt, Limit, Seconds, Section, Text, between
from processors.alerts.ports import Receiver
from processors.alerts.receivers.http import Endpoint, HttpReceiver, MakeDigest, MakeMessage, tls_context
from processors.alerts.receivers.wording import Links
from processors.alerts.values.addresses import userinfo_of
from processors.alerts.values.headers import check_header_names, check_header_values
from processors.alerts.values.quiet_hours import Digest, Quiet, Schedule


class Sender(NamedTuple):
    """The parts of a message that all receivers of a file share. `source`: name of the sender; `links`: addresses at
    which people look at a spike."""

    source: str
    links: Links


def _check_ca(path: Path) -> Path:
    tls_context(path)
    return path


class ReceiverSettings(Section):
    """A receiver as the alerts file has it. A subclass for each kind adds fields and implements `addresses` and `open`.

    `rate`: bound of messages. `timeout`: of one attempt, in seconds. `ca`: file of certificates to trust. `quiet` and
    `digest`: when what is less severe has to wait. A receiver `is_forgetful` where an open spike has to be repeated to
    stay known.
    """

    is_forgetful: ClassVar[bool] = False

    kind: str
    rate: Limit | None = None
    timeout: Annotated[Seconds, AfterValidator(between("1s", "120s"))] = 10.0
    ca: Annotated[Path, Field(strict=False), AfterValidator(_check_ca)] | None = None
    quiet: Quiet | None = None
    digest: Digest | None = None

    @property
    @abstractmethod
    def addresses(self) -> list[SecretStr]:
        """Addresses of the requests: one, or one of each instance of a cluster."""

    @property
    def notes(self) -> list[str]:
        """Returns remarks of `alerts check` on settings that work, but are unusual."""
        return []

    @property
    def takes_picture(self) -> bool:
        """Tells whether messages show a picture of the spike."""
        return False

    @property
    def is_updated(self) -> bool:
        """Tells whether a message that was delivered is updated when more is known of its spike."""
        return False

    @property
    def schedule(self) -> Schedule:
        """The times at which less severe states are delivered."""
        return Schedule(self.quiet, self.digest)

    @abstractmethod
    def open(self, name: str, sender: Sender) -> Receiver:
        """Returns the receiver called `name`, not connected yet. Raises SettingsError."""

    def open_tls(self, name: str) -> ssl.SSLContext | None:
        """Returns the context of `ca`, None without. Raises SettingsError for certificates that cannot be read."""
        try:
            return None if self.ca is None else tls_context(self.ca)
        except ValueError as error:
            raise SettingsError(f"receivers.{name}.ca: {error}") from None


class HttpSettings(ReceiverSettings):
    """A receiver over HTTP. `headers`: sent with each request."""

    headers: Annotated[dict[str, Text], BeforeValidator(check_header_names), AfterValidator(check_header_values)] = (
        Field(default={})
    )

    @model_validator(mode="after")
    def _has_one_authorization(self) -> "HttpSettings":
        has_userinfo = any(userinfo_of(url.get_secret_value()) for url in self.addresses)
        if has_userinfo and "authorization" in {name.lower() for name in self.headers}:
            raise FlawAt(
                ("headers",), "Authorization stands here and in the address, as user and password; leave one out"
            )
        return self

    def open_http(self, name: str, make_message: MakeMessage, make_digest: MakeDigest | None = None) -> Receiver:
        """Returns a receiver over HTTP to `addresses`. Raises SettingsError for certificates that cannot be read."""
        endpoint = Endpoint(self.addresses, self.timeout, self.headers, self.open_tls(name))
        return HttpReceiver(endpoint, make_message, make_digest)

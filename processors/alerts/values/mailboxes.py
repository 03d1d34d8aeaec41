"""Rules for e-mail: addresses of people, and the address of a mail server. Pure."""

import re
from email.errors import MessageError
from email.headerregistry import Address
from email.policy import SMTP
from typing import Final

from processors.alerts.values.addresses import check_url

LONGEST_MAILBOX: Final = 254
MAILBOX_CURE: Final = "must be one address: alerts@team.example, or with a name, Engagement <alerts@team.example>"
SERVER_CURE: Final = "must be host:port of a mail server: smtp.example:587"


def check_mailbox(text: str) -> str:
    """Returns an address of e-mail, as it was written. Raises ValueError where no mail could be sent to it."""
    mailbox_of(text)
    return text


def mailbox_of(text: str) -> Address:
    """Returns the parts of an address of e-mail. Raises ValueError with the cure.

    >>> str(mailbox_of("Engagement alerts <alerts@team.example>"))
    'Engagement alerts <alerts@team.example>'
    """
    if not text.isprintable() or len(text) > LONGEST_MAILBOX:
        raise ValueError(MAILBOX_CURE)
    try:
        header = SMTP.header_factory("To", text)
        addresses: tuple[Address, ...] = header.addresses
    except (ValueError, IndexError, MessageError):
        raise ValueError(MAILBOX_CURE) from None
    if len(addresses) != 1 or header.defects or not addresses[0].username or not addresses[0].domain:
        raise ValueError(MAILBOX_CURE)
    [address] = addresses
    if not address.addr_spec.isascii():
        raise ValueError("has signs that not every mail server takes; write the domain as xn--..., the user in ASCII")
    if not re.fullmatch(r"[A-Za-z0-9.-]+", address.domain):
        raise ValueError(MAILBOX_CURE)
    return address


def check_server(text: str) -> str:
    """Returns host:port of a mail server. Raises ValueError with the cure."""
    server_of(text)
    return text


def server_of(text: str) -> tuple[str, int]:
    """Returns host and port of a mail server.

    >>> server_of("smtp.example:587"), server_of("[::1]:25")
    (('smtp.example', 587), ('::1', 25))
    """
    if any(sign in text for sign in "/@?"):
        raise ValueError(SERVER_CURE)
    try:
        url = check_url(f"http://{text}")
    except ValueError as error:
        raise ValueError(str(error) if "host" in str(error) and "http" not in str(error) else SERVER_CURE) from None
    if url.port is None or url.hostname is None:
        raise ValueError(SERVER_CURE)
    return url.hostname, url.port

"""Types of settings whose values need a look: servers, time zones, addresses of ClickHouse."""

import re
from typing import Annotated, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, SecretStr

FILES: Final = {
    "kafka_ca": "a PEM file of CA certificates",
    "clickhouse_ca": "a PEM file of CA certificates",
    "brands": "a YAML file like deploy/brands.example.yaml",
    "alerts": "a YAML file like deploy/alerts.example.yaml",
    "collect_certificate": "a PEM file of a certificate chain",
    "collect_private_key": "a PEM file of a private key",
}
"""What each setting that is a file wants."""

KEY_LENGTH: Final = 32
"""The least length of a secret under which accounts are hashed, so that nobody finds it by trying."""

SERVER: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]]+):\d{1,5}")


def servers_of(value: str) -> list[str]:
    """Returns the servers of a list with commas, each as host:port."""
    return [server.strip() for server in value.split(",") if server.strip()]


def _checked_servers(value: str) -> str:
    servers = servers_of(value)
    if not servers or not all(map(SERVER.fullmatch, servers)):
        raise ValueError("must be host:port, or several with commas between")
    if not all(0 < int(server.rpartition(":")[2]) < 65536 for server in servers):
        raise ValueError("must have ports from 1 to 65535")
    return value


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError("is no time zone that this machine knows; give one such as Europe/Berlin") from None
    return value


def _checked_address(value: SecretStr) -> SecretStr:
    try:
        url = urlsplit(value.get_secret_value())
        usable = url.scheme in ("clickhouse", "clickhouses") and url.hostname and url.port != 0
    except ValueError:  # the error's text may quote the password
        usable = False
    if not usable:
        raise ValueError(
            "must be clickhouse://user:password@host:port/database (or clickhouses:// for TLS), "
            "with @ : / # ? % [ ] in user and password percent-encoded"
        )
    if not url.path.strip("/").replace("_", "a").isalnum():
        raise ValueError("must name a database of letters, digits and _ at its end: clickhouse://host:port/engagement")
    return value


def _long_enough(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < KEY_LENGTH:
        raise ValueError(f"must have {KEY_LENGTH} characters or more: make one by `openssl rand -hex 32`")
    return value


Servers = Annotated[str, AfterValidator(_checked_servers)]
Zone = Annotated[str, AfterValidator(_known_zone)]
ClickHouseAddress = Annotated[SecretStr, AfterValidator(_checked_address)]
HashKey = Annotated[SecretStr, AfterValidator(_long_enough)]

Term = Annotated[float | None, Field(ge=1, le=36_500)]
"""Days that something is kept; None: for ever."""

LongTerm = Annotated[float | None, Field(ge=30, le=36_500)]
"""Days that minutes of conversations are kept: the spike detector looks back over 28."""

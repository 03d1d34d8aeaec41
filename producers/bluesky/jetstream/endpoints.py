"""Endpoints of Jetstream hosts: which protocol a URL speaks, and the query that asks for events.

v1    /subscribe                                          cursor: the server's time in microseconds, on any host
v2    /xrpc/network.bsky.jetstream.subscribeEvents        cursor: `seq`, on one host; from TIME_CURSOR on, a time
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pipeline.errors import SettingsError

Version = Literal["v1", "v2"]

METHOD: Final = "network.bsky.jetstream.subscribeEvents"
DICTIONARY_METHOD: Final = "network.bsky.jetstream.getZstdDictionary"
SUBPROTOCOL: Final = "xrpc.v1.json"
"""The one framing of v2."""

DEFAULT_HOSTS: Final = (
    f"wss://jetstream.us-east.bsky.network/xrpc/{METHOD}",
    f"wss://jetstream.us-west.bsky.network/xrpc/{METHOD}",
)

TIME_CURSOR: Final = 10**15
"""From here on a cursor is a time in microseconds since 1970, in either version."""

MOST_COLLECTIONS: Final = 100
MOST_ACTORS: Final = 10_000
"""The most collections and accounts that a host takes."""

MESSAGE_BYTES: Final = 2 * 1024 * 1024
"""The largest message that a host is asked for. It leaves out larger ones: a message that the client refuses would come
again after each reconnection."""

OWN_PARAMETERS: Final = (
    *("cursor", "kinds", "dids", "collections", "zstdDictionary"),
    *("wantedDids", "wantedCollections", "compress", "requireHello", "maxMessageSizeBytes"),
)
"""The parameters of v2 and v1 that a URL may not have: options of the command set them."""


@dataclass(frozen=True)
class JetstreamEndpoint:
    """A Jetstream host by its URL. `extra`: parameters of the URL that are none of Jetstream's, such as a key."""

    url: str
    version: Version
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def http_root(self) -> str:
        """The URL of the host over HTTP, up to the folder of XRPC methods (v2)."""
        scheme, netloc, path, *_ = urlsplit(self.url)
        root = path.rstrip("/").removesuffix(METHOD)
        return urlunsplit(("https" if scheme == "wss" else "http", netloc, root, "", ""))


@dataclass(frozen=True)
class Wanted:
    """The events to ask a host for. `collections`: NSIDs; `actors`: DIDs, empty for everybody."""

    collections: tuple[str, ...]
    actors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """A subscription. `cursor`: None begins with what happens next. `compression`: the parameters that ask for it."""

    wanted: Wanted
    cursor: int | None = None
    compression: Mapping[str, str] = field(default_factory=dict)


def parse_endpoint(url: str) -> JetstreamEndpoint:
    """Parses the URL of a host. Raises SettingsError with the cure."""
    try:
        scheme, netloc, path, query, _ = urlsplit(url)
        is_usable = scheme in ("ws", "wss") and bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise SettingsError(f"--host {url}: is no URL of a WebSocket; give one such as {DEFAULT_HOSTS[0]}")
    end = path.rstrip("/").rpartition("/")[2]
    versions: dict[str, Version] = {"subscribe": "v1", METHOD: "v2"}
    if end not in versions:
        raise SettingsError(
            f"--host {url}: the path names no protocol; end it in /subscribe (Jetstream v1) or /xrpc/{METHOD} (v2)"
        )
    extra = tuple(parse_qsl(query, keep_blank_values=True))
    if taken := [name for name, _ in extra if name in OWN_PARAMETERS]:
        raise SettingsError(f"--host {url}: leave {taken[0]} out of the URL; options of this command set it")
    return JetstreamEndpoint(urlunsplit((scheme, netloc, path, "", "")), versions[end], extra)


def subscription_url(endpoint: JetstreamEndpoint, request: Request) -> str:
    """Returns the URL for a subscription to the wanted events.

    Accounts are asked for beside commits: v1 sends them unasked.
    """
    wanted = request.wanted
    parameters: list[tuple[str, str]] = [*endpoint.extra]
    if endpoint.version == "v2":
        parameters += [("kinds", "commit"), ("kinds", "account")]
        parameters += [("collections", name) for name in wanted.collections]
        parameters += [("dids", did) for did in wanted.actors]
    else:
        parameters += [("wantedCollections", name) for name in wanted.collections]
        parameters += [("wantedDids", did) for did in wanted.actors]
    parameters.append(("maxMessageSizeBytes", str(MESSAGE_BYTES)))
    parameters += request.compression.items()
    if request.cursor is not None:
        parameters.append(("cursor", str(request.cursor)))
    return f"{endpoint.url}?{urlencode(parameters, safe=':')}"

"""Rules for addresses: http or https, a host for DNS, credentials for HTTP."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from yarl import URL

LONGEST_RECEIVER_URL: Final = 2048
PLACEHOLDER: Final = re.compile(r"\{(?:conversation|post|from|to)\}")
"""What a link may leave open; processors/alerts/receivers/wording.py fills in."""

URL_CURE: Final = "must be http://host/... or https://host/..., without blanks and without #"
LINK_CURE: Final = (
    "must be http://host/... or https://host/..., with {conversation} where the key belongs, after the host; "
    "{post}, {from} and {to} stand for the post and the time to show"
)

PAGE_CURE: Final = "must be the address of the live page, as receivers can open it: https://engagement.example"

_NETLOC: Final = re.compile(
    r"(?:(?P<userinfo>[^@]*)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^:@\[\]]+)(?::(?P<port>[0-9]{0,5}))?"
)
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)


def userinfo_of(url: str) -> str:
    """Returns user and password of an address, empty without any.

    >>> userinfo_of("https://ana:pw@h/@x")
    'ana:pw'
    """
    return re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")[0]


def check_url(text: str) -> SplitResult:
    """Returns the parts of an address. Raises ValueError where no request could be sent to it."""
    if len(text) > LONGEST_RECEIVER_URL:
        raise ValueError(f"is longer than {LONGEST_RECEIVER_URL:,} characters; name a shorter address")
    try:
        url = urlsplit(text)
        netloc = _NETLOC.fullmatch(url.netloc)
        is_usable = url.scheme in ("http", "https") and netloc is not None and url.port != 0
    except ValueError:  # the error's text may quote a password
        is_usable, netloc = False, None
    if not is_usable or netloc is None or not _can_be_sent_to(text) or re.search(r"[\s\x00-\x20\x7f\\#]", text):
        raise ValueError(URL_CURE)
    _check_host(netloc["host"])
    _check_userinfo(netloc["userinfo"])
    return url


def check_link(text: str) -> str:
    """Returns the template of a link to a conversation's page. Raises ValueError for a link to nowhere."""
    plain = PLACEHOLDER.sub("x", text).replace("#", "?")
    if "{" in plain or "}" in plain or PLACEHOLDER.search(text.partition("://")[2].partition("/")[0]):
        raise ValueError(LINK_CURE)
    if userinfo_of(text):
        raise ValueError("holds a password, which every receiver would get; leave it out")
    try:
        check_url(plain)
    except ValueError:
        raise ValueError(LINK_CURE) from None
    return text


def check_page(text: str) -> str:
    """Returns the address of the live page without a slash at its end. Raises ValueError for an address to which no
    path can be added."""
    if userinfo_of(text):
        raise ValueError("holds a password, which every receiver would get; leave it out")
    try:
        is_base = not check_url(text).query
    except ValueError:
        is_base = False
    if not is_base or "{" in text or text.endswith("?"):
        raise ValueError(PAGE_CURE)
    return text.rstrip("/")


def check_source(text: str) -> str:
    """Returns the name of the sender, a URI reference as CloudEvents ask for. Raises ValueError."""
    if not re.fullmatch(r"(?:[A-Za-z0-9._~:/?#@!$&'()*+,;=-]|%[0-9A-Fa-f]{2}){1,200}", text) or userinfo_of(text):
        raise ValueError(
            "must be a name or an address of 1 to 200 letters, digits and signs, without blanks and passwords: "
            "engagement, or https://team.example/engagement"
        )
    return text


def _can_be_sent_to(text: str) -> bool:
    """Tells whether aiohttp's requests can have the address, with the host in the spelling of DNS."""
    try:
        url = URL(text)
        return bool(url.raw_host and url.host and url.port)
    except ValueError:  # UnicodeError is one, too
        return False


def _check_host(host: str) -> None:
    cure = "names a host that cannot be: give a name such as hooks.example, an IPv4 address, or an IPv6 address in [ ]"
    try:
        if host.startswith("["):
            IPv6Address(host[1:-1])
            return
        labels = host.encode("idna").decode().removesuffix(".").split(".")
        if labels[-1].isdecimal():
            IPv4Address(host)
    except (UnicodeError, AddressValueError):
        raise ValueError(cure) from None
    if not all(map(_LABEL.fullmatch, labels)) or len(host) > 253:
        raise ValueError(cure)


def _check_userinfo(userinfo: str | None) -> None:
    """Checks user and password for HTTP's Basic authentication: Latin-1, and no colon in the user."""
    user, _, password = (userinfo or "").partition(":")
    user, password = unquote(user), unquote(password)
    if any(ord(char) > 0xFF or ord(char) < 0x20 for char in user + password) or ":" in user or (password and not user):
        raise ValueError("holds a user or password that HTTP cannot carry: no colon in the user, Latin-1 in both")

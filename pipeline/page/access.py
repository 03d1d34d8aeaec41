"""Who may look: on loopback this machine alone, elsewhere whoever has the token, or whom a reverse proxy names.

A page of any site can make its reader's browser ask 127.0.0.1, by a name that is pointed there. So without a token the
header Host must name loopback.
"""

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr
from starlette.requests import Request

from pipeline.errors import SettingsError
from pipeline.serving.listening import host_name, is_loopback
from pipeline.settings import Settings

COOKIE: Final = "engagement-page"
LEAST_TOKEN: Final = 16


@dataclass(frozen=True)
class AccessRule:
    """`token`: what viewers must have; `proxy_header`: the header in which a proxy at one of `proxies` names a
    viewer."""

    token: SecretStr | None = None
    proxy_header: str | None = None
    proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether everybody on this machine may look."""
        return self.token is None and self.proxy_header is None

    @property
    def cookie(self) -> str:
        """The value of the cookie after the token was given: made of the token, and not the token."""
        secret = self.token.get_secret_value() if self.token else ""
        return hmac.new(secret.encode(), b"engagement page", hashlib.sha256).hexdigest()

    def admits(self, request: Request) -> bool:
        """Tells whether a request may see the page."""
        if self.is_open:
            return is_loopback(host_name(request.headers.get("host", "")))
        return self._named_by_proxy(request) or self._has_token(request)

    def is_token(self, text: str) -> bool:
        """Tells whether a text is the token."""
        return self.token is not None and _equal(text, self.token.get_secret_value())

    def _has_token(self, request: Request) -> bool:
        if self.token is None:
            return False
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return (scheme.lower() == "bearer" and self.is_token(given.strip())) or _equal(
            request.cookies.get(COOKIE, ""), self.cookie
        )

    def _named_by_proxy(self, request: Request) -> bool:
        if self.proxy_header is None or request.client is None or not request.headers.get(self.proxy_header):
            return False
        try:
            peer = ipaddress.ip_address(request.client.host)
        except ValueError:
            return False
        return any(peer in network for network in self.proxies)


def access_rule(settings: Settings, host: str) -> AccessRule:
    """Returns the rule by the settings. Raises SettingsError where the page would be open beyond this machine."""
    token, header = settings.page_token, settings.page_proxy_header
    if token is not None and len(token.get_secret_value()) < LEAST_TOKEN:
        raise SettingsError(
            f"ENGAGEMENT_PAGE_TOKEN: must have at least {LEAST_TOKEN} characters; "
            'python -c "import secrets; print(secrets.token_urlsafe())" makes one'
        )
    if token is None and header is None and not is_loopback(host):
        raise SettingsError(
            f"--host {host} is open to others: set ENGAGEMENT_PAGE_TOKEN, or ENGAGEMENT_PAGE_PROXY_HEADER to the "
            "header in which a reverse proxy names those who have logged in (X-Forwarded-User), or listen on 127.0.0.1"
        )
    try:
        proxies = tuple(ipaddress.ip_network(part.strip()) for part in settings.page_proxies.split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(f"ENGAGEMENT_PAGE_PROXIES: {error}; give addresses or networks, 10.0.0.0/8,::1") from None
    return AccessRule(token, header, proxies)


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())

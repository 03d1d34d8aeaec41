"""Browsers: which pages may send. Without --cors-origin none may, whatever address the collector listens on.

A page on any site can make its reader's browser post to 127.0.0.1. Browsers say so by the header Origin, so a request
with an origin that is not allowed is refused; a page whose name was pointed at 127.0.0.1 is known by the header Host.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.serving.listening import host_name, is_loopback
from producers.collector.refusals import RequestRefused


@dataclass(frozen=True)
class OriginPolicy:
    """Origins that may send. `loopback_only`: the collector is open on loopback, so Host must name loopback."""

    allowed: frozenset[str] = frozenset()
    loopback_only: bool = False

    def is_allowed(self, headers: Mapping[bytes, bytes]) -> bool:
        """Tells whether a request comes from an allowed page."""
        return bool(self.allowed) and headers.get(b"origin", b"").decode("latin-1") in self.allowed

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Raises RequestRefused for a request of a page or host that is not allowed."""
        if b"origin" in headers and not self.is_allowed(headers):
            raise RequestRefused(403, "Origin: pages of this site may not send; start with --cors-origin ORIGIN")
        if self.loopback_only and not is_loopback(host_name(headers.get(b"host", b"").decode("latin-1"))):
            raise RequestRefused(
                403, "Host: a collector without keys answers to 127.0.0.1 and localhost only; make a key by "
                "`engagement collect-keys add`"
            )  # fmt: skip

"""Signatures of requests: Standard Webhooks, and the HMAC headers of GitHub and Discourse."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, Protocol

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


class SignatureScheme(Protocol):
    """A way to sign a request with a shared secret. `header`: its presence says that a request is signed."""

    header: str

    def is_signed_by(self, secret: str, body: bytes, headers: Mapping[str, str]) -> bool:
        """Tells whether the holder of the secret has signed the body. `headers`: by lower-case name."""
        ...


class StandardSignature:
    """Standard Webhooks 1.0: the signature covers id, timestamp and body, and is good for five minutes."""

    header = "webhook-signature"

    def is_signed_by(self, secret: str, body: bytes, headers: Mapping[str, str]) -> bool:
        try:
            Webhook(secret).verify(body, dict(headers), json_parse=False)
        except (WebhookVerificationError, ValueError, RuntimeError):
            return False
        return True


class BodySignature:
    """`sha256=<hex>` of the body alone, as GitHub and Discourse send it; without a time, so copies stay valid."""

    def __init__(self, header: str) -> None:
        self.header = header

    def is_signed_by(self, secret: str, body: bytes, headers: Mapping[str, str]) -> bool:
        expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected.encode(), headers.get(self.header, "").encode("utf-8", "replace"))


STANDARD: Final = StandardSignature()
"""Of every endpoint but the hooks of products with a scheme of their own."""

"""Rules for the secret of a signed webhook, as Standard Webhooks 1.0.0 specify: 24 to 64 random bytes."""

import base64
import binascii
from typing import Final

from pydantic import SecretStr

SYMMETRIC: Final = "whsec_"
ASYMMETRIC: Final = ("whsk_", "whpk_")
FEWEST_BYTES: Final = 24
MOST_KEY_BYTES: Final = 64
MAKE_KEY: Final = 'make one: echo "whsec_$(openssl rand -base64 32)"'


def signing_key(secret: SecretStr) -> bytes:
    """Returns the key of the HMAC: the base64 after `whsec_`, or the bytes of any other text. Raises ValueError.

    >>> signing_key(SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).hex()
    '31f290f6bf06298aab4f08d43c3f082cf648a362da2da4b0'
    """
    text = secret.get_secret_value()
    return _decode(text.removeprefix(SYMMETRIC)) if text.startswith(SYMMETRIC) else text.encode()


def check_signing_key(secret: SecretStr) -> SecretStr:
    """Returns the secret of a webhook unchanged. Raises ValueError where no message could be signed with it."""
    text = secret.get_secret_value()
    if text != text.strip():
        raise ValueError("begins or ends with blanks; leave them out")
    if text.lower().startswith(ASYMMETRIC):
        raise ValueError(f"is a key of ed25519 signatures, which are not made here; {MAKE_KEY}")
    if text.lower().startswith(SYMMETRIC) and not text.startswith(SYMMETRIC):
        raise ValueError(f"begins with {SYMMETRIC} in capitals; write it in small letters, or {MAKE_KEY}")
    if text.startswith(SYMMETRIC) and (bound := _length_flaw(secret)):
        raise ValueError(f"{bound}; {MAKE_KEY}")
    return secret


def key_note(secret: SecretStr) -> str | None:
    """Returns a note on a secret of unusual length, None for the usual 24 to 64 bytes."""
    return f"the secret {bound}" if (bound := _length_flaw(secret)) else None


def _length_flaw(secret: SecretStr) -> str | None:
    count = len(signing_key(secret))
    if FEWEST_BYTES <= count <= MOST_KEY_BYTES:
        return None
    return f"has {count} bytes, and Standard Webhooks ask for {FEWEST_BYTES} to {MOST_KEY_BYTES}"


def _decode(text: str) -> bytes:
    """Decodes base64, with or without padding: libraries of receivers add the padding, too."""
    digits = text.rstrip("=")
    padding = "=" * (-len(digits) % 4)
    try:
        if not digits or text not in (digits, digits + padding):
            raise binascii.Error
        return base64.b64decode(digits + padding, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"must be base64 after {SYMMETRIC}, and not empty; {MAKE_KEY}") from None

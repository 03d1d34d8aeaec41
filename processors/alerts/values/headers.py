"""Rules for the headers of a receiver: names by RFC 9110, none for framing or signing the message."""

import re
from typing import Any, Final

from pydantic import SecretStr

from processors.alerts.fields import ELSEWHERE, FlawAt

MOST_RECEIVER_HEADERS: Final = 32
LONGEST_VALUE: Final = 4096

FRAMING: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "date",
        "digest",
        "expect",
        "host",
        "http2-settings",
        "idempotency-key",
        "keep-alive",
        "range",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    }
)
"""Headers that follow from the message, the connection or the key that a receiver counts by."""

FRAMING_FAMILIES: Final = ("content-", "proxy-", "webhook-", "if-", "sec-", "access-control-")

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_SECRET_NAME: Final = re.compile(
    r"auth|token|secret|cookie|key|pass|credential|signature|session|bearer", re.IGNORECASE
)
_SECRET_VALUE: Final = re.compile(r"\s*(bearer|basic|token|digest|apikey)\s+\S", re.IGNORECASE)


def check_header_names(value: Any) -> Any:
    """Returns the headers of the file unchanged. Raises ValueError for names against HTTP, the message's own and
    repeated names, and secrets in clear."""
    if not isinstance(value, dict):
        return value
    if len(value) > MOST_RECEIVER_HEADERS:
        raise ValueError(f"has more than {MOST_RECEIVER_HEADERS} headers; leave some out")
    seen = set[str]()
    for name, text in value.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            cure = "write letters, digits and - alone, such as X-Team"
            raise FlawAt((name,), f"has a name that HTTP does not allow; {cure}", hidden=1)
        lowered = name.lower().replace("_", "-")  # servers that hand headers to CGI or WSGI make the two one
        if lowered in FRAMING or lowered.startswith(FRAMING_FAMILIES):
            raise FlawAt((name,), "is set by the message itself, or would break it; leave it out")
        if lowered in seen:
            raise FlawAt((name,), "is there twice, in upper and lower case or with _ for -; leave one out")
        if isinstance(text, str) and (_SECRET_NAME.search(name) or _SECRET_VALUE.match(text)):
            raise FlawAt((name,), f"is a secret and must not stand in the file; say {ELSEWHERE}")
        seen.add(lowered)
    return value


def check_header_values(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    """Returns the headers unchanged. Raises ValueError for values outside of one line of ASCII."""
    for name, value in headers.items():
        text = value.get_secret_value()
        if len(text) > LONGEST_VALUE:
            raise FlawAt((name,), f"is longer than {LONGEST_VALUE:,} characters; shorten it")
        if not re.fullmatch(r"[\x20-\x7e]*", text) or text != text.strip():
            raise FlawAt((name,), "must be one line of ASCII, without blanks at its ends")
    return headers

"""Refusals of whole requests, as RFC 9457 problems, and answers about single items."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"

TITLES: Final[Mapping[int, str]] = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    413: "Content too large",
    415: "Unsupported media type",
    422: "Unprocessable content",
    429: "Too many requests",
    500: "Internal server error",
    503: "Service unavailable",
}


class RequestRefused(Exception):
    """A request is refused as a whole. `detail` names the flaw and its cure."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})

    def as_reply(self) -> "Reply":
        """Returns the problem as an answer."""
        title = TITLES.get(self.status, "Error")
        problem = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        return Reply(self.status, encode(problem), PROBLEM, self.headers)


class SlowDown(RequestRefused):
    """A request comes too early, or Kafka is away; `seconds` is the Retry-After."""

    def __init__(self, status: int, detail: str, seconds: float) -> None:
        super().__init__(status, detail, {"Retry-After": str(max(1, -int(-seconds // 1)))})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, body, content type and further headers."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Rejection:
    """An item that was not taken: its index in the request, the flawed field and the reason."""

    index: int
    field: str
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Returns the rejection as a part of an answer."""
        return {"index": self.index, "field": self.field, "reason": self.reason}


def items_reply(accepted: int, ignored: int, rejected: list[Rejection]) -> Reply:
    """Returns the answer to a request by the outcomes of the items.

    202: all that counts was taken; 207: some items were rejected; 422: no item was taken.
    """
    said: dict[str, Any] = {"accepted": accepted, "rejected": [each.as_dict() for each in rejected]}
    if ignored:
        said["ignored"] = ignored
    status = 202 if not rejected else 207 if accepted or ignored else 422
    return Reply(status, encode(said))


def encode(said: Any) -> bytes:
    """Returns JSON in ASCII, in which lone surrogates are escaped."""
    return json.dumps(said, separators=(",", ":")).encode("ascii")

"""Senders: who may send, of which channels, how large, how fast and how many requests at a time."""

from dataclasses import dataclass, field
from typing import Final

from producers.collector.refusals import SlowDown

ANYBODY: Final = "anybody"
"""The source of requests to a collector without keys."""


@dataclass(frozen=True, slots=True)
class SenderLimits:
    """Limits of a sender. `rate`: requests a second, 0: any; `concurrency`: requests at a time; `body_bytes`: largest
    body after decompression."""

    body_bytes: int = 5 * 1024 * 1024
    rate: float = 0.0
    concurrency: int = 256


@dataclass(frozen=True, slots=True)
class EventSender:
    """A sender as its key says. `channels`: None for all."""

    key_id: str
    source: str
    channels: tuple[str, ...] | None = None
    limits: SenderLimits = field(default_factory=SenderLimits)


class SenderLoad:
    """The load of a sender at the moment: a token bucket of a second's requests, and the requests in progress."""

    def __init__(self) -> None:
        self._tokens: float | None = None
        self._seen = 0.0
        self.active = 0

    def enter(self, limits: SenderLimits, now: float) -> None:
        """Counts a request in; `now` is in monotonic seconds. Raises SlowDown above a limit."""
        if self.active >= limits.concurrency:
            raise SlowDown(429, f"{limits.concurrency} requests of this key are in progress; wait for answers", 1)
        if limits.rate > 0:
            burst = max(1.0, limits.rate)
            tokens = burst if self._tokens is None else min(burst, self._tokens + (now - self._seen) * limits.rate)
            self._seen, self._tokens = now, tokens
            if tokens < 1:
                raise SlowDown(
                    429, f"more than {limits.rate:g} requests a second of this key; send larger batches",
                    (1 - tokens) / limits.rate,
                )  # fmt: skip
            self._tokens = tokens - 1
        self.active += 1

    def leave(self) -> None:
        """Counts a request out."""
        self.active -= 1

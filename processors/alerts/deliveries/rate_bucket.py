"""A token bucket, which keeps requests to a receiver within its rate."""

from typing import Final

from processors.alerts.fields import Rate

ROUNDING: Final = 1e-6
"""Tolerance for a token that has come back in many small parts, whose floating-point sum is a little below 1."""


class RateBucket:
    """A bucket of `rate.requests` tokens, full at first, that come back evenly over `rate.seconds`. Without a rate the
    bucket is never empty. Times in seconds.

    >>> bucket = RateBucket(Rate(2, 60), now=0)
    >>> [bucket.spend(now) for now in (0, 0, 0, 29, 30, 31)]
    [True, True, False, False, True, False]
    """

    def __init__(self, rate: Rate | None, now: float) -> None:
        self._rate, self._at = rate, now
        self._tokens = float(rate.requests) if rate else 0.0

    def spend(self, now: float) -> bool:
        """Spends a token and returns True, or returns False where the bucket is empty."""
        if self._rate is None:
            return True
        returned = max(0.0, now - self._at) * self._rate.requests / self._rate.seconds
        self._tokens, self._at = min(self._tokens + returned, self._rate.requests), now
        if self._tokens < 1 - ROUNDING:
            return False
        self._tokens = max(0.0, self._tokens - 1)
        return True

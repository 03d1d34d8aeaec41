"""A token bucket: how many requests a receiver bears."""

from typing import Final

from processors.alerts.fields import Rate

ROUNDING: Final = 1e-6
"""What comes back in many small parts adds up to a little less than a token."""


class BucketState:
    """`rate.requests` tokens that come back evenly over `rate.seconds`; all are there at first. Without a rate it is
    never empty. Times in seconds.

    >>> bucket = BucketState(Rate(2, 60), now=0)
    >>> [bucket.take(now) for now in (0, 0, 0, 29, 30, 31)]
    [True, True, False, False, True, False]
    """

    def __init__(self, rate: Rate | None, now: float) -> None:
        self._rate, self._at = rate, now
        self._tokens = float(rate.requests) if rate else 0.0

    def take(self, now: float) -> bool:
        """A token, if there is one."""
        if self._rate is None:
            return True
        back = max(0.0, now - self._at) * self._rate.requests / self._rate.seconds
        self._tokens, self._at = min(self._tokens + back, self._rate.requests), now
        if self._tokens < 1 - ROUNDING:
            return False
        self._tokens = max(0.0, self._tokens - 1)
        return True

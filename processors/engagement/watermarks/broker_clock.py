"""The brokers' time as a worker can know it without asking: never ahead of the brokers themselves (law 8).

Topics stamp records when they are appended, so each record and each ack says how late it was at the broker when it was
stamped. Since then at least as much time has passed there as a monotonic clock has counted here, less its drift. The
worker's own wall clock takes no part: it may be hours off.

    >>> clock = BrokerClock()
    >>> clock.note_ack(1_000_000, now=50.0)
    >>> clock.time(60.0)
    1009.99
"""

from typing import Final

DRIFT: Final = 1e-3
"""Two clocks of computers differ by less than this share of the time that passes."""


class BrokerClock:
    """A lower bound of the brokers' time. `now` is seconds of this machine's monotonic clock."""

    def __init__(self) -> None:
        self._stamp: float | None = None
        self._noted_at = 0.0

    def note_record(self, timestamp_ms: int, now: float) -> None:
        """Notes the timestamp of a record that was read at or before `now`: long ago, perhaps."""
        known = self.time(now)
        if known is None or timestamp_ms / 1000 > known:
            self._stamp, self._noted_at = timestamp_ms / 1000, now

    def note_ack(self, timestamp_ms: int, now: float) -> None:
        """Notes the timestamp of a record of our own that was acked just before `now`: also where the brokers' clock
        was set back."""
        self._stamp, self._noted_at = timestamp_ms / 1000, now

    def time(self, now: float) -> float | None:
        """Returns Unix seconds; None where nothing was noted yet."""
        if self._stamp is None:
            return None
        return self._stamp + max(0.0, now - self._noted_at) * (1 - DRIFT)

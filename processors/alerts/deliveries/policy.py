"""The delivery policy of alerts, and the port of their counters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final, Protocol

from schemas.alerts import AlertState

ONE_DAY: Final = 86_400.0


class Tally(Protocol):
    """Counters of the fate of alerts, kept by AlertMetrics."""

    def count_fired(self, state: str) -> None: ...
    def count_suppressed(self, reason: str) -> None: ...
    def count_delivered(self, receiver: str, state: str) -> None: ...
    def count_failed(self, receiver: str) -> None: ...


@dataclass(frozen=True)
class DeliveryPolicy:
    """Retry of deliveries, in seconds.

    `first_wait`, `longest_wait`: bounds of the backoff. `longest_asked`: bound of a wait that a receiver asks for.
    `give_up`: age in event time from which a failed state is not tried again. `refresh`: how often a receiver that
    forgets gets an open spike; `after`: for how long such a receiver gets a resolution; `forget`: age from which an
    open spike without newer alerts is not refreshed. `at_once`: requests in flight to one receiver. `gather`: how long
    the first spike of a cause waits for others, so that one alert names all.
    """

    first_wait: float = 1.0
    longest_wait: float = 30.0
    longest_asked: float = 900.0
    give_up: Mapping[AlertState, float] = field(
        default_factory=lambda: {"opened": ONE_DAY, "grown": ONE_DAY / 24, "resolved": ONE_DAY}
    )
    refresh: float = 60.0
    after: float = 900.0
    forget: float = 7 * ONE_DAY
    at_once: int = 4
    gather: float = 2.0

    def backoff(self, attempts: int, asked: float, chance: Random, in_digest: bool = False) -> float:
        """Returns the seconds until the next attempt; `asked`: what the receiver asks for. The parts of a digest wait
        for the same time, so that they stay one message."""
        if in_digest:
            return max(self.longest_wait, min(asked, self.longest_asked))
        wait: float = min(self.first_wait * 2 ** min(attempts - 1, 20), self.longest_wait)
        return max(wait * chance.uniform(0.5, 1), min(asked, self.longest_asked))

    def next_refresh(self, now: float, chance: Random) -> float:
        """Returns the time of the next repetition to a receiver that forgets."""
        return now + self.refresh * chance.uniform(0.9, 1)

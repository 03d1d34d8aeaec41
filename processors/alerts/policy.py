"""How patiently alerts are delivered, and who counts what becomes of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from schemas.alerts import State

DAY: Final = 86_400.0


class Tally(Protocol):
    """Who counts what becomes of alerts."""

    def count_fired(self, state: str) -> None: ...
    def count_suppressed(self, reason: str) -> None: ...
    def count_delivered(self, receiver: str, state: str) -> None: ...
    def count_failed(self, receiver: str) -> None: ...


@dataclass(frozen=True)
class DeliveryPolicy:
    """Waits in seconds. `give_up`: how old in event time a state is when it is tried no more. `refresh`: how often an
    open spike is told again; `after`: for how long a resolution is; `forget`: an open spike that nobody has judged for
    so long is told no more. `at_once`: requests to one receiver."""

    first_wait: float = 1.0
    longest_wait: float = 30.0
    longest_asked: float = 900.0
    give_up: Mapping[State, float] = field(default_factory=lambda: {"opened": DAY, "grown": DAY / 24, "resolved": DAY})
    refresh: float = 60.0
    after: float = 900.0
    forget: float = 7 * DAY
    at_once: int = 4

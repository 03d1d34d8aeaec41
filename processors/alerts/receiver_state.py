"""What each receiver knows of a spike, and what it has still to be told: pure."""

from dataclasses import dataclass, field
from typing import Final

from processors.alerts.ports import DELIVERED, GAVE_UP, SUPERSEDED, Delivery, Notice
from schemas.alerts import SpikeAlert, State

LIFE: Final[dict[State, int]] = {"opened": 0, "grown": 1, "resolved": 2}
"""States in the order in which a spike goes through them."""


def minute_of(alert: SpikeAlert) -> int:
    """Minute of its as_of, since 1970."""
    return int(alert["as_of"].timestamp()) // 60


def place(alert: SpikeAlert) -> tuple[int, int]:
    """Where a state stands in the life of its spike: states compare by it."""
    return LIFE[alert["state"]], minute_of(alert)


@dataclass(eq=False)
class Waiting:
    """A notice that is to be told. `due`: Unix time in seconds. A refresh says again what was told before."""

    notice: Notice
    receiver: str
    due: float
    attempts: int = 0
    in_flight: bool = False
    is_refresh: bool = False

    def outcome(self, said: str, delivered_ms: int | None = None) -> Delivery:
        """Its row, as it stands now."""
        alert = self.notice.alert
        return Delivery(
            alert["spike_id"],
            self.receiver,
            alert["state"],
            minute_of(alert),
            self.attempts,
            said,
            delivered_ms,
        )


@dataclass(eq=False)
class TrackState:
    """One spike to one receiver. `queue`: in the order of its life, only the first may be in flight. `refresh`: when
    and what is told again."""

    receiver: str
    severity: str
    rows: dict[State, Delivery] = field(default_factory=dict)
    queue: list[Waiting] = field(default_factory=list)
    refresh: Waiting | None = None

    @property
    def is_told(self) -> bool:
        """It knows of the spike: an opening or growth reached it, or was left out for what came after it."""
        return any(
            self.rows[state].outcome.partition(":")[0] in (DELIVERED, SUPERSEDED)
            for state in ("opened", "grown")
            if state in self.rows
        )

    @property
    def is_over(self) -> bool:
        """Nothing more will be told."""
        return not self.queue and self.refresh is None

    @property
    def is_busy(self) -> bool:
        """Something is on its way: whatever comes after it has to wait, or they might arrive the other way round."""
        return any(each.in_flight for each in self.queue) or (self.refresh is not None and self.refresh.in_flight)

    def has_settled(self, alert: SpikeAlert) -> bool:
        """This state is settled; of growth, this one or a newer."""
        row = self.rows.get(alert["state"])
        return row is not None and row.is_settled and (alert["state"] != "grown" or row.minute >= minute_of(alert))

    def attempts(self, alert: SpikeAlert) -> int:
        """How often this state was tried by whoever had the spike before."""
        row = self.rows.get(alert["state"])
        return 0 if row is None or (alert["state"] == "grown" and row.minute != minute_of(alert)) else row.attempts

    def has_newer(self, alert: SpikeAlert) -> bool:
        """Newer growth waits already."""
        return alert["state"] == "grown" and any(
            each.notice.alert["state"] == "grown" and minute_of(each.notice.alert) > minute_of(alert)
            for each in self.queue
        )

    def is_beyond(self, alert: SpikeAlert) -> bool:
        """A later state of the spike has reached it, or been given up on: this one would only confuse."""
        return any(
            row.outcome.partition(":")[0] in (DELIVERED, GAVE_UP) and (LIFE[state], row.minute) > place(alert)
            for state, row in self.rows.items()
        )

    def find(self, alert: SpikeAlert) -> Waiting | None:
        """What waits of this state; of growth, of the same minute."""
        return next((each for each in self.queue if place(each.notice.alert) == place(alert)), None)


@dataclass(eq=False)
class SpikeState:
    """A spike, as it is known now, and how far each of its receivers is. `seen`: its states, by their place in its
    life."""

    latest: SpikeAlert
    tracks: dict[str, TrackState]
    seen: set[tuple[int, int]] = field(default_factory=set)

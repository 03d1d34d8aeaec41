"""The state of a spike at each receiver: delivered rows and pending deliveries. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from processors.alerts.deliveries.policy import DeliveryPolicy
from processors.alerts.ports import DELIVERED, GAVE_UP, HELD, MINOR, SUPERSEDED, Delivery, Notice
from schemas.alerts import SEVERITIES, AlertState, Severity, SpikeAlert

LIFE_ORDER: Final[dict[AlertState, int]] = {"opened": 0, "grown": 1, "resolved": 2}
"""The order in which a spike goes through its states."""

LifePosition = tuple[int, int]
"""Number of the state in LIFE_ORDER and minute of its as_of: two states of a spike compare by their position."""


def as_of_minute(alert: SpikeAlert) -> int:
    """Returns the minute of the alert's as_of, since 1970."""
    return int(alert["as_of"].timestamp()) // 60


def life_position(alert: SpikeAlert) -> LifePosition:
    """Returns the alert's position in the life of its spike."""
    return LIFE_ORDER[alert["state"]], as_of_minute(alert)


def life_of(spike: SpikeAlert) -> Iterator[SpikeAlert]:
    """Yields the past states of a spike, as far as the newest state tells. An opening that is not stored is
    reconstructed from the newest state."""
    if spike["state"] != "opened":
        opened = spike.copy()
        opened["state"], opened["ended_at"] = "opened", None
        opened["as_of"] = spike["started_at"] + timedelta(minutes=1)
        yield opened
    yield spike


def held_outcome(until: float, failure: str = "") -> str:
    """Returns the outcome of a state that is held, with the last failure of its delivery, if any."""
    return f"{HELD}: until {datetime.fromtimestamp(until, UTC):%Y-%m-%dT%H:%MZ}" + (f"; {failure}" if failure else "")


def held_time(outcome: str) -> float:
    """Returns the time of a held state's outcome, 0 for any other outcome.

    >>> held_time(held_outcome(1767254400.0, "hooks.example answers 500")), held_time("delivered")
    (1767254400.0, 0.0)
    """
    match = re.match(rf"{HELD}: until ([0-9T:-]+Z)", outcome)
    return 0.0 if match is None else datetime.fromisoformat(match[1]).timestamp()


def seen_position(state: AlertState, minute: int) -> LifePosition:
    """Returns the key by which a state counts once: a spike opens and resolves once, but may grow several times."""
    return LIFE_ORDER[state], minute if state == "grown" else 0


@dataclass(eq=False)
class PendingDelivery:
    """A notice that a receiver has still to be sent. `due`: Unix time in seconds. A refresh repeats a delivered
    notice. `held_until`: the end of the quiet hours, or the time of the digest, for which the notice has waited; 0
    where it has not. `in_digest`: on its way as a part of a message of several notices."""

    notice: Notice
    receiver: str
    due: float
    attempts: int = 0
    in_flight: bool = False
    is_refresh: bool = False
    held_until: float = 0.0
    in_digest: bool = False

    @property
    def since(self) -> float:
        """The time from which on the notice could be delivered."""
        return max(self.notice.alert["as_of"].timestamp(), self.held_until)

    def is_part_of(self, digest: "PendingDelivery") -> bool:
        """Tells whether both are parts of the same message."""
        return self.in_digest and digest.in_digest and self.receiver == digest.receiver

    def outcome(self, text: str, delivered_ms: int | None = None) -> Delivery:
        """Returns the row of this delivery with `text` as its outcome."""
        alert = self.notice.alert
        return Delivery(
            alert["spike_id"],
            self.receiver,
            alert["state"],
            as_of_minute(alert),
            self.attempts,
            text,
            delivered_ms,
            self.notice.reference,
        )

    def unsettled(self, text: str) -> Delivery:
        """Returns the row of this delivery before its next attempt; a held one stays held."""
        return self.outcome(held_outcome(self.held_until, text) if self.held_until else text)


@dataclass(eq=False)
class ReceiverState:
    """A spike from the view of a single receiver.

    `rows`: the newest stored row of each state. `queue`: pending states in the order of the spike's life; only the
    first may be in flight. `refresh`: the repetition of a delivered state, for a receiver that forgets.
    """

    receiver: str
    severity: str | None
    min_severity: Severity
    rows: dict[AlertState, Delivery] = field(default_factory=dict)
    queue: list[PendingDelivery] = field(default_factory=list)
    refresh: PendingDelivery | None = None

    @property
    def knows_of_spike(self) -> bool:
        """An opening or growth was delivered, or was left out in favour of a later state."""
        return any(
            self.rows[state].outcome.partition(":")[0] in (DELIVERED, SUPERSEDED)
            for state in ("opened", "grown")
            if state in self.rows
        )

    @property
    def is_over(self) -> bool:
        """Nothing is pending."""
        return not self.queue and self.refresh is None

    @property
    def is_busy(self) -> bool:
        """A request is in flight. Later states wait for its answer, since two requests may overtake each other."""
        return any(pending.in_flight for pending in self.queue) or (self.refresh is not None and self.refresh.in_flight)

    @property
    def reference(self) -> str:
        """The receiver's name for the message that later states belong to, empty where there is none."""
        stored = (self.rows[state].reference for state in reversed(LIFE_ORDER) if state in self.rows)
        return next(filter(None, stored), "")

    def notice(self, alert: SpikeAlert, is_repetition: bool = False) -> Notice:
        """Returns the notice of a state for this receiver."""
        return Notice(alert, self.severity, self.reference, is_repetition)

    def held_until(self, alert: SpikeAlert) -> float:
        """Returns the time until which this state is held, as its stored row says; 0 where it is not."""
        row = self.rows.get(alert["state"])
        return 0.0 if row is None or row.minute != as_of_minute(alert) else held_time(row.outcome)

    def has_to_hear(self, latest: SpikeAlert, now: float, policy: DeliveryPolicy) -> bool:
        """Tells whether a receiver that forgets has to hear the latest state of the spike again."""
        if latest["state"] != "resolved":
            return now - latest["as_of"].timestamp() <= policy.forget
        row = self.rows.get("resolved")
        return row is not None and row.delivered_ms is not None and now - row.delivered_ms / 1000 <= policy.after

    def is_minor(self, alert: SpikeAlert) -> bool:
        """Tells whether the spike matters too little to this receiver for a first notice."""
        is_less = SEVERITIES.index(alert["severity"]) < SEVERITIES.index(self.min_severity)
        return is_less and not self.knows_of_spike and not self.queue

    def as_first(self, alert: SpikeAlert) -> SpikeAlert:
        """Returns growth as an opening, where the receiver was not told of the opening because it was minor."""
        row = self.rows.get("opened")
        was_minor = row is not None and row.outcome.partition(":")[0] == MINOR and not self.knows_of_spike
        return {**alert, "state": "opened"} if alert["state"] == "grown" and was_minor and not self.queue else alert

    def has_settled(self, alert: SpikeAlert) -> bool:
        """Tells whether this state is settled; for growth, whether this growth or newer growth is."""
        row = self.rows.get(alert["state"])
        return row is not None and row.is_settled and (alert["state"] != "grown" or row.minute >= as_of_minute(alert))

    def attempts(self, alert: SpikeAlert) -> int:
        """Returns how often this state was tried before, as its stored row says."""
        row = self.rows.get(alert["state"])
        return 0 if row is None or (alert["state"] == "grown" and row.minute != as_of_minute(alert)) else row.attempts

    def has_newer(self, alert: SpikeAlert) -> bool:
        """Tells whether newer growth than this growth is already pending."""
        return alert["state"] == "grown" and any(
            pending.notice.alert["state"] == "grown" and as_of_minute(pending.notice.alert) > as_of_minute(alert)
            for pending in self.queue
        )

    def is_beyond(self, alert: SpikeAlert) -> bool:
        """Tells whether a later state of the spike was delivered or given up, so that this state would only confuse."""
        return any(
            row.outcome.partition(":")[0] in (DELIVERED, GAVE_UP)
            and (LIFE_ORDER[state], row.minute) > life_position(alert)
            for state, row in self.rows.items()
        )

    def find_pending(self, alert: SpikeAlert) -> PendingDelivery | None:
        """Returns the pending delivery of this state (for growth: of the same minute), None when there is none."""
        position = life_position(alert)
        return next((pending for pending in self.queue if life_position(pending.notice.alert) == position), None)


@dataclass(eq=False)
class SpikeState:
    """A spike in its newest state, with the state of each receiver. `seen`: life positions of all processed states;
    minutes count for growth alone."""

    latest: SpikeAlert
    receivers: dict[str, ReceiverState]
    seen: set[LifePosition] = field(default_factory=set)

"""Admission of due deliveries by a receiver's rate and its bound of requests in flight. Pure; time is an argument."""

from collections.abc import Mapping

from processors.alerts.deliveries.rate_bucket import RateBucket
from processors.alerts.deliveries.receiver_state import PendingDelivery
from processors.alerts.fields import Rate


class Admission:
    """The rates of all receivers, and how many requests to each are in flight."""

    def __init__(self, rates: Mapping[str, Rate | None], at_once: int, now: float) -> None:
        """`at_once`: requests in flight to one receiver, at most."""
        self._buckets = {name: RateBucket(rate, now) for name, rate in rates.items()}
        self._in_flight = dict.fromkeys(rates, 0)
        self._at_once = at_once

    @property
    def in_flight(self) -> int:
        return sum(self._in_flight.values())

    def admit(
        self, receiver: str, due: list[PendingDelivery], now: float
    ) -> tuple[list[PendingDelivery], list[PendingDelivery]]:
        """Starts due deliveries to a receiver, new states before refreshes. Returns the started ones, and those that
        have to wait for the receiver's rate."""
        started = self._admit_digest(receiver, due, now)
        limited: list[PendingDelivery] = []
        for pending in sorted(due, key=lambda pending: (pending.is_refresh, pending.due)):
            if self._in_flight[receiver] >= self._at_once:
                break
            if not pending.is_refresh and (limited or not self._buckets[receiver].spend(now)):
                limited.append(pending)
            else:
                started.append(self._start(pending))
        return started, limited

    def finish(self, pending: PendingDelivery) -> None:
        """Notes that the request of a started delivery was answered."""
        pending.in_flight = False
        self._in_flight[pending.receiver] -= 1

    def _admit_digest(self, receiver: str, due: list[PendingDelivery], now: float) -> list[PendingDelivery]:
        """Starts the held states of several spikes as one message, and takes them out of `due`. A spike of which the
        receiver has a message is told there."""
        held = [pending for pending in due if pending.held_until and not pending.notice.reference]
        if len(held) < 2:
            return []
        due[:] = [pending for pending in due if pending not in held]
        if self._in_flight[receiver] >= self._at_once or not self._buckets[receiver].spend(now):
            return []
        return [self._start(pending, in_digest=True) for pending in held]

    def _start(self, pending: PendingDelivery, in_digest: bool = False) -> PendingDelivery:
        pending.in_flight, pending.in_digest = True, in_digest
        self._in_flight[pending.receiver] += 1
        return pending

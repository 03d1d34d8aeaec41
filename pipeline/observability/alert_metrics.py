"""The metrics of an alert agent, in the registry of the worker; docs/alerts.md lists them."""

from collections.abc import Iterable, Mapping
from typing import Final

from pipeline.observability.metrics import WorkerMetrics

ALERT_STATES: Final = ("opened", "grown", "resolved")
ALERT_REASONS: Final = ("old", "silenced", "untold", "superseded", "gave up", "minor", "unrouted")
HEARTBEAT_OUTCOMES: Final = ("sent", "failed")


class AlertMetrics:
    """The metrics of an alert agent."""

    def __init__(self, worker: WorkerMetrics) -> None:
        self._fired = worker.counter("alerts_fired_total", "States of spikes that came to be told", ["state"])
        self._suppressed = worker.counter(
            "alerts_suppressed_total", "States of spikes that a receiver was not told, by why", ["reason"]
        )
        self._delivered = worker.counter(
            "alerts_delivered_total", "States of spikes that a receiver was told", ["receiver", "state"]
        )
        self._failed = worker.counter("alerts_failed_total", "Attempts to tell a receiver that failed", ["receiver"])
        self._waiting = worker.gauge("alerts_waiting", "States of spikes that are still to be told", ["receiver"])
        self._beats = worker.counter("heartbeats_total", "Times the heartbeat's address was asked", ["outcome"])
        for state in ALERT_STATES:
            self._fired.labels(state)
        for reason in ALERT_REASONS:
            self._suppressed.labels(reason)
        for outcome in HEARTBEAT_OUTCOMES:
            self._beats.labels(outcome)

    def name_receivers(self, receivers: Iterable[str]) -> None:
        """Makes the series of receivers before the first alert, so that rates begin at 0."""
        for receiver in receivers:
            self._failed.labels(receiver)
            self._waiting.labels(receiver).set(0)
            for state in ALERT_STATES:
                self._delivered.labels(receiver, state)

    def count_fired(self, state: str) -> None:
        """Counts a state of a spike that receivers are to be told."""
        self._fired.labels(state).inc()

    def count_suppressed(self, reason: str) -> None:
        """Counts a state that a receiver was not told; `reason` is one of ALERT_REASONS."""
        self._suppressed.labels(reason).inc()

    def count_delivered(self, receiver: str, state: str) -> None:
        """Counts a state that a receiver was told."""
        self._delivered.labels(receiver, state).inc()

    def count_failed(self, receiver: str) -> None:
        """Counts a failed attempt to tell a receiver."""
        self._failed.labels(receiver).inc()

    def set_waiting(self, counts: Mapping[str, int]) -> None:
        """Sets the number of states that each receiver is still to be told."""
        for receiver, count in counts.items():
            self._waiting.labels(receiver).set(count)

    def count_heartbeat(self, is_taken: bool) -> None:
        """Counts a request to the heartbeat's address, by outcome."""
        self._beats.labels(HEARTBEAT_OUTCOMES[not is_taken]).inc()

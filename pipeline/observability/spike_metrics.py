"""The metrics of the spike detector, in the registry of the worker; docs/spikes.md lists them."""

from typing import Final

from pipeline.observability.metrics import WorkerMetrics

SPIKE_STATES: Final = ("opened", "grown", "resolved")


class SpikeMetrics:
    """The metrics of a spike detector."""

    def __init__(self, worker: WorkerMetrics) -> None:
        self._series = worker.gauge("spike_series", "Conversations that are watched")
        self._released = worker.counter("spike_series_released_total", "Series let go: idle for long, or no room")
        self._open = worker.gauge("spikes_open", "Spikes that go on, those of minutes that are not over included")
        self._spikes = worker.counter(
            "spikes_total", "States of spikes that were sent to the topic of alerts", ["state"]
        )
        self._seconds = worker.counter("spike_detector_seconds_total", "Time that the detector took")
        self._evidence = worker.counter(
            "spike_evidence_seconds_total", "Time that it took to ask what spikes are made of"
        )
        self._seen_released = 0
        for state in SPIKE_STATES:
            self._spikes.labels(state)

    def count_spike(self, state: str) -> None:
        """Counts a state of a spike that was sent; `state` is one of SPIKE_STATES."""
        self._spikes.labels(state).inc()

    def add_seconds(self, seconds: float) -> None:
        """Adds time of the detector."""
        self._seconds.inc(seconds)

    def add_evidence_seconds(self, seconds: float) -> None:
        """Adds the time of a query for evidence."""
        self._evidence.inc(seconds)

    def show(self, series: int, released: int, open_spikes: int) -> None:
        """Sets the gauges and counts released series.

        `released` counts since the detector's start; a lower number than before means that the detector has restarted.
        """
        self._released.inc(released - self._seen_released if released >= self._seen_released else released)
        self._seen_released = released
        self._series.set(series)
        self._open.set(open_spikes)

"""The Prometheus metrics of the collector; docs/collector.md lists them."""

from typing import Final

from pipeline.observability.prometheus import MetricsRegistry, Registry

SECONDS_BOUNDS: Final = (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class CollectorMetrics(MetricsRegistry):
    """The metrics of a collector."""

    def __init__(self, registry: Registry | None = None) -> None:
        super().__init__(registry)
        self._requests = self.counter(
            "collector_requests_total", "Requests, by endpoint, status and source", ["endpoint", "code", "source"]
        )
        self._seconds = self.histogram(
            "collector_request_seconds",
            "Seconds until the answer, acks of Kafka included",
            SECONDS_BOUNDS,
            ["endpoint"],
        )
        self._items = self.counter(
            "collector_items_total", "Items of requests, by outcome: accepted, rejected, ignored", ["source", "outcome"]
        )
        self.waiting_bytes = self.gauge("collector_waiting_bytes", "Memory of the records that wait for their acks")
        self.body_bytes = self.gauge("collector_body_bytes", "Memory of the bodies of requests")
        self.kafka_up = self.gauge("collector_kafka_up", "1 while Kafka takes records")

    def count_request(self, endpoint: str, code: int, source: str, seconds: float) -> None:
        """Counts an answered request."""
        self._requests.labels(endpoint, str(code), source).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def count_items(self, source: str, accepted: int, rejected: int, ignored: int) -> None:
        """Counts the items of a request."""
        for outcome, count in (("accepted", accepted), ("rejected", rejected), ("ignored", ignored)):
            if count:
                self._items.labels(source, outcome).inc(count)

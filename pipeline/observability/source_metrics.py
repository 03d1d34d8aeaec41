"""The Prometheus metrics of a live source; docs/sources.md lists them."""

from collections import Counter
from typing import Final, Literal, get_args

from pipeline.observability.prometheus import MetricsRegistry, Registry
from schemas.events import Action
from schemas.topics import KINDS

SourceCount = Literal[
    "frames",
    "dead_frames",
    "reconnects",
    "cursor_gaps",
    "unresolved_deletes",
    "resolved_late",
    "deleted_accounts",
    "unresolved_accounts",
]
SOURCE_COUNTS: Final[dict[SourceCount, str]] = {
    "frames": "Frames that came",
    "dead_frames": "Frames that could not be mapped, kept as dead letters",
    "reconnects": "Connections that ended, or were not made",
    "cursor_gaps": "Times the host had no events any more for where the stream was",
    "unresolved_deletes": "Deletes of records that the store does not know, of which nothing was taken back",
    "resolved_late": "Of these, deletes that came before their record, which was taken back when it came",
    "deleted_accounts": "Accounts that were deleted, whose known records were taken back",
    "unresolved_accounts": "Of these, accounts of which the store knows no record",
}
assert set(SOURCE_COUNTS) == set(get_args(SourceCount))


class SourceMetrics(MetricsRegistry):
    """The metrics of a live source. The source counts by itself and sets the totals, so that an event costs nothing
    here."""

    def __init__(self, registry: Registry | None = None) -> None:
        super().__init__(registry)
        self._counts = {name: self.counter(f"source_{name}_total", text) for name, text in SOURCE_COUNTS.items()}
        self._events = self.counter("source_events_total", "Events that the source made", ["kind", "action"])
        self._skipped = self.counter("source_skipped_total", "Frames that are no event, by why", ["reason"])
        self._lag = self.gauge("source_lag_seconds", "Now less the time of the newest frame; NaN: none came yet")
        self._connected = self.gauge("source_connected", "1 while a host is connected")
        self._told: Counter[tuple[str, ...]] = Counter()
        self._lag.set(float("nan"))
        for kind in KINDS:
            for action in get_args(Action):
                self._events.labels(kind, action)

    def set_totals(self, totals: Counter[tuple[str, ...]]) -> None:
        """Sets the totals since the start: ("frames",), ("events", kind, action) or ("skipped", reason)."""
        for key, total in totals.items():
            if grown := total - self._told[key]:
                name, *labels = key
                if name == "events":
                    self._events.labels(*labels).inc(grown)
                elif name == "skipped":
                    self._skipped.labels(*labels).inc(grown)
                else:
                    self._counts[name].inc(grown)  # type: ignore[index]  # one of SOURCE_COUNTS
                self._told[key] = total

    def set_stream(self, is_connected: bool, lag_seconds: float | None) -> None:
        """Sets whether a host is connected, and the lag behind the stream; None: no frame came yet."""
        self._connected.set(is_connected)
        if lag_seconds is not None:
            self._lag.set(lag_seconds)

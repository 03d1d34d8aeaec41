"""Metrics of an alert agent, in the registry of its worker. docs/alerts.md lists them."""

from collections.abc import Iterable, Mapping
from typing import Final

from pipeline.observability.metrics import WorkerMetrics

ALERT_STATES: Final = ("opened", "grown", "resolved")
ALERT_REASONS: Final = ("old", "silenced", "untold", "superseded", "gave up", "unrouted")
HEARTBEAT_OUTCOMES: Final = ("sent", "failed")

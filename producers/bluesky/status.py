"""The status server of a live source, if a setting asks for a server: /metrics, /healthz and /readyz."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.errors import SettingsError
from pipeline.observability.health import Report
from pipeline.observability.source_metrics import SourceMetrics
from pipeline.observability.status_server import StatusServer
from pipeline.settings import Settings


@contextmanager
def serve_status(settings: Settings, metrics: SourceMetrics, trouble: Callable[[], str]) -> Iterator[str | None]:
    """Serves while the block runs, and gives the URL; None without the setting. `trouble`: why the source is not ready;
    empty where it is. Raises SettingsError when the port cannot be bound."""
    if settings.source_metrics_port is None:
        yield None
        return

    def report(_: float) -> Report:
        reason = trouble()
        return Report(live=True, ready=not reason, reasons=(reason,) if reason else ())

    try:
        server = StatusServer(settings.metrics_host, settings.source_metrics_port, metrics, report)
    except SettingsError as error:
        raise SettingsError(f"ENGAGEMENT_SOURCE_METRICS_PORT: {error}") from None
    try:
        yield server.url
    finally:
        server.close()

"""Alerts on their way to the alert agent: records of the topic `alerts` (schemas/alerts.py), keyed by conversation."""

from collections.abc import Callable
from typing import Final

from pipeline.record_producer import Outlet

PATIENCE_SECONDS: Final = 2.0
"""How long a flush waits before whoever sends may think again; what was sent stays on its way."""


class KafkaMessages:
    """Messages into one topic. `open_outlet` is called when the first one is sent: it may block, and raises
    Unavailable."""

    def __init__(self, topic: str, open_outlet: Callable[[], Outlet]) -> None:
        self._topic, self._open = topic, open_outlet
        self._outlet: Outlet | None = None

    def send(self, conversation: str, value: bytes) -> None:
        if self._outlet is None:
            self._outlet = self._open()
        self._outlet.send(self._topic, conversation.encode(), value)

    def flush(self) -> None:
        if self._outlet is not None:
            self._outlet.flush(PATIENCE_SECONDS)

    def close(self) -> None:
        """Flushes and ends, in bounded time. Raises as `flush` does."""
        if self._outlet is not None:
            self._outlet.close()

"""A uvicorn server that ends in order when a signal comes."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn


class SignalledServer(uvicorn.Server):
    """Ends with exit code 0 at SIGTERM; uvicorn raises the signal again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles SIGTERM and SIGINT while the server runs, and then restores the handlers of before."""
        kept = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)

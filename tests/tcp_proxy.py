"""A TCP proxy on loopback whose link can be cut, severed and made slow: a network that fails while both its ends live.

with TcpProxy(target=("127.0.0.1", 9092)) as proxy:
    proxy.cut()     # bytes are held back, connections stay: as when packets are lost on the way
    proxy.mend()    # what was held back arrives
    proxy.sever()   # connections end, and new ones are refused until `mend`
"""

import selectors
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Final

CHUNK_BYTES: Final = 1 << 16
LOOK_SECONDS: Final = 0.05
"""How soon a thread sees that the link was cut, severed or mended."""


class TcpProxy:
    """Listens on a port of its own and passes bytes on, two threads a connection; as a context manager it ends with
    none of them left."""

    def __init__(self, target: tuple[str, int], port: int = 0, delay: float = 0.0) -> None:
        """`port` 0: any free one. `delay`: seconds that each chunk of up to 64 KiB waits on its way to the target; it
        may be changed at any time."""
        self.delay = delay
        self._target = target
        self._whole = threading.Event()
        self._whole.set()
        self._is_severed = self._is_closed = False
        self._lock = threading.Lock()
        self._links: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.settimeout(LOOK_SECONDS)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> "TcpProxy":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Nothing passes any more, in either direction; connections stay, and new ones are held too."""
        self._whole.clear()

    def sever(self) -> None:
        """Ends all connections; whoever connects is turned away until `mend`."""
        self._is_severed = True
        self._end_links()

    def mend(self) -> None:
        """All passes again."""
        self._is_severed = False
        self._whole.set()

    def close(self) -> None:
        """Ends all connections and threads; blocks until they are gone."""
        self._is_closed = True
        self._whole.set()
        self._end_links()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            if self._is_severed or self._is_closed:
                near.close()
                continue
            try:
                far = socket.create_connection(self._target, 5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            near.settimeout(None)
            with self._lock:
                self._links |= {near, far}
            for source, sink, is_outward in ((near, far, True), (far, near, False)):
                thread = threading.Thread(target=self._pass_on, args=(source, sink, is_outward), daemon=True)
                thread.start()
                self._threads.append(thread)

    def _pass_on(self, source: socket.socket, sink: socket.socket, is_outward: bool) -> None:
        with suppress(OSError, ValueError), selectors.DefaultSelector() as selector:
            selector.register(source, selectors.EVENT_READ)
            while not self._is_closed:
                self._whole.wait()
                if not selector.select(LOOK_SECONDS):
                    continue
                chunk = source.recv(CHUNK_BYTES)
                self._whole.wait()  # what was under way when the link was cut is held back too
                if not chunk:
                    break
                if is_outward and self.delay:
                    time.sleep(self.delay)
                sink.sendall(chunk)
        for end in (source, sink):
            _end(end)
        with self._lock:
            self._links -= {source, sink}

    def _end_links(self) -> None:
        with self._lock:
            links = list(self._links)
        for link in links:
            _end(link)


def _end(link: socket.socket) -> None:
    with suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
    link.close()

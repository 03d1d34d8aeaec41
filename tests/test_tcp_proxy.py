"""The network of tests that fails: what passes, and when."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.patience import SOON
from tests.tcp_proxy import TcpProxy


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that says what it is told."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(link: socket.socket) -> None:
        while chunk := link.recv(1024):
            link.sendall(chunk)
        link.close()

    def serve() -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(link,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()
    listener.close()


def _say(link: socket.socket, words: bytes) -> bytes:
    link.sendall(words)
    return link.recv(1024)


def test_what_a_cut_link_holds_back_arrives_when_it_is_mended(echo: tuple[str, int]) -> None:
    with TcpProxy(echo) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 5) as link:
        assert _say(link, b"before") == b"before"
        proxy.cut()
        link.sendall(b"held")
        link.settimeout(0.3)
        with pytest.raises(TimeoutError):
            link.recv(1024)
        proxy.mend()
        link.settimeout(5)
        assert link.recv(1024) == b"held"


def test_a_severed_link_ends_connections_and_takes_no_new_ones(echo: tuple[str, int]) -> None:
    with TcpProxy(echo) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as link:
            assert _say(link, b"before") == b"before"
            proxy.sever()
            assert link.recv(1024) == b""
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as link:
            assert link.recv(1024) == b""
        proxy.mend()
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as link:
            assert _say(link, b"after") == b"after"


def test_a_slow_link_is_slow_in_one_direction(echo: tuple[str, int]) -> None:
    with TcpProxy(echo, delay=0.2) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 5) as link:
        started = time.monotonic()
        assert _say(link, b"word") == b"word"
        assert 0.2 <= time.monotonic() - started < SOON

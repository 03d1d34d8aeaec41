"""Finds free ports on loopback."""

import random
import socket
from collections.abc import Collection
from typing import Final

from pipeline.errors import StackError

HOST: Final = "127.0.0.1"
"""The only address of the embedded stack, whose Kafka has no passwords."""

RANGE: Final = range(20000, 32000)
"""The ports to choose from, below Linux's default range of outgoing connections (32768 up): no outgoing connection can
take a port that the state file keeps while the stack is down."""


def is_free(port: int) -> bool:
    """Tells whether a listener can be bound to a port on loopback; remains of closed connections do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def find_free_port(besides: Collection[int]) -> int:
    """Returns a free port that is not in `besides`. Raises StackError after a hundred attempts."""
    for _ in range(100):
        port = random.choice(RANGE)
        if port not in besides and is_free(port):
            return port
    raise StackError(
        f"no free port between {RANGE.start} and {RANGE.stop}: name some with --kafka-port and --clickhouse-port"
    )

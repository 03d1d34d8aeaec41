"""Free loopback ports, and whether one is taken."""

import random
import socket
from collections.abc import Collection
from typing import Final

from pipeline.errors import StackError

HOST: Final = "127.0.0.1"
"""The embedded stack has no passwords, so it listens nowhere else."""

RANGE: Final = range(20000, 32000)
"""Below Linux's default range of outgoing connections (32768 up): a port that is kept in the state file while the stack
is down cannot be taken by a passing connection."""


def is_free(port: int) -> bool:
    """Whether a listener could be bound to the port on loopback now; remains of closed connections do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def find_free_port(besides: Collection[int]) -> int:
    """A port that is free now and not among those. Raises StackError after a hundred taken ones."""
    for _ in range(100):
        port = random.choice(RANGE)
        if port not in besides and is_free(port):
            return port
    raise StackError(
        f"no free port between {RANGE.start} and {RANGE.stop}: name some with --kafka-port and --clickhouse-port"
    )

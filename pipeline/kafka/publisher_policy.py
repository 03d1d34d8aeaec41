"""The limits and intervals of a publisher."""

from dataclasses import dataclass
from typing import Final

ACK_TICK_SECONDS: Final = 0.02
"""Interval between two looks at the acks while no caller waits for them."""

WAITED_ACK_TICK_SECONDS: Final = 0.002
"""The same interval while a caller waits in `flush` or for room."""

RECONNECT_SECONDS: Final = 0.5
"""Pause between two attempts to connect again."""

RECORD_OVERHEAD: Final = 900
"""Memory of a record in flight beside its key and value: kafka-python's future with lock and lists, and our own object;
measured: 710 bytes."""

REFUSALS_KEPT: Final = 1000
"""Refusals that are kept for `flush`; more of them would only be counted."""


@dataclass(frozen=True)
class PublisherPolicy:
    """Limits of a publisher.

    `memory_bytes` bounds the records in flight: values count twice (our copy and kafka-python's), overhead included.
    """

    memory_bytes: int = 64 * 1024 * 1024
    record_bytes: int = 1_000_000
    block_seconds: float = 600
    close_seconds: float = 30

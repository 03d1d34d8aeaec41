"""How a member joins a consumer group and fetches."""

from dataclasses import dataclass
from typing import Final

Partition = tuple[str, int]
"""Topic and number of a partition."""

FETCH_BYTES: Final = 1 << 20
"""Bytes read ahead per partition: the 48 partitions of a worker hold at most 48 MiB beside the open batch."""

FETCH_WAIT_MS: Final = 100
"""How long the broker holds a fetch that finds no records. aiokafka sends a broker no other fetch meanwhile, so records
of busy partitions wait behind idle ones. A shorter wait means more empty fetches, at 1.5 ms each."""

CALM_WAIT_MS: Final = 250
"""The same wait for topics of which a minute late is early enough; an empty fetch costs a millisecond or two."""


@dataclass(frozen=True)
class GroupPolicy:
    """How a member joins a group.

    `instance` is the name of a static member, which is back within two seconds after a crash, without a rebalance.
    """

    group: str
    topics: tuple[str, ...]
    instance: str | None = None
    session_seconds: float = 10.0
    fetch_wait_ms: int = FETCH_WAIT_MS

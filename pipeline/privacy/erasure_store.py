"""The tables of erasures: steps, hashes, and how far workers have taken them up."""

import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from pipeline.clickhouse.client import ClickHouse
from pipeline.privacy.erased_hashes import ErasedHashes, ErasedKind, ErasureKey
from schemas.tables import ERASED_HASHES, ERASURE_ACKS, ERASURES

REFUSE: Final = "refuse"
FOLD: Final = "fold"
COUNT: Final = "count"
ROLL: Final = "roll"
DONE: Final = "done"
"""The steps of an erasure that workers take up, in order (processors/erasure/erase.py)."""

STALE: Final = "stale"
"""The step of a worker that hung while an erasure went on, and may have stored rows of before since then."""

ALLOW: Final = "allow"
"""The step that lets events of people in again."""


class ErasureStep(NamedTuple):
    """A step of an erasure, with the numbers of what was done until then."""

    step: str
    people: int = 0
    posts: int = 0
    events: int = 0


class ErasureStore:
    """The tables of erasures on a connection for lists. Every method blocks, and raises Unavailable, Refused."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    def latest(self) -> tuple[int, str]:
        """Reads the number and the name of the latest step; 0 and nothing where nobody was ever erased."""
        answer = self._clickhouse.select(f"SELECT max(epoch), argMax(step, (epoch, recorded_at)) FROM {ERASURES.name}")
        return int(answer[0][0]), str(answer[1][0])

    def epoch(self) -> int:
        """Reads the number of the latest step; 0 where nobody was ever erased."""
        return self.latest()[0]

    def hashes(self, key: ErasureKey | None) -> ErasedHashes:
        """Reads all that was erased. Raises SettingsError for a missing or another key."""
        answer = self._clickhouse.select(f"SELECT kind, hash FROM {ERASED_HASHES.name} FINAL WHERE is_erased")
        found: dict[ErasedKind, list[int]] = {}
        for kind, hash_ in zip(*answer, strict=True) if answer else ():
            found.setdefault(kind, []).append(hash_)
        return ErasedHashes(key, found)

    def add_hashes(self, hashes: Mapping[ErasedKind, Sequence[int]], epoch: int, is_erased: bool = True) -> None:
        """Adds hashes, or lets their events in again."""
        kinds: list[Any] = [kind for kind, of in hashes.items() for _ in of]
        if kinds:
            self._clickhouse.insert(
                ERASED_HASHES.name,
                {
                    "kind": kinds,
                    "hash": np.array([hash_ for of in hashes.values() for hash_ in of], np.uint64),
                    "is_erased": [int(is_erased)] * len(kinds),
                    "version": [epoch] * len(kinds),
                },
            )

    def record(self, epoch: int, step: ErasureStep) -> None:
        """Records a step, which workers then take up."""
        self._clickhouse.insert(
            ERASURES.name,
            {
                "epoch": [epoch],
                "step": [step.step],
                "people": [step.people],
                "posts": [step.posts],
                "events": [step.events],
                "erased_by": [f"engagement forget on {socket.gethostname()}"],
            },
        )

    def ack(self, agent: str, partitions: Sequence[int], epoch: int) -> None:
        """Notes that the owner of these partitions has taken up a step."""
        self._clickhouse.insert(
            ERASURE_ACKS.name,
            {
                "agent": [agent] * len(partitions),
                "partition": list(partitions),
                "epoch": [epoch] * len(partitions),
            },
        )

    def behind(self, agent: str, partitions: int, epoch: int) -> list[int]:
        """Reads which of so many partitions have not been taken up to `epoch` by an owner."""
        answer = self._clickhouse.select(
            f"SELECT partition FROM {ERASURE_ACKS.name} WHERE agent = %(agent)s AND epoch >= %(epoch)s",
            {"agent": agent, "epoch": epoch},
        )
        return sorted(set(range(partitions)) - set(answer[0] if answer else ()))

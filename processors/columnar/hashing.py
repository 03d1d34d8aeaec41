"""Identities as 64-bit numbers: SipHash-2-4 under a key of this process's own, the same here and inside ClickHouse.

A key that nobody outside knows makes collisions a matter of chance (for a post of a million events 3 in a hundred
million), not of malice. State never leaves the process, so each process draws its own. Aumasson & Bernstein 2012.

Actors alone have a key that all processes share, because sets of them are united across workers: whoever makes two of
his own accounts collide is counted as one.
"""

import secrets
import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from pandas.util import hash_array

ACTOR_KEY: Final = "engagement/actor"
_MIX: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))

Hashes = np.ndarray[Any, np.dtype[np.uint64]]


class Hasher:
    """Hashes strings under one key. `key` is 16 ASCII characters; random where not given."""

    def __init__(self, key: str | None = None) -> None:
        self._key = key or secrets.token_urlsafe(12)

    def hashes(self, values: Sequence[str]) -> Hashes:
        """Returns a number per string; about 0.12 us each."""
        return _hashes(values, self._key)

    def actors(self, values: Sequence[str]) -> Hashes:
        """Returns a number per actor_id, the same in every process."""
        return _hashes(values, ACTOR_KEY)

    def sql(self, expression: str) -> str:
        """Returns SQL for values that `adopt` turns into the numbers of `hashes`."""
        return _sql(expression, self._key)

    def sql_actor(self, expression: str) -> str:
        """Returns SQL for values that `adopt` turns into the numbers of `actors`."""
        return _sql(expression, ACTOR_KEY)

    @staticmethod
    def adopt(raw: Hashes) -> Hashes:
        """Turns SipHash values of ClickHouse into those of `hashes`: pandas adds SplitMix64's finalizer."""
        hashed = raw.astype(np.uint64)
        with np.errstate(over="ignore"):
            for shift, factor in _MIX:
                hashed = (hashed ^ (hashed >> np.uint64(shift))) * np.uint64(factor)
            return hashed ^ (hashed >> np.uint64(31))


def _hashes(values: Sequence[str], key: str) -> Hashes:
    if 2 * values.count("") > len(values):  # few likes name a parent or a target
        filled = np.fromiter(map(bool, values), np.bool_, len(values))
        hashed: Hashes = np.full(len(values), _all_hashes([""], key)[0])
        hashed[filled] = _all_hashes(list(filter(None, values)), key)
        return hashed
    return _all_hashes(values, key)


def _all_hashes(values: Sequence[str], key: str) -> Hashes:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    hashed: Hashes = hash_array(column, hash_key=key, categorize=False)
    return hashed


def _sql(expression: str, key: str) -> str:
    low, high = struct.unpack("<QQ", key.encode("ascii"))
    return f"sipHash64Keyed((toUInt64({low}), toUInt64({high})), {expression})"


NOBODY: Final = _all_hashes([""], ACTOR_KEY)[0]
"""The number of the actor of an event that names none."""

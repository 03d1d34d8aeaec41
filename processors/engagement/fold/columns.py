"""Events as columns, which decoding hands to the fold and to the log.

`EventColumns` has the values, one entry per event in each list or array; `Identities` has the numbers that the fold
works on.
"""

from dataclasses import dataclass, fields
from itertools import compress
from typing import Any, Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.hashing import Hasher, Hashes
from schemas.metrics import MEASURES, MINUTE_US, NODE_MEASURES
from schemas.topics import KINDS

KIND_NUMBER: Final[dict[str, int]] = {kind: number for number, kind in enumerate(KINDS)}
POST: Final = KIND_NUMBER["post"]

KEY_CODE: Final = np.uint64(0x243F6A8885A308D3)
"""The key of an event is the hash of its event_id + (2 x kind + 1) x KEY_CODE + action."""

TOMBSTONE: Final = 2
"""The bit of `Identities.actions` of an event whose actor was erased (docs/privacy.md)."""

# Odd constants (from the digits of pi) that spread the parts of an identity; any odd numbers would do.
_SPREAD: Final = tuple(map(np.uint64, (0x13198A2E03707345, 0xA4093822299F31D1, 0x082EFA98EC4E6C89, 0x452821E638D01377)))


_IS_NODE: Final = np.zeros(len(MEASURES) + 1, np.bool_)  # the last place is that of -1, a post
_IS_NODE[list(NODE_MEASURES)] = True


@dataclass
class EventColumns:
    """Consecutive events as columns of equal length. Unknown text is empty; times are ticks since 1970, UTC."""

    topic: list[str]
    partition: Array  # u2
    offset: Array  # i8
    received_ms: Array  # i8
    kind: Array  # i1, index into KINDS
    action: Array  # i1, 0 add, 1 retract
    occurred_us: Array  # i8
    event_id: list[str]
    post_id: list[str]
    actor_id: list[str]
    parent_id: list[str]
    target_id: list[str]
    channel: list[str]
    url: list[str]
    conversations: list[list[str]]
    links: list[list[str]]
    quotes: list[str]
    author_id: list[str]
    followers: list[int | None]
    labels: list[list[str]]  # flat: key, value, ...
    text: list[str]

    def __len__(self) -> int:
        return len(self.event_id)

    def where(self, mask: Array) -> "EventColumns":
        """Returns the events where `mask` is true, in the same order."""
        if mask.all():
            return self
        columns: list[Any] = [getattr(self, field.name) for field in fields(self)]
        flags = mask.tolist()
        chosen: list[Any] = [c[mask] if isinstance(c, np.ndarray) else list(compress(c, flags)) for c in columns]
        return EventColumns(*chosen)


class Identities(NamedTuple):
    """The numbers of events that the fold works on: arrays of one length."""

    keys: Hashes
    targets: Hashes
    actors: Hashes
    channels: Hashes
    minutes: Array  # u4, minutes since 1970
    checks: Array  # u4, of actor, parent, target, channel and time
    measures: Array  # i1, index into MEASURES; -1 for a post
    actions: Array  # i1, with TOMBSTONE where a person was erased
    parents: Hashes  # of the parent_id; 0: the post

    @property
    def are_nodes(self) -> Array:
        """Whether each event is of a measure whose events have a place in the trees of their post."""
        return _IS_NODE[self.measures]


def identify(events: EventColumns, hasher: Hasher) -> Identities:
    """Returns the numbers of events that have just been decoded."""
    return identities(
        events.kind,
        events.action,
        events.occurred_us,
        hasher.hashes(events.event_id),
        hasher.hashes(events.target_id),
        hasher.actors(events.actor_id),
        hasher.hashes(events.parent_id),
        hasher.hashes(events.channel),
        np.array(
            [not parent or parent == post for parent, post in zip(events.parent_id, events.post_id, strict=True)],
            np.bool_,
        ),
    )


def identities(
    kind: Array,
    action: Array,
    occurred_us: Array,
    event: Hashes,
    target: Hashes,
    actor: Hashes,
    parent: Hashes,
    channel: Hashes,
    is_top: Array,
    is_erased: Array | None = None,
) -> Identities:
    """Returns the numbers of events from the hashes of their texts, whether these were made here or by ClickHouse.
    `is_top` is true where the parent is empty or the post itself, `is_erased` for tombstones; None: there are none."""
    with np.errstate(over="ignore"):
        code = (kind.astype(np.uint64) * np.uint64(2) + np.uint64(1)) * KEY_CODE
        content = occurred_us.astype(np.uint64)
        for part, spread in zip((actor, parent, target, channel), _SPREAD, strict=True):
            content = (content ^ part) * spread
        return Identities(
            keys=event + code + action.astype(np.uint64),
            targets=target + code,
            actors=actor,
            channels=channel,
            minutes=(occurred_us // MINUTE_US).astype(np.uint32),
            checks=(content >> np.uint64(32)).astype(np.uint32),
            measures=(kind - 1).astype(np.int8),
            actions=(action if is_erased is None else action + TOMBSTONE * is_erased).astype(np.int8),
            parents=np.where(is_top, np.uint64(0), parent),
        )

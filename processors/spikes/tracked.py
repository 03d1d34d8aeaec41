"""Which conversations have a series in the bank, at most so many: the idlest leave."""

from collections.abc import Collection, Container, Sequence
from typing import Final

import numpy as np

from processors.columnar.arrays import Array
from processors.spikes.bank import Bank

KEPT_SHARE: Final = 0.9
"""Of the most that there may be, once there are more: making room for one at a time would cost a look at all each."""

NAME_BYTES: Final = 200
"""What a series takes beside its row: a name of some 40 characters, its place in a dict, and in a list once it is let
go."""


class TrackedState:
    """Conversation -> row of the bank, and the last minute that had a count."""

    def __init__(self, bank: Bank, most: int) -> None:
        self._bank, self._most = bank, most
        self._rows: dict[str, int] = {}
        self._last = np.zeros(1024, np.int64)
        self.released = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        """Memory, with that of the bank, room included."""
        return int(self._bank.nbytes + self._last.nbytes) + NAME_BYTES * len(self._rows)

    def find(self, conversation: str) -> int | None:
        """Its row; None where it has none."""
        return self._rows.get(conversation)

    def that_fit(self, conversations: Sequence[str], counts: Sequence[int], held: Collection[str]) -> Sequence[int]:
        """Places of those of one minute that can have a series at once: all that have one; of the others, none of which
        could fire yet, the loudest (of two as loud the first by name) where they are more than there may be series."""
        new = [place for place, name in enumerate(conversations) if name not in self._rows]
        if len(self._rows) + len(new) <= self._most:
            return range(len(conversations))
        room = max(0, self._most - len({*conversations, *held} - {conversations[place] for place in new}))
        left_out = set(sorted(new, key=lambda place: (-counts[place], conversations[place]))[room:])
        return [place for place in range(len(conversations)) if place not in left_out]

    def touch(self, conversations: Sequence[str], minute: int, held: Container[str]) -> Array:
        """Their rows, of new series where there are none. Where that makes too many, the idlest of the others go, but
        for those that are `held`."""
        new = [name for name in conversations if name not in self._rows]
        if len(self._rows) + len(new) > self._most:
            self._make_room(len(new), {*conversations}, held)
        if new:
            self._rows.update(zip(new, self._bank.add(len(new)).tolist(), strict=True))
        rows = np.fromiter(map(self._rows.__getitem__, conversations), np.int64, len(conversations))
        if (top := int(rows.max(initial=0))) >= len(self._last):
            self._last = np.concatenate([self._last, np.zeros(max(top, len(self._last)), np.int64)])
        self._last[rows] = minute
        return rows

    def release_before(self, minute: int, held: Container[str]) -> None:
        """Lets go of those that had no count since."""
        self._release([n for n, row in self._rows.items() if self._last[row] < minute and n not in held])

    def state(self) -> dict[str, tuple[int, bytes]]:
        """All that is known, by conversation."""
        return {name: (int(self._last[row]), self._bank.state(row)) for name, row in sorted(self._rows.items())}

    def _make_room(self, new: int, wanted: Container[str], held: Container[str]) -> None:
        """Whoever reads the same minutes lets go of the same ones: of two as idle the first by name."""
        idle = sorted(
            (int(self._last[row]), name) for name, row in self._rows.items() if name not in wanted and name not in held
        )
        too_many = len(self._rows) + new - int(self._most * KEPT_SHARE)
        self._release([name for _, name in idle[:too_many]])

    def _release(self, names: Sequence[str]) -> None:
        self._bank.release([self._rows.pop(name) for name in names])
        self.released += len(names)

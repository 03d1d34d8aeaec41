"""The conversations with a series in the bank. Their number is bounded: the idlest are released."""

from collections.abc import Collection, Container, Sequence
from typing import Final

import numpy as np

from processors.columnar.arrays import Array
from processors.spikes.detection.bank import Bank

KEPT_SHARE: Final = 0.9
"""The share of the most series that stays once there are too many. Releasing one at a time would cost a pass over all
series each."""

SERIES_NAME_BYTES: Final = 200
"""Memory of a series beside its row: a name of some 40 characters, an entry in a dict, and one in a list once the
series is released."""


class TrackedSeries:
    """Maps a conversation to a row of the bank, and keeps the last minute with a count."""

    def __init__(self, bank: Bank, most: int) -> None:
        """`most` is how many series there may be."""
        self._bank, self._most = bank, most
        self._rows: dict[str, int] = {}
        self._last = np.zeros(1024, np.int64)
        self.released = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        """Bytes of memory, free rows of the bank included."""
        return int(self._bank.nbytes + self._last.nbytes) + SERIES_NAME_BYTES * len(self._rows)

    def find(self, conversation: str) -> int | None:
        """Returns the row of the conversation, None without a series."""
        return self._rows.get(conversation)

    def select_fitting(
        self, conversations: Sequence[str], counts: Sequence[int], held: Collection[str]
    ) -> Sequence[int]:
        """Selects conversations of one minute up to the bound on series, and returns the indexes.

        All conversations with a series are selected. New series cannot fire yet: where they are too many, those with
        the highest counts are selected, the first by name among equals.
        """
        new = [index for index, name in enumerate(conversations) if name not in self._rows]
        if len(self._rows) + len(new) <= self._most:
            return range(len(conversations))
        room = max(0, self._most - len({*conversations, *held} - {conversations[index] for index in new}))
        left_out = set(sorted(new, key=lambda index: (-counts[index], conversations[index]))[room:])
        return [index for index in range(len(conversations)) if index not in left_out]

    def touch(self, conversations: Sequence[str], minute: int, held: Container[str]) -> Array:
        """Returns the rows of the conversations, which have a count in `minute`, and adds series where there are none.
        Where there are too many series then, the idlest of the others are released, except those that are `held`."""
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
        """Releases the series without a count since `minute`, except the `held` ones."""
        self._release([name for name, row in self._rows.items() if self._last[row] < minute and name not in held])

    def state(self) -> dict[str, tuple[int, bytes]]:
        """Returns the whole state, by conversation."""
        return {name: (int(self._last[row]), self._bank.state(row)) for name, row in sorted(self._rows.items())}

    def _make_room(self, new: int, wanted: Container[str], held: Container[str]) -> None:
        """Releases the idlest series, the first by name among equals, so that equal minutes give equal series."""
        idle = sorted(
            (int(self._last[row]), name) for name, row in self._rows.items() if name not in wanted and name not in held
        )
        too_many = len(self._rows) + new - int(self._most * KEPT_SHARE)
        self._release([name for _, name in idle[:too_many]])

    def _release(self, names: Sequence[str]) -> None:
        self._bank.release([self._rows.pop(name) for name in names])
        self.released += len(names)

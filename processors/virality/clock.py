"""When R_t and the forecast of a post are meant for. Pure; all times in minutes since 1970.

Both fall while nothing comes, so unlike the other columns they cannot stay as they were at the newest event: they are
written again as the watermark passes each doubling of the post's age, from ten minutes (law 5 in docs/architecture.md).
"""

from typing import Final

import numpy as np

from processors.columnar.arrays import Array

FIRST_MINUTES: Final = 10
LAST_DOUBLING: Final = 12
"""The last time is 10 x 2^12 minutes, 28 days."""

NEVER: Final = 0xFFFFFFFF
"""No such minute: in `created` the post itself has not come."""

_AGES: Final = FIRST_MINUTES << np.arange(LAST_DOUBLING + 1)


def spread_as_of(created: Array, as_of: Array, mark: Array | int) -> Array:
    """The later of `as_of` and of the last doubling of age that the watermark `mark` has passed. `as_of` where the
    post's own event has not come."""
    created, as_of = np.asarray(created, np.int64), np.asarray(as_of, np.int64)
    passed = np.searchsorted(_AGES, np.asarray(mark, np.int64) - created, side="right")
    reached = created + _AGES[np.maximum(passed - 1, 0)]
    found: Array = np.where((passed > 0) & (created != NEVER), np.maximum(as_of, reached), as_of)
    return found


def next_doubling(created: Array, as_of: Array) -> Array:
    """The first doubling of age after `as_of`, a `spread_as_of`: once the watermark reaches it, the row is due again.
    NEVER after the last one, and where the post's own event has not come."""
    created, as_of = np.asarray(created, np.int64), np.asarray(as_of, np.int64)
    coming = np.searchsorted(_AGES, as_of - created, side="right")
    due = created + _AGES[np.minimum(coming, LAST_DOUBLING)]
    found: Array = np.where((coming > LAST_DOUBLING) | (created == NEVER), NEVER, due)
    return found

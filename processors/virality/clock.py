"""The times at which R_t and the forecast of a row hold. Pure; all times are minutes since 1970.

Both values fall while no share comes, so unlike the other columns they cannot stay as of the newest event. A row is
written again as the watermark passes each doubling of the post's age, from ten minutes on (law 5 in
docs/architecture.md).
"""

from typing import Final

import numpy as np

from processors.columnar.arrays import Array

FIRST_MINUTES: Final = 10
LAST_DOUBLING: Final = 12
"""The last time is 10 x 2^12 minutes, 28 days."""

NO_MINUTE: Final = 0xFFFFFFFF
"""No minute: the value of `created` while the post's own event is missing."""

_DOUBLED_AGES: Final = FIRST_MINUTES << np.arange(LAST_DOUBLING + 1)


def spread_as_of(created: Array, as_of: Array, mark: Array | int) -> Array:
    """Returns the later of `as_of` and the last doubling of age that the watermark `mark` has passed; `as_of` where the
    post's own event is missing."""
    created, as_of = np.asarray(created, np.int64), np.asarray(as_of, np.int64)
    passed = np.searchsorted(_DOUBLED_AGES, np.asarray(mark, np.int64) - created, side="right")
    reached = created + _DOUBLED_AGES[np.maximum(passed - 1, 0)]
    spread: Array = np.where((passed > 0) & (created != NO_MINUTE), np.maximum(as_of, reached), as_of)
    return spread


def next_doubling(created: Array, as_of: Array) -> Array:
    """Returns the first doubling of age after `as_of`, a `spread_as_of`. The row is due again once the watermark
    reaches that minute. NO_MINUTE after the last doubling, and where the post's own event is missing."""
    created, as_of = np.asarray(created, np.int64), np.asarray(as_of, np.int64)
    coming = np.searchsorted(_DOUBLED_AGES, as_of - created, side="right")
    due = created + _DOUBLED_AGES[np.minimum(coming, LAST_DOUBLING)]
    next_due: Array = np.where((coming > LAST_DOUBLING) | (created == NO_MINUTE), NO_MINUTE, due)
    return next_due

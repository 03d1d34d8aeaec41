"""Rows of panes, which the fold writes and the walk of R_t and forecasts reads.

A pane holds what happened to one post in one minute. The panes of a post form two linked lists within the array of all
panes. The layout stands here, below both of its users, so that neither repeats the other's dtypes.
"""

from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from schemas.metrics import MEASURE_COUNT

NONE: Final = np.uint32(0xFFFFFFFF)
"""The number of no row, and the minute that is not known."""

PANE: Final = np.dtype(
    [
        ("post", "u4"),
        ("key", "u4"),  # the minute, since 1970
        ("next", "u4"),  # the next pane of the same list; NONE: none
        ("taken", "u4"),  # row of LOSS; NONE: no retraction touched this pane
        ("adds", "u4", MEASURE_COUNT),
        ("nodes", "u4"),  # first of the nodes of this minute, those taken back as well; `beside` is the next one
    ]
)
LOSS: Final = np.dtype(
    [
        ("post", "u4"),
        ("key", "u4"),
        ("retracted", "u4", MEASURE_COUNT),  # retractions in this minute
        ("lost", "u4", MEASURE_COUNT),  # adds of this minute that were lost to a retraction
        ("changes", "u4"),  # what retractions add to the version of the pane's row
    ]
)
"""A row per pane that a retraction touched."""


class PostPanes(NamedTuple):
    """The panes of some posts. `ordered` and `late` have one entry per post (u4): the first pane of the list in which
    each pane is older than the one before, and of the list without order; NONE where a list is empty. `panes` (PANE)
    and `losses` (LOSS) hold the rows of all posts."""

    ordered: Array
    late: Array
    panes: Array
    losses: Array

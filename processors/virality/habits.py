"""Habits of authors: how far their finished posts went beyond what was forecast of them, or stayed behind. Pure.

An author's audience is the same from post to post. A mean over few posts says little, so it is drawn to 0, which is
nobody in particular (Robinson 1991, Stat Sci 6:15, on such estimates).
"""

from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array

DRAWN: Final = 8.0
"""As many posts without an error are counted with those of each author."""

LEAST_UNIT: Final = 0.01


class Habits(NamedTuple):
    """Per author, and per post that of its author by his other posts alone. In standard deviations of the latter."""

    of_author: Array
    of_post: Array


def habits_of(author: Array, error: Array) -> Habits:
    """`author` of each post, a number from 0 on, below 0 where not known; `error` of its forecasts, about -1 to 1, NaN
    where it had none."""
    named, known = author >= 0, (author >= 0) & ~np.isnan(error)
    size = int(author.max(initial=-1)) + 1
    total = np.bincount(author[known], error[known], size)
    count = np.bincount(author[known], minlength=size)
    others = np.zeros(len(author))
    mine = author[named]
    others[named] = (total[mine] - np.where(known, error, 0.0)[named]) / (count[mine] - known[named] + DRAWN)
    unit = max(float(others[others != 0].std()), LEAST_UNIT) if others.any() else 1.0
    return Habits(total / (count + DRAWN) / unit, others / unit)

"""Habits of authors: how far their finished posts went beyond their forecasts, or stayed behind. Pure.

An author's audience is the same from post to post. A mean over few posts is unreliable, so it is drawn to 0, the habit
of an unknown author (Robinson 1991, Stat Sci 6:15, on such estimates).
"""

from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array

PRIOR_POSTS: Final = 8.0
"""The number of posts without an error that are added to those of each author."""

LEAST_UNIT: Final = 0.01


class Habits(NamedTuple):
    """Habits per author, and per post the habit of its author by the other posts alone. In standard deviations of the
    latter."""

    of_author: Array
    of_post: Array


def habits_of(author: Array, error: Array) -> Habits:
    """Returns the habits of all authors. `author` of each post is a number from 0 on, below 0 where not known; `error`
    of its forecasts is about -1 to 1, NaN without a forecast."""
    named, known = author >= 0, (author >= 0) & ~np.isnan(error)
    size = int(author.max(initial=-1)) + 1
    total = np.bincount(author[known], error[known], size)
    count = np.bincount(author[known], minlength=size)
    others = np.zeros(len(author))
    mine = author[named]
    others[named] = (total[mine] - np.where(known, error, 0.0)[named]) / (count[mine] - known[named] + PRIOR_POSTS)
    unit = max(float(others[others != 0].std()), LEAST_UNIT) if others.any() else 1.0
    return Habits(total / (count + PRIOR_POSTS) / unit, others / unit)

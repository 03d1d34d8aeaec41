"""Whole rows of post_metrics: the columns that follow from the fold, and those of R_t and the forecast at
`spread_as_of`."""

import numpy as np

from processors.columnar.arrays import Array, Columns
from processors.columnar.hashing import Hasher
from processors.engagement.fold.fold import Fold
from processors.engagement.rows import post_rows
from processors.virality import clock
from processors.virality.columns import spread_columns
from processors.virality.parameters import ForecastParameters
from processors.virality.reproduction import rate_half_life
from processors.virality.spread import Lookups
from schemas.metrics import SHARES, WINDOWS


class Spreading:
    """Makes rows of post_metrics. One is enough for a process; it keeps nothing of posts."""

    def __init__(self, parameters: ForecastParameters) -> None:
        self._parameters, self._lookups = parameters, Lookups()
        authors = Hasher().actors(list(parameters.habits))
        order = np.argsort(authors)
        # Beyond them stands nobody, whose habit is 0: also what a search beyond the last one finds.
        self._authors = np.append(authors[order], np.uint64(0))
        self._habits = np.append(np.array(list(parameters.habits.values()), np.float64)[order], 0.0)

    def rows(self, fold: Fold, posts: Array, at: Array) -> Columns:
        """Makes rows of post_metrics of these posts, the spread as of `at`.

        `at`: minutes since 1970, those of `times`, never before a post's as_of. The version has that minute: of two
        rows that have seen the same events the later one wins.
        """
        snapshot = fold.snapshot(posts)
        columns = {
            **post_rows.of_snapshot(fold, posts, snapshot),
            **spread_columns(
                fold.tables.post_panes(posts),
                _created(fold, posts),
                at,
                self._parameters,
                self._lookups,
                self._habits_of(fold, posts),
            ),
        }
        for number, (window, minutes) in enumerate(WINDOWS.items()):
            new, old = snapshot.windows[:, number].sum(axis=2).T
            columns[f"rate_half_life_{window}"] = rate_half_life(minutes, old, new)
        return columns | {"version": post_rows.versions(columns["events_seen"], at)}

    def _habits_of(self, fold: Fold, posts: Array) -> Array:
        """Returns the habit of each post's author, 0 where it is not known."""
        authors = fold.tables.posts["author"][posts]
        place = np.searchsorted(self._authors[:-1], authors)
        found: Array = np.where(self._authors[place] == authors, self._habits[place], 0.0)
        return found

    @staticmethod
    def times(fold: Fold, posts: Array, mark: Array | int) -> Array:
        """Returns the `spread_as_of` of these posts for a watermark of `mark`, in minutes since 1970."""
        return clock.spread_as_of(_created(fold, posts), fold.seen(posts)[1], mark)

    @staticmethod
    def due(fold: Fold, before: int, mark: int) -> Array:
        """Returns the posts with net shares whose age has doubled while the watermark went from `before` to `mark`."""
        tables = fold.tables.posts[: len(fold)]
        posts = np.flatnonzero((tables["net"][:, SHARES] > 0) & (tables["created"] != clock.NO_MINUTE))
        return posts[clock.next_doubling(_created(fold, posts), Spreading.times(fold, posts, before)) <= mark]


def _created(fold: Fold, posts: Array) -> Array:
    """Returns the minute of each post itself, clock.NO_MINUTE where the post has not come."""
    found: Array = fold.tables.posts["created"][posts]
    return found

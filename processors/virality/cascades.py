"""Shares of many posts by the minute of their post's age, and what was known of them at any age. Pure.

History is looked at through the same walk over panes as the living posts, so what a backtest judges is what is shipped.
The one difference: here minutes begin with the post itself, while a living post's begin with the clock's.
"""

from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.panes import LOSS, NONE, PANE, PostPanes
from processors.virality.fitting import Sample
from processors.virality.spread import Lookups, spread_of
from schemas.metrics import SHARES

FOREVER: Final = 1 << 40
"""The minute in which a share is taken back that never is."""

FIRST: Final = 1 << 30
"""The minute in which every post was made, so that minutes before it are numbers too."""

SEED: Final = 3


class Cascades(NamedTuple):
    """Per post its author (empty: not known), the minute that it was made in, since 1970, and minutes from there to the
    end of the data. Then one entry per share, or per minute of shares: post number, minute after the post, minute in
    which it is taken back (FOREVER: never), how many."""

    post_ids: list[str]
    authors: list[str]
    made: Array
    observed: Array
    post: Array
    lag: Array
    gone: Array
    shares: Array

    @property
    def final(self) -> Array:
        """Net shares of each post at the end of the data."""
        return self.known(FOREVER)

    def known(self, age: int) -> Array:
        """Net shares of each post as they stood at an age in minutes."""
        there = (self.lag < age) & (self.gone >= age)
        return np.bincount(self.post[there], self.shares[there], len(self.post_ids))


def look(cascades: Cascades, age: int, lookups: Lookups) -> Array:
    """Rows of spread.FIELDS of all posts at an age in minutes."""
    count = len(cascades.post_ids)
    created = np.full(count, FIRST)
    return spread_of(_panes_at(cascades, age), created, created + age, lookups)


def sample_at(cascades: Cascades, age: int, chosen: Array, lookups: Lookups) -> Sample:
    """Those of the chosen posts (a flag each) that are as old as that and have a share by then."""
    spread = look(cascades, age, lookups)
    posts = np.flatnonzero(chosen & (cascades.observed >= age) & (spread[:, 0] > 0))
    double, final = cascades.known(2 * age), cascades.final
    at = cascades.made[posts] + age
    return Sample(float(age), posts, spread[posts], np.full(len(posts), age), at, double[posts], final[posts])


def thinned(cascades: Cascades, part: float) -> Cascades:
    """The same posts with about this part of their shares, chosen at random but always alike."""
    kept = np.random.default_rng(SEED).random(len(cascades.post)) < part
    return cascades._replace(
        post=cascades.post[kept], lag=cascades.lag[kept], gone=cascades.gone[kept], shares=cascades.shares[kept]
    )


def _panes_at(cascades: Cascades, age: int) -> PostPanes:
    """Panes of what is known at an age, each post's newest first, as the fold has them."""
    there = (cascades.lag < age) & (cascades.gone >= age)
    minute = FIRST + np.clip(cascades.lag[there], -FIRST, FIRST)
    key, place = np.unique((cascades.post[there].astype(np.int64) << 32) | minute, return_inverse=True)
    owner = key >> 32
    panes = np.zeros(len(key), PANE)
    panes["key"] = key & 0xFFFFFFFF
    panes["adds"][:, SHARES] = np.bincount(place, cascades.shares[there], len(key))
    panes["taken"] = NONE
    panes["next"] = np.where(np.diff(owner, prepend=-1) != 0, int(NONE), np.arange(len(key)) - 1)
    ordered, late = (np.full(len(cascades.post_ids), NONE) for _ in range(2))
    ordered[owner] = np.arange(len(key))  # the newest pane of a post comes last, and its number stays
    return PostPanes(ordered, late, panes, np.zeros(1, LOSS))

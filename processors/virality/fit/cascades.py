"""Cascades: shares of many posts by the minute of their post's age, and what was known at any age. Pure.

History is read by the same walk over panes as living posts, so a backtest judges the shipped code. In one respect both
differ: here minutes begin with the post itself, while those of a living post begin with the clock's.
"""

from itertools import compress
from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.panes import LOSS, NONE, PANE, PostPanes
from processors.virality.fit.fitting import Sample
from processors.virality.spread import Lookups, spread_of
from schemas.metrics import SHARES

FOREVER: Final = 1 << 40
"""The minute in which a share is retracted that stays."""

ORIGIN_MINUTE: Final = 1 << 30
"""The minute in which every post is created here, so that minutes before the post are positive too."""

THINNING_SEED: Final = 3


class Cascades(NamedTuple):
    """Posts and their shares.

    Per post: its author (empty: not known), the minute of its creation since 1970, and the minutes from there to the
    end of the data. Then one entry per share, or per minute of shares: number of the post, minute after the post,
    minute in which the share is retracted (FOREVER: never), number of shares.
    """

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
        """Returns the net shares of each post as they stood at an age in minutes."""
        stands = (self.lag < age) & (self.gone >= age)
        return np.bincount(self.post[stands], self.shares[stands], len(self.post_ids))


def spread_at(cascades: Cascades, age: int, lookups: Lookups) -> Array:
    """Returns rows of spread.FIELDS of all posts at an age in minutes."""
    count = len(cascades.post_ids)
    created = np.full(count, ORIGIN_MINUTE)
    return spread_of(_panes_at(cascades, age), created, created + age, lookups)


def sample_at(cascades: Cascades, age: int, chosen: Array, lookups: Lookups) -> Sample:
    """Samples the chosen posts (a flag each) that have reached an age and have a share by then."""
    spread = spread_at(cascades, age, lookups)
    posts = np.flatnonzero(chosen & (cascades.observed >= age) & (spread[:, 0] > 0))
    double, final = cascades.known(2 * age), cascades.final
    at = cascades.made[posts] + age
    return Sample(float(age), posts, spread[posts], np.full(len(posts), age), at, double[posts], final[posts])


def thin_out(cascades: Cascades, part: float) -> Cascades:
    """Returns the cascades with about this part of the shares, chosen at random, always the same."""
    kept = np.random.default_rng(THINNING_SEED).random(len(cascades.post)) < part
    return cascades._replace(
        post=cascades.post[kept], lag=cascades.lag[kept], gone=cascades.gone[kept], shares=cascades.shares[kept]
    )


def chosen_posts(cascades: Cascades, keep: Array) -> Cascades:
    """Returns only the posts for which the mask `keep` holds, with their shares."""
    number, stays = np.cumsum(keep) - 1, keep[cascades.post]
    return Cascades(
        list(compress(cascades.post_ids, keep)),
        list(compress(cascades.authors, keep)),
        cascades.made[keep],
        cascades.observed[keep],
        number[cascades.post[stays]],
        cascades.lag[stays],
        cascades.gone[stays],
        cascades.shares[stays],
    )


def _panes_at(cascades: Cascades, age: int) -> PostPanes:
    """Returns the panes of all shares known at an age, each post's newest first, as the fold keeps them."""
    stands = (cascades.lag < age) & (cascades.gone >= age)
    minute = ORIGIN_MINUTE + np.clip(cascades.lag[stands], -ORIGIN_MINUTE, ORIGIN_MINUTE)
    key, pane = np.unique((cascades.post[stands].astype(np.int64) << 32) | minute, return_inverse=True)
    owner = key >> 32
    panes = np.zeros(len(key), PANE)
    panes["key"] = key & 0xFFFFFFFF
    panes["adds"][:, SHARES] = np.bincount(pane, cascades.shares[stands], len(key))
    panes["taken"] = NONE
    panes["next"] = np.where(np.diff(owner, prepend=-1) != 0, int(NONE), np.arange(len(key)) - 1)
    ordered, late = (np.full(len(cascades.post_ids), NONE) for _ in range(2))
    ordered[owner] = np.arange(len(key))  # the newest pane of a post comes last, and its number stays
    return PostPanes(ordered, late, panes, np.zeros(1, LOSS))

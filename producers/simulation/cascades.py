"""Self-exciting cascades: posts and reactions to them, generation by generation.

A marked Hawkes process in its cluster form (Hawkes & Oakes 1974; Mishra, Rizoiu & Xie 2016 for cascades): each post,
share and comment has a Poisson number of reactions with a power-law mark (how much people look at it), each reaction is
a like, share or comment, and likes have none. Popularity of posts is a power law too. The mean number of shares and
comments by one (R) is below 1, so all ends.
"""

from typing import Final

import numpy as np

from producers.simulation.clock import Clock, Reals
from producers.simulation.columns import COMMENT, NO_ROW, POST, SHARE, Ints, SimulatedColumns
from schemas.topics import KINDS, Kind

REACTION_SHARES: Final[dict[Kind, float]] = {"like": 0.62, "share": 0.18, "comment": 0.20}
"""The share of each kind among reactions."""

_CHOSEN: Final = [KINDS.index(kind) for kind in REACTION_SHARES]
_FERTILE: Final = (SHARE, COMMENT)
"""Kinds that have reactions of their own."""

R: Final = 0.7
REACTIONS: Final = R / (REACTION_SHARES["share"] + REACTION_SHARES["comment"])
"""Mean reactions to a share or comment."""

TOTAL: Final = 1 + R / (1 - R)
"""Mean events that come of one reaction to a post, itself included."""

MARK_EXPONENT: Final = 2.2
POPULARITY_EXPONENT: Final = 1.3
RISING: Final = 3
"""The rank of the newest post by popularity."""

POSTING_ENDS_SECONDS: Final = 1800.0
POSTING_ENDS_SHARE: Final = 0.02
"""The newest post is so much older than the end: the seconds, or the share of the whole time where that is less."""

POSTS_AN_AUTHOR: Final = 5
"""Posts per author on average. Authors are not equally active: the share of author n falls as 1 / (n + 3)."""

ANSWERS_BY_AUTHOR: Final = 0.12
"""Of the reactions to comments that are comments themselves, how many are the post's author's."""


def grow_cascades(rng: np.random.Generator, clock: Clock, posts: int, reactions: int, start: int) -> SimulatedColumns:
    """Returns `posts` posts (rows 0 to posts - 1, written by actors 0 to ...) and exactly `reactions` reactions,
    parents before children."""
    activity = 1 / (np.arange(max(1, posts // POSTS_AN_AUTHOR)) + 3)
    authors = rng.choice(len(activity), posts, p=activity / activity.sum())
    newest = np.array([max(clock.duration - POSTING_ENDS_SECONDS, clock.duration * (1 - POSTING_ENDS_SHARE))])
    written = np.sort(rng.random(posts)) * clock.activity(newest)
    written[-1:] = clock.activity(newest)
    times: list[Reals] = [written]
    kinds, roots, parents, actors = [np.full(posts, POST)], [np.arange(posts)], [np.full(posts, NO_ROW)], [authors]

    def append(who: list[Ints], when: Reals) -> None:
        for column, values in zip((kinds, roots, parents, actors), who, strict=True):
            column.append(values)
        times.append(when)

    popularity = _popularity(rng, posts) * clock.reach(times[0])
    popularity /= popularity.sum()
    crowd = max(10, reactions // 3)
    left, first = reactions, 0
    expected = reactions / TOTAL * popularity
    while left > 0 and len(kinds[-1]):
        counts = rng.poisson(expected)
        causes = np.repeat(np.arange(len(counts)), counts)[:left]
        if not len(causes):
            break
        *who, when = _react(rng, clock, causes, first, kinds[-1], roots[-1], times[-1], authors, crowd)
        first += len(kinds[-1])
        append(who, when)
        left -= len(causes)
        fertile = np.isin(kinds[-1], _FERTILE)
        marks = REACTIONS * _power_law(rng, len(causes), MARK_EXPONENT)
        expected = np.where(fertile, marks * clock.reach(times[-1]), 0.0)
    # What cascades that died early left over goes to posts directly.
    if left > 0:
        causes = np.sort(rng.choice(posts, left, p=popularity))
        *who, when = _react(rng, clock, causes, 0, kinds[0], roots[0], times[0], authors, crowd)
        append(who, when)
    occurred = start + (clock.seconds(np.concatenate(times)) * 1e6).astype(np.int64)
    kind, post, actor, parent = (np.concatenate(column).astype(np.int64) for column in (kinds, roots, actors, parents))
    return SimulatedColumns(kind, post, actor, parent, np.full(len(occurred), NO_ROW), occurred)


def _popularity(rng: np.random.Generator, posts: int) -> Reals:
    """Draws how much posts are reacted to. The newest post gets the RISING-th of all, so that at any hour of the day
    something is on the rise at the end."""
    popularity = _power_law(rng, posts, POPULARITY_EXPONENT)
    if posts >= RISING:
        high = int(np.argsort(popularity)[-RISING])
        popularity[[high, -1]] = popularity[[-1, high]]
    return popularity


def _react(
    rng: np.random.Generator,
    clock: Clock,
    causes: Ints,
    first: int,
    kinds: Ints,
    roots: Ints,
    times: Reals,
    authors: Ints,
    crowd: int,
) -> tuple[Ints, Ints, Ints, Ints, Reals]:
    """Returns a reaction for each of `causes`, which are places in the generation before; `first`: first row of that
    generation."""
    count = len(causes)
    kind = rng.choice(_CHOSEN, count, p=list(REACTION_SHARES.values()))
    # Reactions to a post have no parent; likes of a comment are likes of its post here, as most networks tell them.
    parent = np.where((kinds[causes] == POST) | ~np.isin(kind, _FERTILE), NO_ROW, first + causes)
    actor = len(authors) + (crowd * rng.random(count) ** 2).astype(np.int64)
    answers = (kind == COMMENT) & (kinds[causes] == COMMENT) & (rng.random(count) < ANSWERS_BY_AUTHOR)
    actor[answers] = authors[roots[causes]][answers]
    return kind, roots[causes], parent, actor, clock.react(times[causes], rng.random(count))


def _power_law(rng: np.random.Generator, count: int, exponent: float) -> Reals:
    """Returns Pareto variates of mean 1: P(X > x) falls as x^-exponent."""
    return (rng.pareto(exponent, count) + 1) * (exponent - 1) / exponent

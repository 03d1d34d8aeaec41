"""The parameters of one network's own, learned from its posts in the order in which they were made. Pure.

Before posts have finished, a version is the prior for the kind of network that posts a day old show (kinds.py). A post
is finished at an age of SETTLED_MINUTES of event time, if it has LEAST_SHARES net shares by then. Version after version
rests on the newest WINDOW_POSTS finished posts, older ones counted less, and is drawn to a prior as far as they are few
(fitting.py): to the prior for the kind of network that the same posts show. It holds from the minute on at which the
last of its posts had finished, and it knows only what had occurred by then: so versions follow from the set of events
and from nothing else.
"""

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.virality.fit.cascades import Cascades, sample_at
from processors.virality.fit.fitting import Sample, fit
from processors.virality.fit.kinds import LEAST_READ, READ_AGE_MINUTES, read_kind
from processors.virality.parameters import ForecastParameters, resampled
from processors.virality.spread import Lookups
from schemas.spread import FITTED_AGES

SETTLED_MINUTES: Final = 7 * 1440
"""The age at which a post is finished. On recorded networks 98 % of the shares have come by then."""

LEAST_SHARES: Final = 5
"""Posts with fewer net shares at that age teach nothing of how posts spread."""

WINDOW_POSTS: Final = 750
HALF_POSTS: Final = 150
"""A version rests on so many posts, and a post counts half as much as one that finished so many posts later."""

FIRST_COUNT: Final = 10
STEP_PART: Final = 0.25
MOST_STEP: Final = 50
"""The first version comes with ten finished posts, another each time with a quarter more, or 50 more from 200 on."""

DAILY_FROM: Final = 1_000
MINUTES_A_DAY: Final = 1440
"""From so many finished posts on there is at most one version for each day of event time."""


NEVER: Final = 1 << 40
"""A minute after all others."""

READ_STEP: Final = 1.25
"""While fewer posts than FIRST_COUNT have finished, a version comes with LEAST_READ posts a day old, and another each
time that they are so many times as many."""


class LearnedVersion(NamedTuple):
    """Parameters with the minute since 1970 from which they hold, and the number of posts finished by that minute: 0 of
    a version that rests on posts a day old."""

    holds_from: int
    finished: int
    parameters: ForecastParameters


def due_counts(finished_at: Array, before: int, since: int) -> list[int]:
    """Returns the numbers of finished posts at which versions are due. `finished_at`: minutes, rising, of the posts
    that finished after the last version, which rests on `before` posts and holds from `since`."""
    due, last, until = [], before, since
    for number, minute in enumerate(finished_at.tolist(), before + 1):
        step = FIRST_COUNT if last == 0 else max(1, min(round(last * STEP_PART), MOST_STEP))
        is_late = last < DAILY_FROM or minute >= until + MINUTES_A_DAY
        is_last = number - before == len(finished_at) or finished_at[number - before] > minute
        # Posts that finish within a minute are one step: a version knows the whole minute.
        if number - last >= step and is_late and is_last:
            due.append(number)
            last, until = number, minute
    return due


def reading_minutes(read_at: Array, until: int) -> list[tuple[int, int]]:
    """Returns the numbers of posts a day old at which versions are due before any posts have finished, each with its
    minute. `read_at`: minutes, rising, at which posts were a day old; `until`: the minute of the first version of
    finished posts."""
    due, count = [], LEAST_READ
    while count <= len(read_at) and read_at[count - 1] < until:
        minute = int(read_at[count - 1])
        known = int(np.searchsorted(read_at, minute, side="right"))
        due.append((known, minute))
        count = max(ceil(count * READ_STEP), known + 1)
    return due


def order_of(cascades: Cascades, chosen: Array) -> Array:
    """Returns the numbers of the chosen posts in the order in which they finish."""
    posts = np.flatnonzero(chosen)
    names = np.array([cascades.post_ids[post] for post in posts.tolist()], object)
    order: Array = posts[np.lexsort((names, cascades.made[posts]))] if len(posts) else posts
    return order


def finishes(cascades: Cascades, least_shares: int = LEAST_SHARES, age: int = SETTLED_MINUTES) -> Array:
    """Returns a flag per post: whether it reaches an age in minutes, that at which a post is finished, with enough
    shares and before the end of the data."""
    is_enough: Array = cascades.known(age) >= least_shares
    return is_enough & (cascades.observed >= age)


def known_at(cascades: Cascades, minute: int) -> Cascades:
    """Returns the cascades as they were known at a minute since 1970."""
    made = cascades.made[cascades.post]
    came = made + cascades.lag < minute
    gone = np.where(made + cascades.gone < minute, cascades.gone, cascades.gone.max(initial=1 << 40))
    return cascades._replace(
        observed=np.minimum(cascades.observed, minute - cascades.made),
        post=cascades.post[came],
        lag=cascades.lag[came],
        gone=gone[came],
        shares=cascades.shares[came],
    )


def learn(
    cascades: Cascades, posts: Array, minute: int, new: int, prior: ForecastParameters, lookups: Lookups
) -> ForecastParameters:
    """Learns the parameters that hold from a minute on. `posts`: the finished ones in their order, at least the last
    WINDOW_POSTS. The habits are those of the authors of the last `new` posts, which finished since the version before;
    other authors keep theirs."""
    mine, weights = posts[-WINDOW_POSTS:], np.zeros(len(cascades.made))
    weights[mine] = 0.5 ** ((len(mine) - 1 - np.arange(len(mine))) / HALF_POSTS)
    samples = _samples_at(cascades, mine, minute, FITTED_AGES, lookups)
    prior = read_kind(prior, samples, len(mine))
    facts = {"posts": len(mine), "said": "finished posts of a channel"}
    learned = fit(samples, prior.date, facts, cascades.authors, prior=prior, weights=weights)
    authors = {cascades.authors[post] for post in mine[-new:].tolist()}
    return learned.with_habits({name: habit for name, habit in learned.habits.items() if name in authors})


def read(
    cascades: Cascades, posts: Array, minute: int, prior: ForecastParameters, lookups: Lookups
) -> ForecastParameters:
    """Returns the prior for the kind of network that posts a day old show by a minute. `posts`: in their order, at
    least the last WINDOW_POSTS."""
    mine, ages = posts[-WINDOW_POSTS:], [age for age in FITTED_AGES if age <= READ_AGE_MINUTES]
    return read_kind(prior, _samples_at(cascades, mine, minute, ages, lookups), len(mine))


def _samples_at(cascades: Cascades, posts: Array, minute: int, ages: Sequence[float], lookups: Lookups) -> list[Sample]:
    """Samples the posts at some ages, as they were known at a minute."""
    known, chosen = known_at(cascades, minute), np.zeros(len(cascades.made), np.bool_)
    chosen[posts] = True
    return [sample_at(known, round(age), chosen, lookups) for age in ages]


def versions_of(
    cascades: Cascades, prior: ForecastParameters, lookups: Lookups, least_shares: int = LEAST_SHARES
) -> Iterator[LearnedVersion]:
    """Yields the versions of a network from its beginning on, first the prior itself, which holds from ever."""
    order = order_of(cascades, finishes(cascades, least_shares))
    finished_at = cascades.made[order] + SETTLED_MINUTES
    due = due_counts(finished_at, 0, 0)
    yield from readings_of(cascades, prior, lookups, int(finished_at[due[0] - 1]) if due else NEVER)
    habits, last = dict(prior.habits), 0
    for count in due:
        minute = int(finished_at[count - 1])
        learned = learn(cascades, order[:count], minute, count - last, prior, lookups)
        habits, last = habits | learned.habits, count
        yield LearnedVersion(minute, count, learned.with_habits(habits))


def readings_of(
    cascades: Cascades, prior: ForecastParameters, lookups: Lookups, until: int = NEVER
) -> Iterator[LearnedVersion]:
    """Yields the versions of a network that rest on no finished post and hold before the minute `until`, first the
    prior itself."""
    yield LearnedVersion(-NEVER, 0, resampled(prior, FITTED_AGES))
    if not prior.kinds:
        return
    order = order_of(cascades, finishes(cascades, LEAST_SHARES, READ_AGE_MINUTES))
    for count, minute in reading_minutes(cascades.made[order] + READ_AGE_MINUTES, until):
        yield LearnedVersion(minute, 0, read(cascades, order[:count], minute, prior, lookups))


def version_at(held_from: Sequence[int], minutes: Array) -> Array:
    """Returns the place of the version that holds at each minute; `held_from` rises, and its first lies before all."""
    place: Array = np.searchsorted(np.array(held_from), minutes, side="right") - 1
    return place

"""Networks made from recorded ones and from processes, for a prior that is broad across networks. Pure and repeatable.

Networks differ most in their pace (half of a post's engagement comes within some 40 minutes on one network and within a
day on another), in how long they remember a post, in the size of posts, and in how many shares a share brings. So a
recorded network is warped in time, its memory is stretched, posts lose part of their shares or get a multiple of them;
and posts are simulated as self-exciting processes (Hawkes 1971) of any reproduction number below 1.
"""

from math import ceil
from typing import Final, NamedTuple

import numpy as np

from processors.columnar.arrays import Array
from processors.virality.fit.cascades import FOREVER, Cascades, chosen_posts
from processors.virality.generation import MINUTES, WEIGHTS

PIVOT_MINUTES: Final = 60.0
"""The lag that a stretched memory leaves as it is."""

COPY_SPREAD: Final = 0.5
"""A post that gets a multiple of its shares gets copies of each, at lags that differ by factors of this deviation of
their logarithm."""

LONGEST_MINUTES: Final = 60 * 1440
"""Simulated posts end at this age."""

MOST_SHARES: Final = 20_000
"""Shares of a simulated post at most."""

AUDIENCE: Final = 40.0
AUDIENCE_SPREAD: Final = 1.0
"""Simulated posts get shares from their own audience: 40 (1 - R) in the median, log-normal with this deviation of the
logarithm, so that the final number does not depend on R."""

R_SPREAD: Final = 0.1
HIGHEST_R: Final = 0.99
SPAN_MINUTES: Final = 700 * 1440
START_MINUTE: Final = 22_000_000


class NetworkPlan(NamedTuple):
    """A network to be made. `pace`: factor of all lags; `memory`: exponent of the lags; `part`: the part of the shares
    that is kept, or their multiple; `reproduction`: that of a simulated process, 0 for the recorded network; `variety`:
    deviation of the logarithm of the pace from post to post."""

    pace: float = 1.0
    memory: float = 1.0
    part: float = 1.0
    reproduction: float = 0.0
    variety: float = 0.0

    @property
    def name(self) -> str:
        """Names the network in tables."""
        if self.reproduction:
            return f"simulated, R {self.reproduction:g}, pace x {self.pace:g}"
        varied = f", varied by {self.variety:g}" if self.variety else ""
        return f"pace x {self.pace:g}, memory {self.memory:g}, {self.part:.0%} of shares{varied}"


def network(plan: NetworkPlan, recorded: Cascades, posts: int, seed: int) -> Cascades:
    """Makes a network of at most `posts` posts."""
    rng = np.random.default_rng(seed)
    if plan.reproduction:
        return _simulated(plan, posts, rng)
    return _warped(plan, _some_posts(recorded, posts, rng), rng)


def _some_posts(cascades: Cascades, posts: int, rng: np.random.Generator) -> Cascades:
    count = len(cascades.post_ids)
    keep = np.zeros(count, np.bool_)
    keep[rng.permutation(count)[:posts]] = True
    return chosen_posts(cascades, keep)


def _warped(plan: NetworkPlan, cascades: Cascades, rng: np.random.Generator) -> Cascades:
    """Returns the cascades with lags of another pace and memory, and a part or a multiple of the shares. Retractions
    are left out."""
    copies = max(ceil(plan.part), 1)
    kept = np.repeat(cascades.gone == FOREVER, copies)
    kept &= rng.random(len(kept)) < plan.part / copies
    post = np.repeat(cascades.post, copies)[kept]
    lag = np.repeat(np.maximum(cascades.lag, 0), copies)[kept] + rng.random(len(post))  # lags are whole minutes
    if copies > 1:
        lag *= np.exp(rng.normal(0.0, COPY_SPREAD, len(lag)))
    pace = plan.pace * np.exp(rng.normal(0.0, plan.variety, len(cascades.made)))
    lag = np.floor(pace[post] * PIVOT_MINUTES * (lag / PIVOT_MINUTES) ** plan.memory).astype(np.int64)
    return cascades._replace(
        observed=np.full(len(cascades.made), FOREVER - 1),
        post=post,
        lag=lag,
        gone=np.full(len(post), FOREVER),
        shares=np.repeat(cascades.shares, copies)[kept],
    )


def _simulated(plan: NetworkPlan, posts: int, rng: np.random.Generator) -> Cascades:
    """Simulates posts that their own audience shares at first, and from then on each share brings Poisson(R) further
    ones, after waits as the generation interval has them."""

    def waits(count: int) -> Array:
        found: Array = plan.pace * rng.exponential(MINUTES[rng.choice(len(MINUTES), count, p=WEIGHTS)])
        return found

    post, lag = [], []
    for number in range(posts):
        mean = np.exp(rng.normal(np.log(AUDIENCE * (1 - plan.reproduction)), AUDIENCE_SPREAD))
        r = min(plan.reproduction * np.exp(rng.normal(0.0, R_SPREAD)), HIGHEST_R)
        generation = waits(max(1, rng.poisson(mean)))
        times = [generation := generation[generation < LONGEST_MINUTES]]
        while len(generation) and sum(map(len, times)) < MOST_SHARES:
            generation = np.repeat(generation, rng.poisson(r, len(generation)))
            generation = generation + waits(len(generation))
            times.append(generation := generation[generation < LONGEST_MINUTES])
        found = np.sort(np.concatenate(times))[:MOST_SHARES]
        post.append(np.full(len(found), number))
        lag.append(np.floor(found).astype(np.int64))
    shares = sum(map(len, post))
    return Cascades(
        [str(number) for number in range(posts)],
        [""] * posts,
        START_MINUTE + np.sort(rng.integers(0, SPAN_MINUTES, posts)),
        np.full(posts, FOREVER - 1),
        np.concatenate(post),
        np.concatenate(lag),
        np.full(shares, FOREVER),
        np.ones(shares, np.int64),
    )

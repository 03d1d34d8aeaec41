"""The simulated world: brands and people who post, channels, hashtags, by the number of a post or an actor.

Plain functions of numbers and one table drawn from the seed, so that an event can be written without looking anything
up.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from producers.simulation.columns import Ints

CHANNEL_NAMES: Final = ("bluesky", "mastodon", "github", "twitter", "webhook")
CHANNEL_WEIGHTS: Final = (0.4, 0.25, 0.15, 0.15, 0.05)
BRANDS: Final = ("acme", "globex", "initech", "umbrella", "stark", "wayne", "tyrell", "cyberdyne")
BRAND_SHARE: Final = 0.4
HASHTAG_NAMES: Final = ("launch", "sale", "café", "stream", "python", "kafka", "climate", "日本", "cup", "music")
TAGS: Final = 200
"""Hashtags in use; the first are `HASHTAG_NAMES`, popularity falls as 1 / rank (Zipf)."""

CROSSING: Final = 0.03
"""Reactions that happen on another channel than their post."""


@dataclass(frozen=True)
class World:
    """The attributes of posts: row i is post i. `tags`: numbers of up to three hashtags, -1 for none."""

    channel: Ints
    author: Ints
    followers: Ints
    tags: Ints
    mentions: Ints


def make_world(rng: np.random.Generator, authors: Ints) -> World:
    """Draws the attributes of each post; `authors`: actors of the posts. Followers of an author are lognormal and stay
    the same."""
    posts = len(authors)
    weights = 1 / np.arange(1, TAGS + 1)
    tags = rng.choice(TAGS, (posts, 3), p=weights / weights.sum())
    tags[np.arange(3) >= rng.integers(0, 4, posts)[:, None]] = -1
    followers = np.exp(rng.normal(6.5, 2.0, int(authors.max()) + 1)).astype(np.int64)
    mentions = np.where(rng.random(posts) < 0.2, rng.integers(0, len(BRANDS), posts), -1)
    return World(rng.choice(len(CHANNEL_NAMES), posts, p=CHANNEL_WEIGHTS), authors, followers[authors], tags, mentions)


def tag_name(number: int) -> str:
    """Returns the name of a hashtag."""
    return HASHTAG_NAMES[number] if number < len(HASHTAG_NAMES) else f"tag{number}"


def actor_names(actors: Ints, authors: int) -> list[str]:
    """Returns names of actors: the first BRAND_SHARE of the authors are accounts of brands (`acme`, `acme-2`, ...), the
    others people."""
    branded = int(authors * BRAND_SHARE)
    names: list[Any] = []
    for actor in actors.tolist():
        if actor < branded:
            turn, brand = divmod(actor, len(BRANDS))
            names.append(BRANDS[brand] if turn == 0 else f"{BRANDS[brand]}-{turn + 1}")
        else:
            names.append(f"u{actor}")
    return names

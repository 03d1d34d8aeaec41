"""The simulated world: brands and people who post, channels, hashtags, by the number of a post or an actor.

Plain functions of numbers and one table drawn from the seed, so that an event can be written without looking anything
up.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from producers.simulation.cascades import POSTS_AN_AUTHOR
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

AT_HOME: Final = 0.85
"""Posts on their author's own channel; the others are spread like all posts."""

LINKED: Final = 0.5
QUOTING: Final = 0.08
"""Posts that carry a link to a story, and posts that quote an earlier post."""

CAMPAIGNS: Final = ("spring", "launch", "recruiting")
FORMATS: Final = ("text", "image", "video")
"""Labels of posts: every post has a format, `link` where it carries one, and every third post is of a campaign."""

POSTS_A_STORY: Final = 8
"""Posts of the simulation for each story. Stories are not equally popular: the share of story n falls as 1 / (n + 3).
"""


@dataclass(frozen=True)
class World:
    """The attributes of posts: row i is post i. `tags`: numbers of up to three hashtags; `stories`: number of the story
    that the post links to; `quotes`: the quoted post. -1 for none. `authors`: how many authors there may be."""

    channel: Ints
    author: Ints
    followers: Ints
    tags: Ints
    mentions: Ints
    stories: Ints
    quotes: Ints
    authors: int


def make_world(rng: np.random.Generator, authors: Ints) -> World:
    """Draws the attributes of each post; `authors`: actors of the posts, in the order of time. An author keeps one
    channel and the same number of followers, which is lognormal."""
    posts = len(authors)
    most = max(1, posts // POSTS_AN_AUTHOR)
    weights = 1 / np.arange(1, TAGS + 1)
    tags = rng.choice(TAGS, (posts, 3), p=weights / weights.sum())
    tags[np.arange(3) >= rng.integers(0, 4, posts)[:, None]] = -1
    followers = np.exp(rng.normal(6.5, 2.0, most)).astype(np.int64)
    homes = rng.choice(len(CHANNEL_NAMES), most, p=CHANNEL_WEIGHTS)
    elsewhere = rng.choice(len(CHANNEL_NAMES), posts, p=CHANNEL_WEIGHTS)
    mentions = np.where(rng.random(posts) < 0.2, rng.integers(0, len(BRANDS), posts), -1)
    channels = np.where(rng.random(posts) < AT_HOME, homes[authors], elsewhere)
    popular = 1 / (np.arange(posts // POSTS_A_STORY + 1) + 3)
    stories = rng.choice(len(popular), posts, p=popular / popular.sum())
    stories[rng.random(posts) >= LINKED] = -1
    quotes = (rng.random(posts) * np.arange(posts)).astype(np.int64)
    quotes[(rng.random(posts) >= QUOTING) | (np.arange(posts) == 0)] = -1
    return World(channels, authors, followers[authors], tags, mentions, stories, quotes, most)


def labels_of(post: int, *, has_link: bool) -> dict[str, str]:
    """Returns the labels of a post by its number."""
    labels = {"format": "link" if has_link else FORMATS[post // 2 % len(FORMATS)]}
    return labels if post % 3 else labels | {"campaign": CAMPAIGNS[post // 3 % len(CAMPAIGNS)]}


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

"""The views of the page: which parts each has, and how parts are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pipeline.brands import Brands
from pipeline.page import sql
from pipeline.page.feeds import FeedKey, Part
from pipeline.page.parts.minutes import MinutesPart
from pipeline.page.parts.others import AuthorPart, ConversationPart, SpikePart, SpikesOfPart
from pipeline.page.parts.overview import FreshnessPart, RisingPart, RowsPart, SpikesPart, WaitingPart
from pipeline.page.parts.post import ForecastPart, PostPart, TreesPart
from pipeline.page.parts.posts import FoundPostsPart
from pipeline.page.query import ReadsRows

MOST_SUBJECT: Final = 2048
"""Characters of the longest key or id that a view takes."""


@dataclass(frozen=True)
class PagePorts:
    """What parts read from: the database, and the brands whose accounts answer people."""

    database: ReadsRows
    brands: Brands


_FAR: Final = 4_102_444_800
"""The year 2100: a view that goes on to now ends there."""


def _conversation_minutes(ports: PagePorts, key: str) -> Part:
    return MinutesPart(ports.database, sql.READ_CONVERSATION_MINUTES, conversation=key, until=_FAR)


def _author_minutes(ports: PagePorts, subject: str) -> Part:
    return _conversation_minutes(ports, f"author:{subject}")


def _author_posts(ports: PagePorts, subject: str) -> Part:
    channel, _, author = subject.partition("/")
    return FoundPostsPart(ports.database, sql.READ_AUTHOR_POSTS, author=author, channel=channel)


PARTS: Final[Mapping[str, Callable[[PagePorts, str], Part]]] = {
    "freshness": lambda ports, _: FreshnessPart(ports.database),
    "minutes": lambda ports, _: MinutesPart(ports.database, sql.READ_MINUTES),
    "rising": lambda ports, _: RisingPart(ports.database),
    "spikes": lambda ports, _: SpikesPart(ports.database),
    "voice": lambda ports, _: RowsPart(ports.database, sql.READ_VOICE, 5.0),
    "talk": lambda ports, _: RowsPart(ports.database, sql.READ_TALKED_ABOUT, 3.0),
    "waiting": lambda ports, _: WaitingPart(ports.database),
    "post": lambda ports, post: PostPart(ports.database, post),
    "forecast": lambda ports, post: ForecastPart(ports.database, post),
    "trees": lambda ports, post: TreesPart(ports.database, ports.brands, post),
    "conversation": lambda ports, key: ConversationPart(ports.database, key),
    "conversation-minutes": _conversation_minutes,
    "conversation-posts": lambda ports, key: FoundPostsPart(
        ports.database, sql.READ_CONVERSATION_POSTS, conversation=key
    ),
    "conversation-spikes": lambda ports, key: SpikesOfPart(ports.database, key),
    "author": lambda ports, subject: AuthorPart(ports.database, subject),
    "author-minutes": _author_minutes,
    "author-posts": _author_posts,
    "author-spikes": lambda ports, subject: SpikesOfPart(ports.database, f"author:{subject}"),
    "spike": lambda ports, spike: SpikePart(ports.database, spike),
}
"""How each part is made, for a subject."""

VIEWS: Final[Mapping[str, tuple[str, ...]]] = {
    "overview": ("minutes", "rising", "spikes", "talk", "voice", "waiting"),
    "post": ("post", "forecast", "trees"),
    "conversation": ("conversation", "conversation-minutes", "conversation-posts", "conversation-spikes"),
    "author": ("author", "author-minutes", "author-posts", "author-spikes"),
    "spike": ("spike",),
    "search": (),
}
"""The parts of each view, beside `freshness`, which all have."""


def feeds_of(view: str, subject: str) -> list[FeedKey]:
    """Returns the feeds of a view. Raises KeyError for an unknown view."""
    return [FeedKey("freshness"), *(FeedKey(part, subject) for part in VIEWS[view])]

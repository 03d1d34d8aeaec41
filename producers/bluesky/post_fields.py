"""Fields of a Bluesky post (app.bsky.feed.post) beyond its place in a thread: hashtags, mentions, links, the post it
quotes. Parts that are not as their lexicon says are left out: the post itself still counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from producers.bluesky.at_uri import POST_COLLECTION, AtUri, parse_at_uri
from producers.bluesky.jetstream.frames import DID

TAG_CHARACTERS: Final = 256
LINK_CHARACTERS: Final = 2048
MOST_TAGS: Final = 64
MOST_LINKS: Final = 32
"""Bounds below those of an event: with all of them reached, an event of four-byte characters stays below 400 KB."""

TAG_FACET: Final = "app.bsky.richtext.facet#tag"
MENTION_FACET: Final = "app.bsky.richtext.facet#mention"
LINK_FACET: Final = "app.bsky.richtext.facet#link"
FACET_VALUES: Final = {TAG_FACET: "tag", MENTION_FACET: "did", LINK_FACET: "uri"}
QUOTE: Final = "app.bsky.embed.record"
QUOTE_WITH_MEDIA: Final = "app.bsky.embed.recordWithMedia"
EXTERNAL: Final = "app.bsky.embed.external"


@dataclass(frozen=True, slots=True)
class PostFields:
    """The fields of a post, each value once, in the order of the record."""

    hashtags: list[str]
    mentions: list[str]
    links: list[str]
    quotes: AtUri | None

    @staticmethod
    def of(record: dict[str, Any]) -> "PostFields":
        """Reads a record of any content."""
        found: dict[str, list[Any]] = {TAG_FACET: [], MENTION_FACET: [], LINK_FACET: []}
        if facets := record.get("facets"):
            for kind, value in _features(facets):
                found[kind].append(value)
        if tags := _list(record.get("tags")):
            found[TAG_FACET] += tags
        quotes = None
        if embed := _object(record.get("embed")):
            found[LINK_FACET].append(_external(embed))
            quotes = _quoted(embed)
        return PostFields(
            _texts((tag.lstrip("#＃") for tag in found[TAG_FACET] if isinstance(tag, str)), TAG_CHARACTERS, MOST_TAGS),
            _texts((did for did in found[MENTION_FACET] if _is_did(did)), TAG_CHARACTERS, MOST_TAGS),
            _texts((link for link in found[LINK_FACET] if isinstance(link, str)), LINK_CHARACTERS, MOST_LINKS),
            quotes,
        )


def _features(facets: object) -> Iterator[tuple[str, Any]]:
    """Yields the kind and the value of each known feature."""
    for facet in _list(facets):
        for feature in _list(_object(facet).get("features")):
            fields = _object(feature)
            kind = fields.get("$type")
            if isinstance(kind, str) and kind in FACET_VALUES:
                yield kind, fields.get(FACET_VALUES[kind])


def _external(embed: dict[str, Any]) -> object:
    """Returns the address of a link's card; None without one."""
    if embed.get("$type") == QUOTE_WITH_MEDIA:
        embed = _object(embed.get("media"))
    return _object(embed.get("external")).get("uri") if embed.get("$type") == EXTERNAL else None


def _quoted(embed: dict[str, Any]) -> AtUri | None:
    """Returns the quoted post; None without one, and for a quoted list, feed or starter pack."""
    record = _object(embed.get("record"))
    if embed.get("$type") == QUOTE_WITH_MEDIA:
        record = _object(record.get("record"))
    elif embed.get("$type") != QUOTE:
        return None
    quoted = parse_at_uri(record.get("uri"))
    return quoted if quoted is not None and quoted.collection == POST_COLLECTION else None


def _texts(values: Iterator[str], characters: int, most: int) -> list[str]:
    """Returns the first usable texts, each once."""
    usable = (value for value in values if 0 < len(value) <= characters and "\0" not in value)
    return list(dict.fromkeys(usable))[:most]


def _is_did(value: object) -> bool:
    return isinstance(value, str) and DID.fullmatch(value) is not None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

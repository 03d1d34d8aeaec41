"""The fields of a note: ids, types, tags, mentions, links, address."""

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, Final

from producers.collector.mappers.fields import Json, short_texts

VOCABULARY: Final = ("https://www.w3.org/ns/activitystreams#", "http://www.w3.org/ns/activitystreams#", "as:")
LONGEST_ID: Final = 4096
LONGEST_LINK: Final = 4096
MOST_HTML: Final = 200_000
"""Characters of a note's content that are searched for links."""


def first_id(value: Any) -> str:
    """Returns the id of an object, which may be the id itself, or the first of a list; empty where there is none."""
    if isinstance(value, list):
        value = next((each for each in value if first_id(each)), None) if len(value) < 100 else None
    if isinstance(value, dict):
        value = value.get("id", value.get("@id"))
    return value if isinstance(value, str) and len(value) <= LONGEST_ID else ""


def type_names(document: Json) -> frozenset[str]:
    """Returns the types of an object, without the prefix of the vocabulary."""
    found = document.get("type", document.get("@type"))
    names = found if isinstance(found, list) else [found]
    return frozenset(_short(name) for name in names if isinstance(name, str))


def describe_note(note: Json) -> dict[str, Any]:
    """Returns the fields of an event about the content of a note."""
    tags = [tag for tag in _listed(note.get("tag")) if isinstance(tag, dict)]
    hashtags = [str(tag.get("name") or "").lstrip("#") for tag in tags if "Hashtag" in type_names(tag)]
    mentions = [
        str(tag.get("name") or tag.get("href") or "").lstrip("@") for tag in tags if "Mention" in type_names(tag)
    ]
    return {
        "url": _address(note.get("url")),
        "hashtags": short_texts(hashtags, 256, 256),
        "mentions": short_texts(mentions, 256, 256),
        "links": short_texts(_links(note), LONGEST_LINK, 64),
        "quotes": next((found for name in QUOTES if (found := first_id(note.get(name))) and len(found) <= 512), None),
    }


QUOTES: Final = ("quote", "quoteUrl", "quoteUri", "_misskey_quote")
"""What servers call the note that a note quotes."""


def _short(name: str) -> str:
    for prefix in VOCABULARY:
        name = name.removeprefix(prefix)
    return name


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _address(value: Any) -> str | None:
    """Returns the first address of a url, which may be text, a Link, or a list; a page before a picture or video."""
    found = [each for each in _listed(value) if isinstance(each, str | dict)]
    pages = [each for each in found if isinstance(each, str) or each.get("mediaType") in (None, "text/html")]
    for each in [*pages, *found]:
        text = each if isinstance(each, str) else each.get("href")
        if isinstance(text, str) and 0 < len(text) <= LONGEST_LINK and "\0" not in text:
            return text
    return None


def _links(note: Json) -> Iterator[Any]:
    """Yields the addresses in a note: attached ones (Lemmy), and those in its text but for tags."""
    for each in _listed(note.get("attachment")):
        if isinstance(each, dict) and type_names(each) & {"Link", "Page", "Article"}:
            yield each.get("href") or _address(each.get("url"))
    content = note.get("content")
    if isinstance(content, str) and "<a" in content:
        parser = _Anchors()
        parser.feed(content[:MOST_HTML])
        yield from parser.found


class _Anchors(HTMLParser):
    """Collects the addresses of anchors, apart from hashtags and mentions."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        classes = (said.get("class") or "").split()
        address = said.get("href") or ""
        is_tag = "mention" in classes or "hashtag" in classes or said.get("rel") == "tag"
        if tag == "a" and not is_tag and address.startswith(("http://", "https://")):
            self.found.append(address)

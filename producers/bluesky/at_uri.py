"""Addresses of records: at://<did>/<collection>/<rkey>. The address of a record is the id of its event."""

import re
from typing import Final, NamedTuple

LIKE_COLLECTION: Final = "app.bsky.feed.like"
REPOST_COLLECTION: Final = "app.bsky.feed.repost"
POST_COLLECTION: Final = "app.bsky.feed.post"

EVENT_COLLECTIONS: Final = {"like": LIKE_COLLECTION, "repost": REPOST_COLLECTION, "post": POST_COLLECTION}
"""The collections whose records are events, by the word for each on the command line."""

URI_LENGTH: Final = 500
"""The longest address: with the suffix of a retraction it is within the 512 characters of an event's id."""

AT_URI: Final = re.compile(r"at://(did:[a-z]+:[A-Za-z0-9._:%-]+)/([A-Za-z0-9.-]+)/([A-Za-z0-9._:~-]+)")


class AtUri(NamedTuple):
    """The address of a record, whole and in its parts."""

    uri: str
    did: str
    collection: str
    rkey: str


def parse_at_uri(value: object) -> AtUri | None:
    """Parses an address; None for anything else, also for an address with a handle instead of a DID."""
    if not isinstance(value, str) or len(value) > URI_LENGTH:
        return None
    found = AT_URI.fullmatch(value)
    return None if found is None else AtUri(value, found[1], found[2], found[3])


def uri_of(did: str, collection: str, rkey: str) -> str:
    """Returns the address of a record."""
    return f"at://{did}/{collection}/{rkey}"


def web_url(did: str, rkey: str) -> str:
    """Returns where people see a post."""
    return f"https://bsky.app/profile/{did}/post/{rkey}"

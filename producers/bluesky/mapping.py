"""From a commit of Jetstream to events. Pure: no clock, no store.

like                    a like of the post that the record names
repost                  a share; `via`, the repost through which it was seen, is its parent
post with a reply       a comment: the root is the post, the parent the comment that it answers
post                    a post
... with a quote        a share of the quoted post besides
delete                  retractions of what the record was, which its store has to tell
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

from producers.bluesky.at_uri import (
    EVENT_COLLECTIONS,
    LIKE_COLLECTION,
    POST_COLLECTION,
    REPOST_COLLECTION,
    AtUri,
    parse_at_uri,
    uri_of,
    web_url,
)
from producers.bluesky.jetstream.frames import RECORD_KEY, Frame, FrameError, moment, object_of, parse_time, text_of
from producers.bluesky.post_fields import PostFields
from schemas.events import UNDO

CHANNEL: Final = "bluesky"

CLAIM_US: Final = 24 * 3600 * 1_000_000
"""How long before the server saw a record its author may have made it, in microseconds. An older time is an import or
a wrong clock, a later one a wrong clock: then the server's time counts."""


class RecordKey(NamedTuple):
    """The address of a record in the network."""

    did: str
    collection: str
    rkey: str

    @property
    def uri(self) -> str:
        """The address as text: the id of the record's events."""
        return uri_of(*self)


class Skip(NamedTuple):
    """A frame without an event, for a reason from a short list of words."""

    reason: str


class Created(NamedTuple):
    """The events of a new record."""

    key: RecordKey
    events: list[dict[str, Any]]


class Deleted(NamedTuple):
    """A deleted record. `seen_us`: when the server saw it, in microseconds since 1970."""

    key: RecordKey
    seen_us: int


def map_commit(frame: Frame) -> Created | Deleted | Skip:
    """Maps a commit. Raises FrameError for one that is not as its lexicon says."""
    commit = frame.body
    collection, operation = text_of(commit, "collection", "commit."), text_of(commit, "operation", "commit.")
    if collection not in EVENT_COLLECTIONS.values():
        return Skip("collection")
    rkey = text_of(commit, "rkey", "commit.")
    key = RecordKey(frame.did, collection, rkey)
    if not RECORD_KEY.fullmatch(rkey) or parse_at_uri(key.uri) is None:
        raise FrameError("commit.rkey", "not a record key")
    if operation == "delete":
        return Deleted(key, frame.time_us)
    if operation == "update":
        return Skip("update")
    if operation != "create":
        raise FrameError("commit.operation", "neither create, update nor delete")
    record = object_of(commit, "record", "commit.")
    base = {"actor_id": frame.did, "occurred_at": _occurred(record, frame.time_us), "channel": CHANNEL}
    map_record = _post_events if collection == POST_COLLECTION else _reaction
    events = list(map_record(key, record, base))
    return Created(key, events) if events else Skip("subject")


def retractions(key: RecordKey, kinds: dict[str, str], occurred_at: datetime) -> Iterator[dict[str, Any]]:
    """Yields the events to take back a record; `kinds`: kind of event -> post_id."""
    for kind, post_id in kinds.items():
        yield {
            "event_id": key.uri + UNDO,
            "kind": kind,
            "action": "retract",
            "target_id": key.uri,
            "post_id": post_id,
            "actor_id": key.did,
            "occurred_at": occurred_at,
            "channel": CHANNEL,
        }


def _reaction(key: RecordKey, record: dict[str, Any], base: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the event of a like or repost; none where its subject is no post but a feed or a labeler."""
    subject = _reference(record, "subject")
    if subject.collection != POST_COLLECTION:
        return
    event = {
        "event_id": key.uri,
        "kind": "like" if key.collection == LIKE_COLLECTION else "share",
        "post_id": subject.uri,
        **base,
    }
    via = record.get("via")
    through = parse_at_uri(via.get("uri")) if isinstance(via, dict) else None
    if through is not None and through.collection == REPOST_COLLECTION and through.uri != key.uri:
        event["parent_id"] = through.uri
    yield event


def _post_events(key: RecordKey, record: dict[str, Any], base: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the post or comment, and the share of the quoted post."""
    fields = PostFields.of(record)
    url = web_url(key.did, key.rkey)
    said: dict[str, Any] = {"url": url, "hashtags": fields.hashtags, "mentions": fields.mentions}
    event = {"event_id": key.uri, "kind": "post", "post_id": key.uri, **base}
    if record.get("reply") is not None:
        reply = object_of(record, "reply", "commit.record.")
        root = _reference(reply, "root", "commit.record.reply.")
        parent = _reference(reply, "parent", "commit.record.reply.")
        if root.collection != POST_COLLECTION:
            return
        event |= {"kind": "comment", "post_id": root.uri}
        if parent.uri not in (root.uri, key.uri):
            event["parent_id"] = parent.uri
    else:
        said |= {"links": fields.links, "quotes": fields.quotes.uri if fields.quotes else None}
    yield event | {name: value for name, value in said.items() if value}
    if fields.quotes is not None:
        yield {"event_id": key.uri, "kind": "share", "post_id": fields.quotes.uri, **base, "url": url}


def _reference(fields: dict[str, Any], name: str, path: str = "commit.record.") -> AtUri:
    """Returns the address in a strong reference. Raises FrameError."""
    found = parse_at_uri(object_of(fields, name, path).get("uri"))
    if found is None:
        raise FrameError(f"{path}{name}.uri", "not an address at://<did>/<collection>/<rkey>")
    return found


def _occurred(record: dict[str, Any], seen_us: int) -> datetime:
    """Returns the time that the author's client claims, bounded by the time at which the server saw the record."""
    claim = record.get("createdAt")
    claimed_us = parse_time(claim) if isinstance(claim, str) and len(claim) <= 64 else None
    if claimed_us is None or not seen_us - CLAIM_US <= claimed_us <= seen_us:
        return moment(seen_us)
    return moment(claimed_us)

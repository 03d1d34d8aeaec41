"""ActivityStreams 2.0, as sent by Mastodon, Lemmy and other servers of the fediverse.

Like is a like, Announce a share, Create of a note a post, or a comment where the note answers another one; Undo and
Delete take back. An event's id is the id of the note or of the activity, so a reply finds its parent. Lemmy wraps what
happens in a community in an Announce, which is unwrapped.

The thread of a reply: that of the note it answers, if that is known; else that of its `context` (or Mastodon's
`conversation`); else the note itself. A context is tied to the first post or reply that names it.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pydantic_core import to_json

from producers.collector.mappers.fields import EventFields, Json, parse_object
from producers.collector.mappers.known_objects import KnownObject, KnownObjects
from producers.collector.mappers.note_fields import describe_note, first_id, type_names
from producers.collector.mappers.port import MappedItem, RequestFacts, event_item
from producers.collector.reading.items import split_items
from schemas.events import InvalidEvent
from schemas.topics import Kind

NOTES: Final = frozenset(
    {"Note", "Article", "Page", "Question", "Video", "Image", "Audio", "Document", "Event", "Review", "Comment"}
)
LIKES: Final = frozenset({"Like", "EmojiReact"})
WRITES: Final = frozenset({"Create", "Update"})
IGNORED: Final = frozenset(
    re.findall(
        r"\w+",
        """Accept Add Arrive Block Dislike Flag Follow Ignore Invite Join Leave Listen Move Offer Read Reject Remove
        TentativeAccept TentativeReject Travel View QuoteRequest FeatureRequest ChatMessage Person Service Group
        Organization Application Profile Tombstone Relationship Place""",
    )
)
"""Types that say nothing about engagement."""

ACTIVITIES: Final = LIKES | WRITES | IGNORED | {"Announce", "Undo", "Delete"}
COLLECTION_TYPES: Final = frozenset({"Collection", "OrderedCollection", "CollectionPage", "OrderedCollectionPage"})
DEEPEST: Final = 4
"""Activities within activities: Announce of Undo of Announce of a note."""


class ActivityStreams:
    """Maps activities; remembers notes and activities, so that they can be answered and taken back by id."""

    def __init__(self, known: KnownObjects) -> None:
        self._known = known

    def map(self, body: bytes, facts: RequestFacts) -> Iterator[MappedItem]:
        for raw in split_items(body):
            yield from self.items_of(raw, facts)

    def items_of(self, raw: bytes, facts: RequestFacts) -> Iterable[MappedItem]:
        """Returns the item of an activity, or the items of a collection of activities."""
        try:
            document = parse_object(raw, "an activity")
            if type_names(document) & COLLECTION_TYPES:
                members = document.get("orderedItems") or document.get("items") or []
                if not isinstance(members, list):
                    members = [members]
                return (self._item(to_json(each, inf_nan_mode="constants"), each, facts) for each in members)
        except InvalidEvent as flaw:
            return [MappedItem(raw, flaw=flaw)]
        return [self._item(raw, document, facts)]

    def _item(self, raw: bytes, activity: Any, facts: RequestFacts) -> MappedItem:
        try:
            if not isinstance(activity, dict):
                raise InvalidEvent("", "Input should be an activity, a JSON object")
            event = self._event(activity, facts.received.isoformat(), DEEPEST)
            return MappedItem(raw) if event is None else event_item(raw, event)
        except InvalidEvent as flaw:
            return MappedItem(raw, flaw=flaw)

    def _event(self, activity: Json, received: str, depth: int) -> EventFields | None:
        """Returns the event of an activity; None for one without meaning here. Raises InvalidEvent."""
        types = type_names(activity)
        if depth == 0:
            raise InvalidEvent("object", "too many activities within activities; send the innermost one")
        if types & WRITES:
            return self._written(activity)
        if types & NOTES:
            return self._note_event(activity, activity)
        inner = _first_object(activity)
        if "Announce" in types and isinstance(inner, dict) and type_names(inner) & (ACTIVITIES - IGNORED):
            return self._event(inner, received, depth - 1)
        if "Announce" in types or types & LIKES:
            if isinstance(inner, dict) and type_names(inner) & IGNORED:
                return None
            return self._reaction(activity, "share" if "Announce" in types else "like", received)
        if "Undo" in types:
            return self._undone(activity, inner, received)
        if "Delete" in types:
            return self._deleted(activity, inner, received)
        if types & IGNORED:
            return None
        known = ", ".join(sorted({"Like", "Announce", "Create", "Update", "Undo", "Delete"}))
        raise InvalidEvent("type", f"no activity that is known here; send one of {known}")

    def _written(self, activity: Json) -> EventFields | None:
        note = _first_object(activity)
        if isinstance(note, str):
            raise InvalidEvent("object", "only an id: what was written cannot be told; send the object itself")
        if not isinstance(note, dict):
            raise InvalidEvent("object", "Field required: the note that was written")
        types = type_names(note)
        if types & NOTES:
            return self._note_event(activity, note)
        if types & IGNORED or types & COLLECTION_TYPES:
            return None
        raise InvalidEvent("object.type", f"none that is known here; send one of {', '.join(sorted(NOTES))}")

    def _note_event(self, activity: Json, note: Json) -> EventFields | None:
        """Returns a note as a post or comment; None for a vote in a poll."""
        note_id = first_id(note) or first_id(activity)
        if not note_id:
            raise InvalidEvent("object.id", "Field required: without it a repeated delivery looks like a new note")
        answered = first_id(note.get("inReplyTo"))
        if answered and "name" in note and not note.get("content"):
            return None
        post_id, parent_id = self._thread(note, note_id)
        author = first_id(note.get("attributedTo"))
        actor = first_id(activity.get("actor")) or author
        kind: Kind = "comment" if answered else "post"
        known = KnownObject(kind, post_id, note_id, _required(actor, "actor"))
        for name in {note_id, first_id(activity)} - {""}:
            self._known.note(name, known)
        event: EventFields = {
            "kind": kind,
            "event_id": note_id,
            "post_id": post_id,
            "parent_id": parent_id,
            "actor_id": known.actor_id,
            "occurred_at": _time_of(note, activity),
            **describe_note(note),
        }
        if kind == "post":
            event["author_id"] = author if author and author != actor else None
        else:
            event.pop("quotes", None)
            event.pop("links", None)
        return event

    def _thread(self, note: Json, note_id: str) -> tuple[str, str | None]:
        """Returns the post of a note, and the answered comment; remembers the context of the thread."""
        context = first_id(note.get("context")) or first_id(note.get("conversation"))
        named = self._known.find(f"context {context}") if context else None
        answered = first_id(note.get("inReplyTo"))
        parent = self._known.find(answered) if answered else None
        if parent is not None:
            post_id = parent.post_id
        elif named is not None:
            post_id = named.post_id
        elif answered:
            post_id = context or _root_of(note["inReplyTo"]) or answered
        else:
            post_id = note_id
        if context and named is None:
            self._known.note(f"context {context}", KnownObject("post", post_id, post_id, ""))
        if not answered or answered == post_id or (parent is not None and parent.kind == "post"):
            return post_id, None
        return post_id, answered

    def _reaction(self, activity: Json, kind: Kind, received: str) -> EventFields:
        """Returns the like or share of a note."""
        target = _first_object(activity)
        target_id = _required(first_id(target), "object")
        actor = _required(first_id(activity.get("actor")), "actor")
        known = self._known.find(target_id)
        if known is not None:
            post_id, parent_id = known.post_id, None if known.kind == "post" else known.event_id
        elif isinstance(target, dict):
            post_id, _ = self._thread(target, target_id)
            parent_id = target_id if post_id != target_id and target.get("inReplyTo") else None
        else:
            post_id, parent_id = target_id, None
        event_id = _activity_id(activity, kind, actor, target_id)
        self._known.note(event_id, KnownObject(kind, post_id, event_id, actor))
        return {
            "kind": kind,
            "event_id": event_id,
            "post_id": post_id,
            "parent_id": parent_id,
            "actor_id": actor,
            "occurred_at": _time_of(activity) or received,
        }

    def _undone(self, activity: Json, inner: Any, received: str) -> EventFields | None:
        actor = _required(first_id(activity.get("actor")), "actor")
        if isinstance(inner, dict):
            types = type_names(inner)
            inner_target = first_id(_first_object(inner))
            if types & LIKES or "Announce" in types:
                kind: Kind = "share" if "Announce" in types else "like"
                doer = first_id(inner.get("actor")) or actor
                if doer != actor:
                    raise InvalidEvent("object.actor", "is not the actor of the Undo: nobody takes back for others")
                event_id = _activity_id(inner, kind, actor, inner_target)
                if self._known.find(event_id) is None and inner_target:
                    self._reaction({**inner, "actor": actor}, kind, received)
                return self._retraction(event_id, "object", actor, _time_of(activity) or received)
            if types & WRITES:
                return self._retraction(inner_target, "object.object", actor, _time_of(activity) or received)
            if types & (IGNORED | {"Delete", "Undo"}):
                return None
        return self._retraction(first_id(inner), "object", actor, _time_of(activity) or received)

    def _deleted(self, activity: Json, inner: Any, received: str) -> EventFields | None:
        actor = _required(first_id(activity.get("actor")), "actor")
        target = _required(first_id(inner), "object")
        if target == actor or (isinstance(inner, dict) and type_names(inner) & (IGNORED - {"Tombstone"})):
            return None  # of an account, a group and the like
        if isinstance(inner, dict) and type_names(inner) & NOTES and self._known.find(target) is None:
            self._note_event({"actor": actor}, inner)
        return self._retraction(target, "object", actor, _time_of(activity) or received)

    def _retraction(self, target: str, field: str, actor: str, occurred: str) -> EventFields:
        """Returns the retraction of a known event. Raises InvalidEvent for one that is not known."""
        known = self._known.find(_required(target, field))
        if known is None:
            raise InvalidEvent(field, "is not known here, so nothing can be taken back; send the object itself in it")
        return {
            "kind": known.kind,
            "action": "retract",
            "target_id": known.event_id,
            "post_id": known.post_id,
            "actor_id": actor,
            "occurred_at": occurred,
        }


def _first_object(activity: Json) -> Any:
    found = activity.get("object")
    return found[0] if isinstance(found, list) and found else found


def _activity_id(activity: Json, kind: str, actor: str, target: str) -> str:
    """Returns the id of a like or share; where it has none, the same for the same actor and note."""
    return first_id(activity) or f"{actor}#{kind}s/{target}"


def _required(found: str, field: str) -> str:
    if not found:
        raise InvalidEvent(field, "Field required: an id, or an object that has one")
    return found


def _time_of(*documents: Json) -> Any:
    return next((each["published"] for each in documents if each.get("published")), None)


def _root_of(answered: Any) -> str:
    """Returns the thread named by an embedded note; empty for an id alone."""
    if not isinstance(answered, dict):
        return ""
    return first_id(answered.get("context")) or first_id(answered.get("conversation"))

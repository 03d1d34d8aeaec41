"""Discourse's webhooks: the first post of a topic is a post, further ones are comments, likes are likes.

A topic is the post `<instance>/t/<topic>`, a comment `<instance>/t/<topic>/<number>`. Discourse says nothing of likes
that are taken back.
"""

from typing import Final

from producers.collector.mappers.fields import (
    EventFields,
    Json,
    optional_text_at,
    parse_object,
    short_texts,
    text_at,
    value_at,
)
from producers.collector.mappers.port import MappedItem, RequestFacts, event_item
from schemas.events import InvalidEvent

NAMELESS: Final = "discourse"
"""The instance of a webhook that does not name its own."""


class Discourse:
    """Maps Discourse's webhooks by X-Discourse-Event."""

    def map(self, body: bytes, facts: RequestFacts) -> list[MappedItem]:
        name = facts.headers.get("x-discourse-event", "")
        if not name:
            raise InvalidEvent("x-discourse-event", "Field required: the header by which Discourse names the event")
        instance = facts.headers.get("x-discourse-instance", NAMELESS).rstrip("/") or NAMELESS
        received = facts.received.isoformat()
        event: EventFields | None = None
        payload = parse_object(body, "a webhook of Discourse")
        if name == "post_created":
            event = _post_event(payload, instance)
        elif name == "post_destroyed":
            event = _destroyed(payload, instance, received)
        elif name == "topic_created":
            event = _topic_event(payload, instance)
        elif name == "topic_destroyed":
            topic = f"{instance}/t/{text_at(payload, 'topic.id')}"
            actor = optional_text_at(payload, "topic.created_by.username") or "discourse"
            event = _retraction("post", topic, topic, actor, received)
        elif name == "post_liked":
            event = _like_event(payload, instance, received)
        return [MappedItem(body) if event is None else event_item(body, event)]


def _post_event(payload: Json, instance: str) -> EventFields:
    topic = f"{instance}/t/{text_at(payload, 'post.topic_id')}"
    number = text_at(payload, "post.post_number")
    event: EventFields = {
        "post_id": topic,
        "actor_id": text_at(payload, "post.username"),
        "occurred_at": text_at(payload, "post.created_at"),
    }
    if number == "1":
        return {**event, "kind": "post", "event_id": topic, "url": _address(topic)}
    answered = optional_text_at(payload, "post.reply_to_post_number")
    return {
        **event,
        "kind": "comment",
        "event_id": f"{topic}/{number}",
        "parent_id": f"{topic}/{answered}" if answered not in (None, "1") else None,
        "url": _address(f"{topic}/{number}"),
    }


def _topic_event(payload: Json, instance: str) -> EventFields:
    topic = f"{instance}/t/{text_at(payload, 'topic.id')}"
    tags = value_at(payload, "topic.tags")
    names = [tag.get("name") if isinstance(tag, dict) else tag for tag in tags] if isinstance(tags, list) else []
    return {
        "kind": "post",
        "event_id": topic,
        "post_id": topic,
        "actor_id": text_at(payload, "topic.created_by.username"),
        "occurred_at": text_at(payload, "topic.created_at"),
        "hashtags": short_texts(names, 256, 256),
        "url": _address(topic),
    }


def _destroyed(payload: Json, instance: str, received: str) -> EventFields:
    topic = f"{instance}/t/{text_at(payload, 'post.topic_id')}"
    number, actor = text_at(payload, "post.post_number"), text_at(payload, "post.username")
    if number == "1":
        return _retraction("post", topic, topic, actor, received)
    return _retraction("comment", f"{topic}/{number}", topic, actor, received)


def _like_event(payload: Json, instance: str, received: str) -> EventFields:
    topic = f"{instance}/t/{text_at(payload, 'like.post.topic_id')}"
    number = text_at(payload, "like.post.post_number")
    return {
        "kind": "like",
        "event_id": f"{topic}/{number}/like/{text_at(payload, 'like.user.id')}",
        "post_id": topic,
        "parent_id": f"{topic}/{number}" if number != "1" else None,
        "actor_id": text_at(payload, "like.user.username"),
        "occurred_at": optional_text_at(payload, "like.created_at") or received,
    }


def _retraction(kind: str, target: str, topic: str, actor: str, received: str) -> EventFields:
    return {
        "kind": kind,
        "action": "retract",
        "target_id": target,
        "post_id": topic,
        "actor_id": actor,
        "occurred_at": received,
    }


def _address(place: str) -> str | None:
    return place if place.startswith(("http://", "https://")) else None

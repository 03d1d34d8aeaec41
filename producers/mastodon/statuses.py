"""Maps a status of Mastodon's API to an event: a post, or a comment where it answers another status."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from schemas.events import isoformat

CHANNEL: Final = "mastodon"
SEEN_BY_ALL: Final = ("public", "unlisted")
"""Visibilities of statuses that are counted: what is written for followers or for one person stays theirs."""

Status = Mapping[str, Any]


def is_public(status: Status) -> bool:
    """Tells whether everybody may see a status."""
    return status.get("visibility") in SEEN_BY_ALL


def post_event(status: Status) -> dict[str, Any]:
    """Returns the event of a status that begins a thread. The ids are ActivityPub's, the same on every server."""
    account = status["account"]
    event = _event(status, "post") | {"event_id": status["uri"], "post_id": status["uri"]}
    if isinstance(account.get("followers_count"), int) and account["followers_count"] >= 0:
        event["followers"] = account["followers_count"]
    card = status.get("card") or {}
    if _is_link(card.get("url")):
        event["links"] = [card["url"]]
    quoted = (status.get("quote") or {}).get("quoted_status") or {}
    if quoted.get("uri"):
        event["quotes"] = quoted["uri"]
    return event


def comment_event(status: Status, root_uri: str, parent_uri: str) -> dict[str, Any]:
    """Returns the event of an answer in the thread of `root_uri`."""
    event = _event(status, "comment") | {"event_id": status["uri"], "post_id": root_uri}
    if parent_uri != root_uri:
        event["parent_id"] = parent_uri
    return event


def retraction(uri: str, root_uri: str, kind: str, actor: str, at: datetime) -> dict[str, Any]:
    """Returns the retraction of a status that is deleted."""
    fields = {"kind": kind, "action": "retract", "target_id": uri, "post_id": root_uri, "actor_id": actor}
    return fields | {"occurred_at": isoformat(at.astimezone(UTC)), "channel": CHANNEL}


def actor_of(status: Status) -> str:
    """Returns the id of a status's author: the address of the actor, the same on every server."""
    account = status["account"]
    return str(account.get("uri") or account["url"])


def _event(status: Status, kind: str) -> dict[str, Any]:
    event: dict[str, Any] = {
        "kind": kind,
        "actor_id": actor_of(status),
        "occurred_at": isoformat(created_at(status)),
        "channel": CHANNEL,
    }
    if _is_link(status.get("url")):
        event["url"] = status["url"]
    if tags := [tag["name"] for tag in status.get("tags") or () if tag.get("name")]:
        event["hashtags"] = tags
    if mentions := [account["acct"] for account in status.get("mentions") or () if account.get("acct")]:
        event["mentions"] = mentions
    return event


def created_at(status: Status) -> datetime:
    """Returns when a status was written. Raises ValueError."""
    moment = status["created_at"]
    moment = moment if isinstance(moment, datetime) else datetime.fromisoformat(str(moment))
    if moment.tzinfo is None:
        raise ValueError(f"created_at: {moment} names no zone")
    return moment.astimezone(UTC)


def _is_link(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("https://", "http://"))

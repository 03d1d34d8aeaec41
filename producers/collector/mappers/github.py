"""GitHub's webhooks: stars are likes, forks are shares, issues, pull requests, discussions and releases are posts.

Post ids are the addresses of repository, issue, pull request or discussion. GitHub does not say which star is taken
back, so a star is remembered by repository and user. `watch` repeats what `star` says and is ignored.
"""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qs

from producers.collector.mappers.fields import EventFields, Json, optional_text_at, parse_object, text_at, value_at
from producers.collector.mappers.known_objects import KnownObject, KnownObjects
from producers.collector.mappers.port import MappedItem, RequestFacts, event_item
from schemas.events import InvalidEvent
from schemas.topics import Kind

FORM: Final = "application/x-www-form-urlencoded"


class GitHub:
    """Maps GitHub's webhooks by X-GitHub-Event and action."""

    def __init__(self, known: KnownObjects) -> None:
        self._known = known

    def map(self, body: bytes, facts: RequestFacts) -> list[MappedItem]:
        name = facts.headers.get("x-github-event", "")
        if not name:
            raise InvalidEvent("x-github-event", "Field required: the header by which GitHub names the event")
        payload = parse_object(_payload(body, facts.headers), "a webhook of GitHub")
        read = GITHUB_EVENTS.get((name, str(payload.get("action") or "")))
        if name == "star":
            event: EventFields | None = self._star(payload, facts.received.isoformat())
        else:
            event = read(payload, facts.received.isoformat()) if read is not None else None
        return [MappedItem(body) if event is None else event_item(body, event)]

    def _star(self, payload: Json, received: str) -> EventFields | None:
        repository, user = text_at(payload, "repository.html_url"), text_at(payload, "sender.id")
        place = f"github star {repository} {user}"
        event: EventFields = {"kind": "like", "post_id": repository, "actor_id": text_at(payload, "sender.login")}
        if payload.get("action") == "created":
            starred = text_at(payload, "starred_at")
            event |= {"event_id": f"{repository}#star-{user}-{starred}", "occurred_at": starred}
            self._known.note(place, KnownObject("like", repository, event["event_id"], event["actor_id"]))
            return event
        if payload.get("action") != "deleted":
            return None
        known = self._known.find(place)
        if known is None:
            raise InvalidEvent("sender.id", "a star from before the collector knew of it; it cannot be taken back")
        return {**event, "action": "retract", "target_id": known.event_id, "occurred_at": received}


def _payload(body: bytes, headers: Mapping[str, str]) -> bytes:
    if not headers.get("content-type", "").lower().startswith(FORM):
        return body
    try:
        return parse_qs(body.decode("ascii"), max_num_fields=5)["payload"][0].encode("utf-8", "surrogatepass")
    except (ValueError, KeyError) as error:
        raise InvalidEvent("payload", f"no form with the field payload ({error}); choose application/json") from None


def _fork(payload: Json, _: str) -> EventFields:
    return {
        "kind": "share",
        "event_id": text_at(payload, "forkee.html_url"),
        "post_id": text_at(payload, "repository.html_url"),
        "actor_id": text_at(payload, "sender.login"),
        "occurred_at": text_at(payload, "forkee.created_at"),
        "url": text_at(payload, "forkee.html_url"),
    }


def _posted(name: str, time: str = "created_at", author: str = "user") -> Callable[[Json, str], EventFields]:
    """Returns a reader of posts, from the object of a payload."""

    def read(payload: Json, _: str) -> EventFields:
        address = text_at(payload, f"{name}.html_url")
        return {
            "kind": "post",
            "event_id": address,
            "post_id": address,
            "actor_id": text_at(payload, f"{name}.{author}.login"),
            "occurred_at": text_at(payload, f"{name}.{time}"),
            "url": address,
        }

    return read


def _deleted(name: str) -> Callable[[Json, str], EventFields]:
    """Returns a reader of deletions of posts."""

    def read(payload: Json, received: str) -> EventFields:
        address = text_at(payload, f"{name}.html_url")
        return _retraction("post", address, address, payload, received)

    return read


def _commented(
    post: str, name: str = "comment", parent: str = "", anchor: str = "", time: str = "created_at"
) -> Callable[[Json, str], EventFields | None]:
    """Returns a reader of comments on a post; `anchor` and the id at `parent` make the address of its parent."""

    def read(payload: Json, received: str) -> EventFields | None:
        post_id = text_at(payload, f"{post}.html_url")
        address = text_at(payload, f"{name}.html_url")
        if payload.get("action") in ("deleted", "dismissed"):
            return _retraction("comment", address, post_id, payload, received)
        if name == "review" and not value_at(payload, "review.body"):
            return None
        above = optional_text_at(payload, f"{name}.{parent}") if parent else None
        return {
            "kind": "comment",
            "event_id": address,
            "post_id": post_id,
            "parent_id": f"{post_id}#{anchor}{above}" if above else None,
            "actor_id": text_at(payload, f"{name}.user.login"),
            "occurred_at": text_at(payload, f"{name}.{time}"),
            "url": address,
        }

    return read


def _commit_comment(payload: Json, _: str) -> EventFields:
    return {
        "kind": "comment",
        "event_id": text_at(payload, "comment.html_url"),
        "post_id": f"{text_at(payload, 'repository.html_url')}/commit/{text_at(payload, 'comment.commit_id')}",
        "actor_id": text_at(payload, "comment.user.login"),
        "occurred_at": text_at(payload, "comment.created_at"),
        "url": text_at(payload, "comment.html_url"),
    }


def _retraction(kind: Kind, target: str, post_id: str, payload: Json, received: str) -> EventFields:
    return {
        "kind": kind,
        "action": "retract",
        "target_id": target,
        "post_id": post_id,
        "actor_id": text_at(payload, "sender.login"),
        "occurred_at": received,
    }


_ON_ISSUE: Final = _commented("issue")
_ON_REVIEW: Final = _commented("pull_request", "comment", "in_reply_to_id", "discussion_r")
_ON_DISCUSSION: Final = _commented("discussion", "comment", "parent_id", "discussioncomment-")

GITHUB_EVENTS: Final[Mapping[tuple[str, str], Callable[[Json, str], EventFields | None]]] = {
    ("fork", ""): _fork,
    ("issues", "opened"): _posted("issue"),
    ("issues", "deleted"): _deleted("issue"),
    ("issue_comment", "created"): _ON_ISSUE,
    ("issue_comment", "deleted"): _ON_ISSUE,
    ("pull_request", "opened"): _posted("pull_request"),
    ("pull_request_review", "submitted"): _commented("pull_request", "review", time="submitted_at"),
    ("pull_request_review_comment", "created"): _ON_REVIEW,
    ("pull_request_review_comment", "deleted"): _ON_REVIEW,
    ("discussion", "created"): _posted("discussion"),
    ("discussion", "deleted"): _deleted("discussion"),
    ("discussion_comment", "created"): _ON_DISCUSSION,
    ("discussion_comment", "deleted"): _ON_DISCUSSION,
    ("commit_comment", "created"): _commit_comment,
    ("release", "published"): _posted("release", "published_at", "author"),
    ("release", "deleted"): _deleted("release"),
}
"""What is read, by event and action; all else is ignored: edits, labels, pings."""

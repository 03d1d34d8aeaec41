"""Who wrote a post, when, and what it belongs to: a pure function of the set of its events of kind post.

Nothing of it stays in memory: a post's own events are few, so they are read from the log when another one comes.
"""

from collections.abc import Iterable
from typing import NamedTuple

MENTION = "mention:"


class PostEvent(NamedTuple):
    """An event of kind post. `retracts` is the event_id that it takes back, empty for an add; times in microseconds
    since 1970."""

    post_id: str
    event_id: str
    retracts: str
    occurred_us: int
    author_id: str
    channel: str
    url: str
    conversations: list[str]
    followers: int | None


class Facts(NamedTuple):
    """A post as it is known now. Times in microseconds since 1970."""

    author_id: str
    channel: str
    created_at: int
    url: str
    conversations: list[str]
    mentions: list[str]
    followers: int | None
    deleted_at: int | None


def facts_of(events: Iterable[PostEvent]) -> Facts | None:
    """The newest event (by time, then by id) says what the post is, the oldest when it was made; the first deletion of
    any of its events deletes it. None when no event but deletions is known. Of two events of one identity the first one
    counts.
    """
    added: dict[str, PostEvent] = {}
    retracted: dict[str, PostEvent] = {}
    for event in events:
        (retracted if event.retracts else added).setdefault(event.event_id, event)
    if not added:
        return None
    newest = max(added.values(), key=lambda event: (event.occurred_us, event.event_id))
    return Facts(
        author_id=newest.author_id,
        channel=newest.channel,
        created_at=min(event.occurred_us for event in added.values()),
        url=newest.url,
        conversations=newest.conversations,
        mentions=[key.removeprefix(MENTION) for key in newest.conversations if key.startswith(MENTION)],
        followers=newest.followers,
        deleted_at=min((event.occurred_us for event in retracted.values() if event.retracts in added), default=None),
    )

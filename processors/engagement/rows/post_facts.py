"""The facts of a post: its author, time, links, conversations. A pure function of the set of its events of kind post,
and of the brands and labels that the operator tracks."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from schemas.labels import label_conversations

MENTION = "mention:"
THREAD = "thread:"


class BrandKeys(Protocol):
    """The tracked brands; pipeline.brands.Brands is one."""

    def keys_of(self, author_id: str, conversations: Iterable[str], links: Iterable[str]) -> list[str]:
        """Returns `brand:<name>` of each brand that an event is about. An empty author stands for none."""
        ...


class TrackedKeys(NamedTuple):
    """The conversations that the operator tracks beside those that events name: brands, and the labels of some keys."""

    brands: BrandKeys
    label_keys: frozenset[str] = frozenset()


class PostEvent(NamedTuple):
    """An event of kind post. `retracts` is the event_id that it takes back, empty for an add; times in microseconds
    since 1970; `labels` are key, value, key, value, ..."""

    post_id: str
    event_id: str
    retracts: str
    occurred_us: int
    author_id: str
    channel: str
    url: str
    conversations: list[str]
    links: list[str]
    quotes: str
    followers: int | None
    labels: Sequence[str] = ()
    text: str = ""


class Facts(NamedTuple):
    """A post as it is known now: the columns of `posts`. Times in microseconds since 1970."""

    author_id: str
    channel: str
    created_at: int
    url: str
    conversations: list[str]
    mentions: list[str]
    links: list[str]
    quotes: str
    followers: int | None
    deleted_at: int | None
    labels: Sequence[str]
    text: str


def facts_of(events: Iterable[PostEvent], tracked: TrackedKeys) -> Facts | None:
    """Returns the facts of a post by its events of kind post, or None where only deletions are known.

    The newest event (by time, then by id) has the content of the post, the oldest the time at which it was made; the
    first deletion of any of its events deletes it. Of two events of one identity the first one counts.
    """
    added, retracted = _by_identity(events)
    if not added:
        return None
    newest = max(added.values(), key=lambda event: (event.occurred_us, event.event_id))
    return Facts(
        author_id=newest.author_id,
        channel=newest.channel,
        created_at=min(event.occurred_us for event in added.values()),
        url=newest.url,
        conversations=conversations_of(newest, tracked),
        mentions=[key.removeprefix(MENTION) for key in newest.conversations if key.startswith(MENTION)],
        links=newest.links,
        quotes=newest.quotes,
        followers=newest.followers,
        deleted_at=min((event.occurred_us for event in retracted.values() if event.retracts in added), default=None),
        labels=newest.labels,
        text=newest.text,
    )


def added_of(events: Iterable[PostEvent]) -> list[PostEvent]:
    """Returns the adds among these events of one post, each identity once, the first in the log."""
    return list(_by_identity(events)[0].values())


def conversations_of(event: PostEvent, tracked: TrackedKeys) -> list[str]:
    """Returns the conversations that a post of this event belongs to, each once, without its thread."""
    return [
        *event.conversations,
        *tracked.brands.keys_of(event.author_id, event.conversations, event.links),
        *label_conversations(event.labels, tracked.label_keys),
        f"author:{event.channel}/{event.author_id}",
    ]


def own_keys(conversations: Sequence[str], tracked: TrackedKeys) -> list[str]:
    """Returns the conversations that a share or comment names itself, beside those of its post."""
    return [*conversations, *tracked.brands.keys_of("", conversations, ())]


def _by_identity(events: Iterable[PostEvent]) -> tuple[dict[str, PostEvent], dict[str, PostEvent]]:
    added: dict[str, PostEvent] = {}
    retracted: dict[str, PostEvent] = {}
    for event in events:
        (retracted if event.retracts else added).setdefault(event.event_id, event)
    return added, retracted

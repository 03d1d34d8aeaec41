"""Events without a person: tombstones of what the person did, and the events of others without the name. Pure."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from processors.engagement.erased.erased_events import STANDS_FOR
from processors.erasure.people import People
from schemas.tables import CLEANED_VERSION, TOMBSTONE_VERSION

EventRow = Mapping[str, Any]
"""A row of `events`: every column that a writer sends, labels as a mapping, times as ticks."""

IDS: Final = ("event_id", "parent_id", "target_id")
"""Columns whose values are ids of events of the same post: one that names a person is replaced everywhere alike."""


@dataclass(frozen=True)
class Eraser:
    """Makes tombstones, which take the place of events. `posts`: the posts that leave as a whole; `addresses`: where
    these could be seen; `other_id`: ErasureKey.other_id; `epoch`: of the erasure, which ranks two cleanings of one
    event."""

    people: People
    posts: Collection[str]
    addresses: Collection[str]
    other_id: Callable[[str], str]
    epoch: int

    def names(self, text: str) -> bool:
        """Returns whether a text has an account of the people as a whole word."""
        pattern = self.people.pattern
        return pattern is not None and pattern.search(text) is not None

    def is_theirs(self, event: EventRow) -> bool:
        """Returns whether one of the people did what the event tells."""
        return event["actor_id"] in self.people.accounts and self._is_on_channel(event)

    def erased(self, event: EventRow) -> EventRow:
        """Returns what stands for an event: its tombstone, or itself without the names of the people."""
        return self.tombstone(event) if self.is_theirs(event) else self.cleaned(event)

    def tombstone(self, event: EventRow) -> EventRow:
        """Returns the event without its actor, its content, its place in Kafka and the seconds of its time. What is
        left: post, kind, action, the places in the tree, the minute and the channel."""
        minute = 60_000_000
        return {
            **event,
            **{name: self._id(event[name]) for name in IDS},
            **dict.fromkeys(("actor_id", "url", "quotes", "author_id", "text", "topic"), ""),
            **{name: [] for name in ("conversations", "links")},
            "labels": {},
            "followers": None,
            "occurred_at": event["occurred_at"] // minute * minute,
            "partition": 0,
            "offset": 0,
            "version": TOMBSTONE_VERSION + self.epoch,
        }

    def cleaned(self, event: EventRow) -> EventRow:
        """Returns an event of somebody else without the names of the people; the event itself where it has none."""
        if not self._is_on_channel(event):
            return event
        mentions = {f"mention:{name}" for name in self.people.mentions}
        pattern = self.people.pattern
        changed = {
            **{name: self._id(event[name]) for name in IDS},
            "url": "" if self.names(event["url"]) else event["url"],
            "quotes": "" if event["quotes"] in self.posts or self.names(event["quotes"]) else event["quotes"],
            "links": [link for link in event["links"] if link not in self.addresses and not self.names(link)],
            "conversations": [
                key for key in event["conversations"] if key not in mentions and not self.names(key.partition(":")[2])
            ],
            "labels": {key: value for key, value in event["labels"].items() if not self.names(value)},
            "text": pattern.sub(STANDS_FOR, event["text"]) if pattern else event["text"],
        }
        if all(event[name] == value for name, value in changed.items()):
            return event
        return {**event, **changed, "version": max(event["version"], CLEANED_VERSION + self.epoch)}

    def cleaned_post(self, row: EventRow) -> EventRow:
        """Returns a row of `posts` without the names of the people; the row itself where it has none."""
        changed = self.cleaned({**row, **dict.fromkeys(IDS, ""), "labels": _pairs(row["labels"])})
        return {
            **{name: changed[name] for name in row},
            "labels": [part for pair in changed["labels"].items() for part in pair],
            "mentions": [name for name in row["mentions"] if name not in self.people.mentions],
        }

    def _id(self, value: str) -> str:
        return self.other_id(value) if value and self.names(value) else value

    def _is_on_channel(self, event: EventRow) -> bool:
        return self.people.channel is None or event["channel"] == self.people.channel


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))

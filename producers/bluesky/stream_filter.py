"""Filters of events by the author of the post, by hashtags and by mentions, which no host can do for us.

An event passes when its post is by one of the authors, and when it names one of the hashtags or mentions, or belongs to
a post that does. So a filter by hashtag keeps the likes and shares of posts that passed, which name nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from producers.bluesky.at_uri import AtUri, parse_at_uri
from producers.bluesky.mapping import RecordKey
from schemas.folding import fold_tag


@dataclass(frozen=True)
class StreamFilter:
    """The filters; an empty one lets everything pass. `hashtags` and `mentions` are folded names."""

    authors: frozenset[str] = frozenset()
    hashtags: frozenset[str] = frozenset()
    mentions: frozenset[str] = frozenset()

    @staticmethod
    def of(authors: tuple[str, ...], hashtags: tuple[str, ...], mentions: tuple[str, ...]) -> "StreamFilter":
        """Makes the filters of DIDs, of hashtags in any spelling with or without #, and of mentioned DIDs."""
        tags = frozenset(fold_tag(tag, "#") for tag in hashtags)
        return StreamFilter(frozenset(authors), tags, frozenset(fold_tag(did, "@") for did in mentions))

    def passes(self, event: dict[str, Any], is_followed: Callable[[RecordKey], bool]) -> bool:
        """Returns whether an event passes. `is_followed`: whether the record of a post has passed before."""
        if not (self.authors or self.hashtags or self.mentions):
            return True
        post = parse_at_uri(event["post_id"])
        if post is None or (self.authors and post.did not in self.authors):
            return False
        if not (self.hashtags or self.mentions):
            return True
        return self._names(event) or (event["kind"] != "post" and is_followed(_key_of(post)))

    def _names(self, event: dict[str, Any]) -> bool:
        return any(fold_tag(tag, "#") in self.hashtags for tag in event.get("hashtags", ())) or any(
            fold_tag(did, "@") in self.mentions for did in event.get("mentions", ())
        )


def _key_of(post: AtUri) -> RecordKey:
    return RecordKey(post.did, post.collection, post.rkey)

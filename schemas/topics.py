"""The Kafka topics, named in one place.

The four source topics are keyed by `post_id` and have the same number of partitions, so that one worker owns everything
about a post (co-partitioning). `conversations` is keyed by the conversation, `alerts` by one key for all,
`dead-letters` by nothing.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

Kind = Literal["post", "like", "share", "comment"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""Every kind of event; its index is its number in ClickHouse's Enum8 less one, and in the fold's arrays. A new kind
comes last: the numbers of the others are stored."""

KIND_DESCRIPTIONS: Final[dict[Kind, str]] = {
    "post": "Posts, and their deletion.",
    "like": "Likes, and likes taken back.",
    "share": "Shares, reposts and boosts, and their being taken back.",
    "comment": "Comments and replies, and their deletion.",
}
"""The contents of the topic of each kind."""


@dataclass(frozen=True)
class Topics:
    """The topics under one prefix. More partitions mean a new prefix, never a grown topic (docs/operations.md)."""

    prefix: str = "engagement"

    def of(self, kind: str) -> str:
        """The source topic of a kind of event: `engagement.likes` for `like`."""
        return f"{self.prefix}.{kind}s"

    @property
    def sources(self) -> tuple[str, ...]:
        """The co-partitioned source topics, in the order of `KINDS`."""
        return tuple(map(self.of, KINDS))

    @property
    def conversations(self) -> str:
        return f"{self.prefix}.conversations"

    @property
    def alerts(self) -> str:
        return f"{self.prefix}.alerts"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}.dead-letters"

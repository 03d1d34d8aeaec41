"""The views of a conversation, of an author, and of a spike."""

from pipeline.page import sql
from pipeline.page.feeds import PartAnswer
from pipeline.page.parts.minutes import as_columns
from pipeline.page.parts.overview import spike_in_words
from pipeline.page.parts.posts import posts_with_totals
from pipeline.page.query import ReadsRows
from schemas.alert_words import name_of, rate_in_words

AROUND_SECONDS: tuple[int, int] = (6 * 3600, 2 * 3600)
"""How much is shown before a spike, and after it."""


class ConversationPart:
    """The numbers of a conversation."""

    seconds = 2.0

    def __init__(self, database: ReadsRows, conversation: str) -> None:
        self._database, self._key = database, conversation

    async def read(self) -> PartAnswer:
        """Reads the row of the conversation, which may be missing."""
        rows = await self._database.read(sql.READ_CONVERSATION, conversation=self._key)
        return PartAnswer({"name": name_of(self._key), "numbers": rows[0] if rows else None})


class SpikesOfPart:
    """The spikes of a conversation, the newest first."""

    seconds = 3.0

    def __init__(self, database: ReadsRows, conversation: str) -> None:
        self._database, self._key = database, conversation

    async def read(self) -> PartAnswer:
        """Reads the spikes."""
        rows = await self._database.read(sql.READ_SPIKES_OF, conversation=self._key)
        return PartAnswer([spike_in_words(row) for row in rows])


class AuthorPart:
    """The numbers of an author on a channel."""

    seconds = 5.0

    def __init__(self, database: ReadsRows, subject: str) -> None:
        """`subject` is <channel>/<id>."""
        self._database = database
        self._channel, _, self._author = subject.partition("/")

    async def read(self) -> PartAnswer:
        """Reads the row of the author, which may be missing."""
        rows = await self._database.read(sql.READ_AUTHOR, author=self._author, channel=self._channel)
        return PartAnswer({"author": self._author, "channel": self._channel, "numbers": rows[0] if rows else None})


class SpikePart:
    """A spike: why, by whom, who was told, and the minutes around it."""

    seconds = 2.0

    def __init__(self, database: ReadsRows, spike: str) -> None:
        self._database, self._id = database, spike

    async def read(self) -> PartAnswer:
        """Reads the spike, which may be missing, with posts, minutes and deliveries."""
        read = self._database.read
        rows = await read(sql.READ_SPIKE, spike=self._id)
        if not rows:
            return PartAnswer({"spike": None})
        spike = spike_in_words(rows[0])
        before, after = AROUND_SECONDS
        since, until = spike["started_at"] - before, (spike["ended_at"] or spike["as_of"]) + after
        minutes = await read(
            sql.READ_CONVERSATION_MINUTES, conversation=spike["conversation"], since=since, until=until
        )
        posts = await posts_with_totals(self._database, spike["top_posts"][:8])
        counts = dict(zip(spike["top_posts"], spike["top_counts"], strict=False))
        others = await read(sql.READ_SPIKES_OF_CAUSE, group=spike["group_id"], spike=self._id)
        return PartAnswer(
            {
                "spike": spike | {"usual": rate_in_words(spike["expected"])},
                "posts": [post | {"said": counts[post["post_id"]]} for post in posts],
                "others": [spike_in_words(row) for row in others],
                "deliveries": await read(sql.READ_DELIVERIES, spike=self._id),
                "minutes": as_columns(sql.READ_CONVERSATION_MINUTES, minutes, since),
            }
        )

"""Facts of posts: author, channel, address and text, for lists and for the view of a post."""

from collections.abc import Iterable
from typing import Any, Final

from pipeline.page import sql
from pipeline.page.feeds import PartAnswer
from pipeline.page.query import PageRow, ReadsRows
from schemas.alert_words import name_of, web_link

EXCERPT: Final = 400
"""Characters of a post's text that lists show."""


class PostFacts:
    """Facts of posts by id."""

    def __init__(self, database: ReadsRows) -> None:
        self._database = database

    async def of(self, posts: Iterable[str]) -> dict[str, PageRow]:
        """Returns the facts of posts whose own event has come."""
        wanted = tuple(dict.fromkeys(posts))
        if not wanted:
            return {}
        rows = await self._database.read(sql.READ_POSTS, posts=wanted)
        return {row["post_id"]: shown_facts(row) for row in rows}


def shown_facts(row: PageRow) -> PageRow:
    """Returns the facts with conversations as links, and the address only where it leads to the web."""
    keys = [key for key in row["conversations"] if not key.startswith(("author:", "thread:"))]
    return row | {
        "url": web_link(row["url"]),
        "text": row["text"][:EXCERPT],
        "conversations": [{"key": key, "name": name_of(key)} for key in keys[:12]],
    }


async def posts_with_totals(database: ReadsRows, posts: list[str]) -> list[PageRow]:
    """Returns totals and facts of posts, in the order given."""
    if not posts:
        return []
    totals = {row["post_id"]: row for row in await database.read(sql.READ_TOTALS, posts=tuple(posts))}
    facts = await PostFacts(database).of(posts)
    nothing: dict[str, Any] = dict.fromkeys(sql.READ_TOTALS.columns, 0)
    return [nothing | totals.get(post, {}) | {"post_id": post, "facts": facts.get(post)} for post in posts]


class FoundPostsPart:
    """The posts found by a query, with totals."""

    seconds = 4.0

    def __init__(self, database: ReadsRows, query: Any, **params: Any) -> None:
        self._database, self._query, self._params = database, query, params

    async def read(self) -> PartAnswer:
        """Reads the posts; other columns of the query stay beside the totals."""
        found = await self._database.read(self._query, **self._params)
        posts = await posts_with_totals(self._database, [row["post_id"] for row in found])
        return PartAnswer([post | {"found": row} for post, row in zip(posts, found, strict=True)])

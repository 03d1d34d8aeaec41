"""Search for a post, an author or a conversation by what people type."""

import asyncio
from typing import Any, Final

from pipeline.page import sql
from pipeline.page.query import ReadsRows
from schemas.alert_words import name_of
from schemas.folding import fold_name, fold_tag

LONGEST: Final = 300
_KINDS: Final = ("hashtag", "brand", "mention", "label")


async def search(database: ReadsRows, text: str) -> dict[str, Any]:
    """Returns posts, authors and conversations that a text names. Raises EngagementError."""
    text = text.strip()[:LONGEST]
    if not text:
        return {"posts": [], "authors": [], "conversations": []}
    posts, authors, conversations = await asyncio.gather(
        database.read(sql.FIND_POSTS, exact=text),
        database.read(sql.FIND_AUTHORS, name=text.removeprefix("@")),
        database.read(sql.FIND_CONVERSATIONS, prefixes=list(key_prefixes(text))),
    )
    return {
        "posts": posts,
        "authors": authors,
        "conversations": [row | {"name": name_of(row["conversation"])} for row in conversations],
    }


def key_prefixes(text: str) -> tuple[str, ...]:
    """Returns the beginnings of the keys of conversations that a text may mean.

    >>> key_prefixes("#Acme"), key_prefixes("@Bob"), key_prefixes("brand:acme")
    (('hashtag:acme',), ('mention:bob',), ('brand:acme',))
    >>> key_prefixes("acme")
    ('hashtag:acme', 'brand:acme', 'mention:acme', 'label:acme')
    """
    kind, colon, name = text.partition(":")
    if colon and kind in (*_KINDS, "author", "thread"):
        return (f"{kind}:{name}",)
    if text.startswith("#"):
        return ("hashtag:" + fold_tag(text, "#"),)
    if text.startswith("@"):
        return ("mention:" + fold_tag(text, "@"),)
    return tuple(f"{kind}:{fold_name(text)}" for kind in _KINDS)

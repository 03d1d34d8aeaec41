"""The view of a post: its numbers, forecast and what came true, cascade and thread."""

from bisect import bisect_right
from itertools import accumulate
from typing import Any, Final

from pipeline.brands import Brands
from pipeline.page import sql
from pipeline.page.feeds import PartAnswer
from pipeline.page.parts.cascade import drawn_cascade
from pipeline.page.parts.posts import shown_facts
from pipeline.page.parts.thread import shown_thread
from pipeline.page.parts.trees import build_trees
from pipeline.page.parts.words import came_true, forecast_in_words, reasons_of_rise
from pipeline.page.query import PageRow, ReadsRows

MOST_EVENTS: Final = 60_000
"""Shares and comments of which trees are drawn; beyond, the numbers alone are shown."""

MOST_FORECASTS: Final = 200


class PostPart:
    """The facts and numbers of a post."""

    seconds = 1.0

    def __init__(self, database: ReadsRows, post: str) -> None:
        self._database, self._post = database, post

    async def read(self) -> PartAnswer:
        """Reads facts and metrics; both may be missing."""
        facts = await self._database.read(sql.READ_POSTS, posts=(self._post,))
        metrics = await self._database.read(sql.READ_POST_METRICS, post=self._post)
        row = metrics[0] if metrics else None
        content: PageRow = {"facts": shown_facts(facts[0]) if facts else None, "metrics": row}
        if row is not None:
            content |= {"reasons": reasons_of_rise(row), "forecast": forecast_in_words(row)}
        return PartAnswer(content)


class ForecastPart:
    """The course of a post's shares, and earlier forecasts beside the truth."""

    seconds = 3.0

    def __init__(self, database: ReadsRows, post: str) -> None:
        self._database, self._post = database, post

    async def read(self) -> PartAnswer:
        """Reads panes, forecasts and the age of the post."""
        panes = (await self._database.read(sql.READ_POST_MINUTES, post=self._post))[::-1]
        forecasts = await self._database.read(sql.READ_FORECASTS, post=self._post)
        facts = await self._database.read(sql.READ_POSTS, posts=(self._post,))
        fresh = (await self._database.read(sql.READ_FRESHNESS))[0]
        created = facts[0]["created_at"] if facts else None
        content: dict[str, Any] = {
            "created_at": created,
            "minutes": {name: [row[name] for row in panes] for name in sql.READ_POST_MINUTES.columns},
            "forecasts": _thinned(forecasts),
            "truth": [],
        }
        if created is not None:
            ends = [row["minute"] + 60 for row in panes]
            shares = list(accumulate((row["shares"] for row in panes), initial=0))
            until = fresh["final_until"] or fresh["newest"] or 0

            def shares_at(at: float) -> int | None:
                return None if at > until else shares[bisect_right(ends, at)]

            for row in forecasts:
                row["due"] = 2 * row["at"] - created
            content["truth"] = came_true(_at_doublings(forecasts, created), shares_at)
        return PartAnswer(content)


class TreesPart:
    """The cascade and the thread of a post."""

    seconds = 1.5

    def __init__(self, database: ReadsRows, brands: Brands, post: str) -> None:
        self._database, self._brands, self._post = database, brands, post

    async def read(self) -> PartAnswer:
        """Reads the shares and comments of the log, and builds both trees."""
        rows = await self._database.read(sql.READ_TREE_EVENTS, post=self._post, most=MOST_EVENTS + 1)
        if len(rows) > MOST_EVENTS:
            return PartAnswer({"truncated": MOST_EVENTS})
        facts = await self._database.read(sql.READ_POSTS, posts=(self._post,))
        author = facts[0]["author_id"] if facts else ""
        accounts = self._brands.turn_accounts(author) | {author}
        trees = build_trees(rows, self._post)
        speaks = accounts.__contains__ if author else None
        return PartAnswer(
            {"cascade": drawn_cascade(trees["share"]), "thread": shown_thread(trees["comment"], speaks)},
        )


def _thinned(rows: list[PageRow]) -> list[PageRow]:
    """Returns at most MOST_FORECASTS rows, always the last."""
    step = max(1, -(-len(rows) // MOST_FORECASTS))
    return rows[::-1][::step][::-1]


def _at_doublings(forecasts: list[PageRow], created: float) -> list[PageRow]:
    """Returns the first forecast at each doubling of the age from 10 minutes on."""
    chosen, age = [], 600.0
    for row in forecasts:
        if row["at"] - created >= age:
            chosen.append(row)
            while row["at"] - created >= age:
                age *= 2
    return chosen

"""The first view: what rises and why, what is said in each minute, spikes, brands, and who waits for an answer."""

import time
from typing import Any, Final

from pipeline.page import sql
from pipeline.page.feeds import PartAnswer
from pipeline.page.parts.minutes import SHOWN_SECONDS
from pipeline.page.parts.posts import PostFacts
from pipeline.page.parts.words import reasons_of_rise, trend_of
from pipeline.page.query import PageRow, ReadsRows
from schemas.alert_words import in_digits, name_of, rate_in_words


class FreshnessPart:
    """The freshness and finality of all numbers, also of an empty system."""

    seconds = 1.0

    def __init__(self, database: ReadsRows) -> None:
        self._database = database

    async def read(self) -> PartAnswer:
        """Reads the newest stored row and the end of the closed minutes."""
        row = (await self._database.read(sql.READ_FRESHNESS))[0]
        return PartAnswer(row | {"empty": row["changed_at"] is None})


class RisingPart:
    """The posts with most shares expected in the next hour."""

    seconds = 2.0

    def __init__(self, database: ReadsRows) -> None:
        self._database = database
        self._facts = PostFacts(database)

    async def read(self) -> PartAnswer:
        """Reads the posts and says why each rises."""
        rows = await self._database.read(sql.READ_RISING)
        facts = await self._facts.of(row["post_id"] for row in rows)
        return PartAnswer(
            [
                row | {"facts": facts.get(row["post_id"]), "reasons": reasons_of_rise(row), "trend": trend_of(row)}
                for row in rows
            ]
        )


class WaitingPart:
    """Posts of the last hour under which people wait for an answer."""

    seconds = 5.0

    def __init__(self, database: ReadsRows) -> None:
        self._database = database
        self._facts = PostFacts(database)

    async def read(self) -> PartAnswer:
        """Reads the posts with most unanswered comments."""
        rows = await self._database.read(sql.READ_WAITING)
        facts = await self._facts.of(row["post_id"] for row in rows)
        return PartAnswer([row | {"facts": facts.get(row["post_id"])} for row in rows])


class RowsPart:
    """The unchanged rows of a query without parameters."""

    def __init__(self, database: ReadsRows, query: Any, seconds: float) -> None:
        self._database, self._query, self.seconds = database, query, seconds

    async def read(self) -> PartAnswer:
        """Reads the rows."""
        return PartAnswer(await self._database.read(self._query))


class SpikesPart:
    """The spikes of a day, grouped by cause."""

    seconds = 2.0

    def __init__(self, database: ReadsRows) -> None:
        self._database = database

    async def read(self) -> PartAnswer:
        """Reads spikes of the last day."""
        rows = await self._database.read(sql.READ_SPIKES, since=int(time.time()) - SHOWN_SECONDS)
        return PartAnswer(by_cause(rows))


_KINDS: Final = ("hashtag", "brand", "label", "mention", "author", "thread")
"""Kinds of conversations, those first by which people know a cause best."""

_SEVERITY: Final = {"critical": 3, "warning": 2, "notice": 1}


def by_cause(rows: list[PageRow]) -> list[PageRow]:
    """Puts spikes of one cause together: the one that people know best speaks for them. The newest cause first."""
    causes: dict[str, list[PageRow]] = {}
    for row in rows:
        causes.setdefault(row["group_id"], []).append(row)
    told = []
    for spikes in causes.values():
        first = min(spikes, key=lambda row: (_KINDS.index(_kind(row)), -row["observed"], row["spike_id"]))
        open_now = any(row["ended_at"] is None for row in spikes)
        severity = max((row["severity"] for row in spikes), key=lambda word: _SEVERITY.get(word, 0))
        told.append(spike_in_words(first) | {"others": len(spikes) - 1, "open": open_now, "severity": severity})
    return sorted(told, key=_weight)[:40]


def _weight(row: PageRow) -> tuple[bool, int, int]:
    """Orders causes: those that go on, the severe, the new."""
    return not row["open"], -_SEVERITY.get(row["severity"], 0), -row["started_at"]


def spike_in_words(row: PageRow) -> PageRow:
    """Returns a spike in the page's words: named, and compared with what is usual."""
    size = rate_in_words(row["observed"])
    if row["ratio"] is None:
        comparison = f"{size}, where usually nothing is said"
    else:
        comparison = f"{size}, {in_digits(row['ratio'])} times the usual {rate_in_words(row['expected'])}"
    return row | {"name": name_of(row["conversation"]), "comparison": comparison, "open": row["ended_at"] is None}


def _kind(row: PageRow) -> str:
    kind = row["conversation"].partition(":")[0]
    return kind if kind in _KINDS else _KINDS[-1]

"""Evidence of spikes from `conversation_posts` and `posts`: voices and channels against the day before, the posts and
authors with most of the counts, and the SQL statement that proves each count.

A few queries serve many spikes together, each of bounded time and memory. A value that cannot be found out within the
bounds is left out, and the alert names it. So no alert waits long for its evidence.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from pipeline.clickhouse.client import ClickHouse
from pipeline.errors import Exhausted, Refused, SchemaDrift
from processors.spikes.detection.life import Change
from processors.spikes.evidence_queries import (
    PAST_DAYS,
    REQUEST_COLUMNS,
    counts_query,
    evidence_sql,
    past_query,
    posts_query,
    voices_of_a_day_query,
    voices_of_minutes_query,
)
from processors.spikes.policy import DAY_MINUTES, LEAST_USUAL
from processors.spikes.ports import Evidence
from schemas.tables import POSTS

NAMED_POSTS: Final = 5
"""Posts whose authors are named."""

BUSY_RATE: Final = 10.0
"""Usual counts a minute from which only some spans of the day before are read ..."""

BUSY_STEP_MINUTES: Final = 60
"""... one in so many minutes."""

STATEMENT_SECONDS: Final = 2
STATEMENT_BYTES: Final = 1 << 30
EVIDENCE_SECONDS: Final = 3.0
"""After so long no further query is sent. Where a query about many spikes fails, one is sent for each."""

NO_TIME: Final = "ClickHouse ran out of memory or time"

_Rows = dict[int, list[tuple[Any, ...]]]
"""The rows of an answer, by the number of the change."""


class _Request(NamedTuple):
    """A row of the table `wanted`: a change, and the spans of minutes to read for the change.

    Span 0 is that of the change: the `scale` minutes before `until`. The other `spans` are those of the day before,
    each `step` minutes before the last.
    """

    number: int
    conversation: str
    until: int
    scale: int
    step: int
    spans: int


class ClickHouseEvidence:
    """An EvidenceSource on one connection. One thread calls all methods. `database` is named in the SQL statement of an
    alert, so that the statement can be run anywhere."""

    def __init__(
        self,
        clickhouse: ClickHouse,
        database: str,
        limits: tuple[int, int] = (STATEMENT_SECONDS, STATEMENT_BYTES),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limits` of a query: seconds, and bytes of the server's memory."""
        self._clickhouse, self._database, self._clock = clickhouse, database, clock
        # The queries choose rows by the table's key alone, which all versions of a row share, so PREWHERE is safe with
        # FINAL, and voices are read of the chosen rows only.
        self._settings = (
            f" SETTINGS max_execution_time = {limits[0]}, max_memory_usage = {limits[1]}, "
            "optimize_move_to_prewhere_if_final = 1"
        )

    def collect(self, changes: Sequence[Change]) -> list[Evidence]:
        if not changes:
            return []
        self._until = self._clock() + EVIDENCE_SECONDS
        requests = [_request(number, change) for number, change in enumerate(changes)]
        counts, no_counts = self._ask(counts_query(), requests)
        posts, no_posts = self._ask(posts_query(), requests)
        sampled = [request for request in requests if request.step > request.scale]
        whole = [request for request in requests if request.step == request.scale]
        by_span, no_day = self._ask(voices_of_minutes_query(), sampled)
        more, no_more = self._ask(voices_of_a_day_query(), whole)
        by_span, no_day = by_span | more, no_day | no_more
        # Without the day before only the minutes of the spike are read.
        without_day = [request._replace(spans=0) for request in requests if request.number in no_day]
        now, no_voices = self._ask(voices_of_minutes_query(), without_day)
        facts, no_facts = self._facts(posts)
        unusual = [request for request, change in zip(requests, changes, strict=True) if change.expected < LEAST_USUAL]
        past, no_past = self._ask(past_query(), unusual)
        evidence = []
        for number, change in enumerate(changes):
            spans = {span: (voices, channels) for span, voices, channels in (by_span | now).get(number, ())}
            voices, channels = spans.pop(0, (0.0, 0))
            top = posts.get(number, [])
            ids = [post_id for post_id, *_ in top]
            authors = (facts[post_id][0] for post_id in ids[:NAMED_POSTS] if post_id in facts)
            seen_before, first = past.get(number, [(0, None)])[0]
            is_new = change.expected < LEAST_USUAL and number not in no_past
            observed = counts[number][0][0] if number in counts else 0.0
            missing = {
                "its count but for what the detector saw": no_counts.get(number),
                "which posts and authors made it": no_posts.get(number),
                "who wrote them": no_facts if top else None,
                "how many voices it has": no_voices.get(number),
                "how many voices are usual": no_day.get(number),
                "how often it was seen before": no_past.get(number),
            }
            evidence.append(
                Evidence(
                    observed=change.seen / change.scale if number in no_counts else observed,
                    total=max(top[0][1], 0) if top else 0,
                    most=max(top[0][2], 0) if top else 0,
                    voices=None if number in no_voices else round(voices),
                    voices_usual=None if number in no_day else _mean(requests[number], (v for v, _ in spans.values())),
                    channels=None if number in no_voices else int(channels),
                    channels_usual=None
                    if number in no_day
                    else _mean(requests[number], (c for _, c in spans.values())),
                    top_posts=tuple(ids),
                    top_counts=tuple(row[3] for row in top),
                    top_urls=tuple(facts[post_id][1] if post_id in facts else "" for post_id in ids),
                    top_authors=tuple(dict.fromkeys(filter(None, authors))),
                    sql=evidence_sql(self._database, change.conversation, change.seen_until, change.scale),
                    missing=tuple(f"{what} is not known: {why}" for what, why in missing.items() if why),
                    seen_before=seen_before if is_new else None,
                    seen_days=_days_since(first, change.started) if is_new else None,
                )
            )
        return evidence

    def _ask(self, sql: str, requests: Sequence[_Request]) -> tuple[_Rows, dict[int, str]]:
        """Returns the rows of an answer by their first column, and the reasons for the changes without an answer."""
        rows: _Rows = {}
        failed: dict[int, str] = {}
        if not requests:
            return rows, failed
        if self._clock() >= self._until:
            return rows, dict.fromkeys((request.number for request in requests), NO_TIME)
        try:
            for number, *values in zip(*self._select(sql, {"wanted": (REQUEST_COLUMNS, requests)}), strict=True):
                rows.setdefault(number, []).append(tuple(values))
        except (Exhausted, Refused) as error:
            why = _why(error)
            rows.clear()
            if len(requests) == 1:
                return rows, {requests[0].number: why}
            for request in requests:
                answer, unknown = self._ask(sql, [request])
                rows |= answer
                failed |= unknown
        return rows, failed

    def _facts(self, posts: _Rows) -> tuple[dict[str, tuple[str, str]], str | None]:
        """Returns author and address of posts, and why they are not known."""
        post_ids = list(dict.fromkeys(row[0] for rows in posts.values() for row in rows))
        if not post_ids:
            return {}, None
        sql = (
            "SELECT post_id, arrayFirst(key -> startsWith(key, 'author:'), conversations), url "
            f"FROM {POSTS.name} FINAL WHERE post_id IN (SELECT post_id FROM tops)"
        )
        try:
            columns = self._select(sql, {"tops": ("post_id String", [(post_id,) for post_id in post_ids])})
        except (Exhausted, Refused) as error:
            return {}, _why(error)
        rows = zip(*columns, strict=True) if columns else ()
        return {post_id: (author, url) for post_id, author, url in rows}, None

    def _select(self, sql: str, tables: dict[str, Any]) -> list[Any]:
        return self._clickhouse.select(sql + self._settings, tables=tables)


def _request(number: int, change: Change) -> _Request:
    """Returns the request of a change: of a busy conversation only some spans of the day before are read."""
    scale = change.scale
    step = max(scale, BUSY_STEP_MINUTES) if change.expected >= BUSY_RATE else scale
    return _Request(number, change.conversation, change.seen_until, scale, step, DAY_MINUTES // step)


def _mean(request: _Request, values: Iterable[float]) -> float:
    return sum(values) / request.spans


def _days_since(first: int | None, minute: int) -> float:
    return float(PAST_DAYS) if first is None else (minute - first) / DAY_MINUTES


def _why(error: Exhausted | Refused) -> str:
    if isinstance(error, SchemaDrift):
        raise error
    return NO_TIME if isinstance(error, Exhausted) else "ClickHouse refuses to tell"

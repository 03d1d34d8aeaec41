"""Evidence of spikes from `conversation_posts` and `posts`: voices and channels against the day before, the posts and
authors with most of the counts, and the SQL statement that proves each count.

A few queries serve many spikes together, each of bounded time and memory. A value that cannot be found out within the
bounds is left out, and the alert names it. So no alert waits long for its evidence.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.literals import string_literal
from pipeline.errors import Exhausted, Refused, SchemaDrift
from processors.spikes.detection.life import Change
from processors.spikes.policy import DAY_MINUTES
from processors.spikes.ports import Evidence
from schemas.tables import CONVERSATION_POSTS, POSTS

TOP_POSTS: Final = 5
NO_THETA: Final = 2**64 - 1
"""The theta of a set that keeps all hashes."""

BUSY_RATE: Final = 10.0
"""Usual counts a minute from which only some spans of the day before are read ..."""

BUSY_STEP_MINUTES: Final = 60
"""... one in so many minutes."""

STATEMENT_SECONDS: Final = 2
STATEMENT_BYTES: Final = 1 << 30
EVIDENCE_SECONDS: Final = 3.0
"""After so long no further query is sent. Where a query about many spikes fails, one is sent for each."""

NO_TIME: Final = "ClickHouse ran out of memory or time"

REQUEST_COLUMNS: Final = "number UInt32, conversation String, until UInt32, scale UInt32, step UInt32, spans UInt32"

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
        counts, no_counts = self._ask(_counts(), requests)
        posts, no_posts = self._ask(_posts(), requests)
        sampled = [request for request in requests if request.step > request.scale]
        whole = [request for request in requests if request.step == request.scale]
        by_span, no_day = self._ask(_voices_of_minutes(), sampled)
        more, no_more = self._ask(_voices_of_a_day(), whole)
        by_span, no_day = by_span | more, no_day | no_more
        # Without the day before only the minutes of the spike are read.
        without_day = [request._replace(spans=0) for request in requests if request.number in no_day]
        now, no_voices = self._ask(_voices_of_minutes(), without_day)
        authors, no_authors = self._authors(posts)
        evidence = []
        for number, change in enumerate(changes):
            spans = {span: (voices, channels) for span, voices, channels in (by_span | now).get(number, ())}
            voices, channels = spans.pop(0, (0.0, 0))
            top = posts.get(number, [])
            observed = counts[number][0][0] if number in counts else 0.0
            missing = {
                "its count but for what the detector saw": no_counts.get(number),
                "which posts and authors made it": no_posts.get(number),
                "who wrote them": no_authors if top else None,
                "how many voices it has": no_voices.get(number),
                "how many voices are usual": no_day.get(number),
            }
            evidence.append(
                Evidence(
                    observed=change.seen / change.scale if number in no_counts else observed,
                    total=max(top[0][1], 0) if top else 0,
                    most=max(top[0][2], 0) if top else 0,
                    voices=None if number in no_voices else round(voices),
                    voices_usual=None if number in no_day else _mean(requests[number], (v for v, _ in spans.values())),
                    channels=int(channels),
                    channels_usual=_mean(requests[number], (c for _, c in spans.values())),
                    top_posts=tuple(post_id for post_id, *_ in top),
                    top_authors=tuple(dict.fromkeys(authors[post_id] for post_id, *_ in top if authors.get(post_id))),
                    sql=evidence_sql(self._database, change.conversation, change.seen_until, change.scale),
                    missing=tuple(f"{what} is not known: {why}" for what, why in missing.items() if why),
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

    def _authors(self, posts: _Rows) -> tuple[dict[str, str], str | None]:
        post_ids = list(dict.fromkeys(row[0] for rows in posts.values() for row in rows))
        if not post_ids:
            return {}, None
        sql = (
            f"SELECT post_id, arrayFirst(key -> startsWith(key, 'author:'), conversations) FROM {POSTS.name} FINAL "
            "WHERE post_id IN (SELECT post_id FROM tops)"
        )
        try:
            columns = self._select(sql, {"tops": ("post_id String", [(post_id,) for post_id in post_ids])})
        except (Exhausted, Refused) as error:
            return {}, _why(error)
        return dict(zip(*columns, strict=True)) if columns else {}, None

    def _select(self, sql: str, tables: dict[str, Any]) -> list[Any]:
        return self._clickhouse.select(sql + self._settings, tables=tables)


def evidence_sql(database: str, conversation: str, until: int, scale: int) -> str:
    """Returns SQL, ready to paste: comments and posts a minute over the `scale` minutes before `until`.

    >>> print(evidence_sql("engagement", "hashtag:it's", 29_000_005, 5))
    SELECT sum(count) / 5 AS observed
    FROM (
        SELECT minute, greatest(sum(toInt64(posts) + comments - comments_retracted), 0) AS count
        FROM engagement.conversation_posts FINAL
        WHERE conversation = 'hashtag:it\\'s'
            AND minute >= toDateTime('2025-02-19 21:20:00', 'UTC') AND minute < toDateTime('2025-02-19 21:25:00', 'UTC')
        GROUP BY minute
    )
    """
    return (
        f"SELECT sum(count) / {scale} AS observed\n"
        "FROM (\n"
        "    SELECT minute, greatest(sum(toInt64(posts) + comments - comments_retracted), 0) AS count\n"
        f"    FROM {database}.{CONVERSATION_POSTS.name} FINAL\n"
        f"    WHERE conversation = {string_literal(conversation)}\n"
        f"        AND minute >= {_time(until - scale)} AND minute < {_time(until)}\n"
        "    GROUP BY minute\n"
        ")"
    )


def _request(number: int, change: Change) -> _Request:
    """Returns the request of a change: of a busy conversation only some spans of the day before are read."""
    scale = change.scale
    step = max(scale, BUSY_STEP_MINUTES) if change.expected >= BUSY_RATE else scale
    return _Request(number, change.conversation, change.seen_until, scale, step, DAY_MINUTES // step)


def _minutes(spans: str) -> str:
    """Returns SQL: a row per minute of the first `spans` spans of each change."""
    return (
        "SELECT number, conversation, scale, span, "
        "toDateTime((until - 1 - span * step - arrayJoin(range(scale))) * 60, 'UTC') AS minute "
        f"FROM (SELECT *, arrayJoin(range({spans})) AS span FROM wanted)"
    )


def _cells(columns: str) -> str:
    return (
        f"(SELECT conversation, minute, {columns} FROM {CONVERSATION_POSTS.name} FINAL "
        "WHERE (conversation, minute) IN (SELECT conversation, minute FROM minutes)) AS cells "
        "INNER JOIN minutes USING (conversation, minute)"
    )


def _counts() -> str:
    return (
        f"WITH minutes AS ({_minutes('1')}) SELECT number, sum(greatest(count, 0)) / any(scale) FROM (SELECT number, "
        f"any(scale) AS scale, sum(counted) AS count FROM {_cells(_COUNTED)} GROUP BY number, minute) GROUP BY number"
    )


def _posts() -> str:
    """Returns SQL: the posts with the highest counts, with the sum over all posts and the maximum of one post."""
    return (
        f"WITH minutes AS ({_minutes('1')}), made AS (SELECT number, post_id, sum(counted) AS count, "
        f"sum(commented) AS comments FROM {_cells(f'post_id, {_COUNTED}, {_COMMENTED}')} "
        "GROUP BY number, post_id HAVING count > 0) "
        "SELECT number, post_id, sum(count) OVER (PARTITION BY number), max(count) OVER (PARTITION BY number) "
        f"FROM made ORDER BY number, comments DESC, count DESC, post_id LIMIT {TOP_POSTS} BY number"
    )


def _voices_of_minutes() -> str:
    """Returns SQL: voices of some spans of the day, whose minutes are listed."""
    heard = f"SELECT number, span, {_SETS} FROM {_cells(_SETS)}"
    return _voices(f"WITH minutes AS ({_minutes('spans + 1')}), heard AS ({heard})")


def _voices_of_a_day() -> str:
    """Returns SQL: voices of all spans of the day, which are too many to list their minutes."""
    heard = (
        f"SELECT number, intDiv(until - 1 - at, step) AS span, {_SETS} "
        f"FROM (SELECT conversation, intDiv(toUInt32(minute), 60) AS at, {_SETS} FROM {CONVERSATION_POSTS.name} FINAL "
        "WHERE conversation IN (SELECT conversation FROM wanted) "
        "AND minute >= (SELECT toDateTime(min(until - scale - spans * step) * 60, 'UTC') FROM wanted) "
        "AND minute < (SELECT toDateTime(max(until) * 60, 'UTC') FROM wanted)) AS cells "
        "INNER JOIN wanted USING (conversation) WHERE at < until AND at >= until - scale - spans * step"
    )
    return _voices(f"WITH heard AS ({heard})")


def _voices(heard: str) -> str:
    """Returns SQL: voices and channels of each span. Where a sketch is among the sets, voices are those below the least
    theta, divided by the theta's share of all hashes (Dasgupta et al. 2016)."""
    least = f"min(if(voices_exact = 0 AND notEmpty(voices), arrayMax(voices), {NO_THETA}))"
    return (
        f"{heard}, thetas AS (SELECT number, {least} AS theta FROM heard GROUP BY number) "
        "SELECT number, span, "
        f"uniqCombined64Array(arrayFilter(voice -> voice < theta OR theta = {NO_THETA}, voices)) "
        f"/ if(any(theta) = {NO_THETA}, 1., any(theta) / {NO_THETA + 1}.), uniqCombined64Array(channels) "
        "FROM heard INNER JOIN thetas USING (number) GROUP BY number, span"
    )


_COUNTED: Final = "toInt64(posts) + comments - comments_retracted AS counted"
_SETS: Final = "voices, voices_exact, channels"
_COMMENTED: Final = "toInt64(comments) - comments_retracted AS commented"


def _mean(request: _Request, values: Iterable[float]) -> float:
    return sum(values) / request.spans


def _why(error: Exhausted | Refused) -> str:
    if isinstance(error, SchemaDrift):
        raise error
    return NO_TIME if isinstance(error, Exhausted) else "ClickHouse refuses to tell"


def _time(minute: int) -> str:
    return f"toDateTime('{datetime.fromtimestamp(max(minute, 0) * 60, UTC):%Y-%m-%d %H:%M:%S}', 'UTC')"

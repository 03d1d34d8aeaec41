"""The SQL of the evidence: queries about the changes in the table `wanted`, and the statement that proves a count."""

from datetime import UTC, datetime
from typing import Final

from pipeline.clickhouse.literals import string_literal
from processors.spikes.policy import DAY_MINUTES
from schemas.tables import CONVERSATION_CLOSED, CONVERSATION_POSTS

TOP_POSTS: Final = 20
"""Posts by which spikes of one cause are recognised."""

PAST_DAYS: Final = 28
"""Days in which a conversation without a usual count is looked for."""

NO_THETA: Final = 2**64 - 1
"""The theta of a set that keeps all hashes."""

REQUEST_COLUMNS: Final = "number UInt32, conversation String, until UInt32, scale UInt32, step UInt32, spans UInt32"
"""The columns of `wanted` (evidence.py)."""

_COUNTED: Final = "toInt64(posts) + comments - comments_retracted AS counted"
_SETS: Final = "voices, voices_exact, channels"
_COMMENTED: Final = "toInt64(comments) - comments_retracted AS commented"


def evidence_sql(database: str, conversation: str, until: int, scale: int) -> str:
    """Returns SQL, ready to paste: comments and posts a minute over the `scale` minutes before `until`.

    >>> print(evidence_sql("engagement", "hashtag:it's", 29_000_005, 5))
    SELECT sum(count) / 5 AS observed
    FROM (
        SELECT minute, greatest(sum(toInt64(posts) + comments - comments_retracted), 0) AS count
        FROM engagement.conversation_posts_v
        WHERE conversation = 'hashtag:it\\'s'
            AND minute >= toDateTime('2025-02-19 21:20:00', 'UTC') AND minute < toDateTime('2025-02-19 21:25:00', 'UTC')
        GROUP BY minute
    )
    """
    return (
        f"SELECT sum(count) / {scale} AS observed\n"
        "FROM (\n"
        "    SELECT minute, greatest(sum(toInt64(posts) + comments - comments_retracted), 0) AS count\n"
        f"    FROM {database}.{CONVERSATION_POSTS.name}_v\n"
        f"    WHERE conversation = {string_literal(conversation)}\n"
        f"        AND minute >= {_time(until - scale)} AND minute < {_time(until)}\n"
        "    GROUP BY minute\n"
        ")"
    )


def _minutes(spans: str) -> str:
    """Returns SQL: a row per minute of the first `spans` spans of each change."""
    return (
        "SELECT number, conversation, scale, span, "
        "toDateTime((until - 1 - span * step - arrayJoin(range(scale))) * 60, 'UTC') AS minute "
        f"FROM (SELECT *, arrayJoin(range({spans})) AS span FROM wanted)"
    )


def _cells(columns: str) -> str:
    # PREWHERE, because under FINAL the server would read all columns of the granules before it looks at minutes, which
    # the sorting key has as a number.
    return (
        f"(SELECT conversation, minute, {columns} FROM {CONVERSATION_POSTS.name} FINAL "
        "PREWHERE (conversation, minute) IN (SELECT conversation, minute FROM minutes)) AS cells "
        "INNER JOIN minutes USING (conversation, minute)"
    )


def counts_query() -> str:
    return (
        f"WITH minutes AS ({_minutes('1')}) SELECT number, sum(greatest(count, 0)) / any(scale) FROM (SELECT number, "
        f"any(scale) AS scale, sum(counted) AS count FROM {_cells(_COUNTED)} GROUP BY number, minute) GROUP BY number"
    )


def posts_query() -> str:
    """Returns SQL: the posts with the highest counts, with the sum over all posts and the maximum of one post."""
    return (
        f"WITH minutes AS ({_minutes('1')}), made AS (SELECT number, post_id, sum(counted) AS count, "
        f"sum(commented) AS comments FROM {_cells(f'post_id, {_COUNTED}, {_COMMENTED}')} "
        "GROUP BY number, post_id HAVING count > 0) "
        "SELECT number, post_id, sum(count) OVER (PARTITION BY number), max(count) OVER (PARTITION BY number), count "
        f"FROM made ORDER BY number, comments DESC, count DESC, post_id LIMIT {TOP_POSTS} BY number"
    )


def past_query() -> str:
    """Returns SQL: the counts of the weeks before each spike, as they were closed, and the minute of the first."""
    first = f"until - scale - {PAST_DAYS * DAY_MINUTES}"
    return (
        "SELECT number, sum(count), intDiv(toUInt32(min(minute)), 60) FROM (SELECT conversation, minute, count "
        f"FROM {CONVERSATION_CLOSED.name} FINAL WHERE conversation IN (SELECT conversation FROM wanted)) AS closed "
        "INNER JOIN wanted USING (conversation) WHERE minute < toDateTime((until - scale) * 60, 'UTC') "
        f"AND minute >= toDateTime(({first}) * 60, 'UTC') AND count > 0 GROUP BY number"
    )


def voices_of_minutes_query() -> str:
    """Returns SQL: voices of some spans of the day, whose minutes are listed."""
    heard = f"SELECT number, span, {_SETS} FROM {_cells(_SETS)}"
    return _voices(f"WITH minutes AS ({_minutes('spans + 1')}), heard AS ({heard})")


def voices_of_a_day_query() -> str:
    """Returns SQL: voices of all spans of the day, which are too many to list their minutes."""
    heard = (
        f"SELECT number, intDiv(until - 1 - at, step) AS span, {_SETS} "
        f"FROM (SELECT conversation, intDiv(toUInt32(minute), 60) AS at, {_SETS} FROM {CONVERSATION_POSTS.name} FINAL "
        "PREWHERE conversation IN (SELECT conversation FROM wanted) "
        "AND minute >= (SELECT toDateTime(min(until - scale - spans * step) * 60, 'UTC') FROM wanted) "
        "AND minute < (SELECT toDateTime(max(until) * 60, 'UTC') FROM wanted)) AS cells "
        "INNER JOIN wanted USING (conversation) WHERE at < until AND at >= until - scale - spans * step"
    )
    return _voices(f"WITH heard AS ({heard})")


def _voices(heard: str) -> str:
    """Returns SQL: voices and channels of each span. Where a sketch is among the sets, voices are those below the least
    theta, divided by the theta's share of all hashes (Dasgupta et al. 2016)."""
    # A window, because a subquery of its own for the thetas would read all cells again.
    least = f"min(if(voices_exact = 0 AND notEmpty(voices), arrayMax(voices), {NO_THETA})) OVER (PARTITION BY number)"
    return (
        f"{heard} SELECT number, span, "
        f"uniqCombined64Array(arrayFilter(voice -> voice < theta OR theta = {NO_THETA}, voices)) "
        f"/ if(any(theta) = {NO_THETA}, 1., any(theta) / {NO_THETA + 1}.), uniqCombined64Array(channels) "
        f"FROM (SELECT number, span, {_SETS}, {least} AS theta FROM heard) GROUP BY number, span"
    )


def _time(minute: int) -> str:
    return f"toDateTime('{datetime.fromtimestamp(max(minute, 0) * 60, UTC):%Y-%m-%d %H:%M:%S}', 'UTC')"

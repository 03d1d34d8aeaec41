"""What a spike is made of, from `conversation_posts` and `posts`: voices and channels against the day before, the posts
and authors that made it, and the statement that proves its count. Two queries a change of state."""

from datetime import UTC, datetime
from typing import Final

from pipeline.clickhouse import ClickHouse
from processors.spikes.life import Change
from processors.spikes.ports import Facts
from schemas.tables import CONVERSATION_POSTS, POSTS

DAY_MINUTES: Final = 1440
TOP: Final = 5
EVERYTHING: Final = 2**64 - 1
"""No theta: all hashes are kept."""


class ClickHouseWitness:
    """A Witness on one connection. One thread calls it. `database` is named in the statement, which is pasted
    anywhere."""

    def __init__(self, clickhouse: ClickHouse, database: str) -> None:
        self._clickhouse, self._database = clickhouse, database

    def facts(self, change: Change) -> Facts:
        sql = evidence_of(self._database, change.conversation, change.seen_until, change.scale)
        spans, voices, channels = self._clickhouse.select(_spans(change)) or [[], [], []]
        heard = dict(zip(spans, zip(voices, channels, strict=True), strict=True))
        now = heard.pop(0, (0.0, 0))
        days_spans = DAY_MINUTES // change.scale
        found = self._clickhouse.select(_top(change, sql)) or [[]] * 6
        posts, observed, total, most, authors, _ = found
        return Facts(
            observed=float(observed[0]) if observed else 0.0,
            total=max(int(total[0]), 0) if total else 0,
            most=max(int(most[0]), 0) if most else 0,
            voices=round(now[0]),
            voices_usual=sum(each[0] for each in heard.values()) / days_spans,
            channels=int(now[1]),
            channels_usual=sum(each[1] for each in heard.values()) / days_spans,
            top_posts=tuple(posts),
            top_authors=tuple(dict.fromkeys(author for author in authors if author)),
            sql=sql,
        )


def evidence_of(database: str, conversation: str, until: int, scale: int) -> str:
    """SQL, ready to paste: comments and posts a minute over the `scale` minutes before `until`.

    >>> print(evidence_of("engagement", "hashtag:it's", 29_000_005, 5))
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
        f"    WHERE conversation = {quote(conversation)}\n"
        f"        AND minute >= {_time(until - scale)} AND minute < {_time(until)}\n"
        "    GROUP BY minute\n"
        ")"
    )


def quote(text: str) -> str:
    """A literal of ClickHouse's SQL, on one line.

    >>> print(quote("a'b"))
    'a\\'b'
    """
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + escaped.replace("\0", "\\0").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + "'"


def _spans(change: Change) -> str:
    """Voices and channels of the span at hand, 0, and of those of the day before it, from 1 on. Where a sketch is among
    the sets, voices are those below the least theta, over its share of all hashes (Dasgupta et al. 2016)."""
    days = DAY_MINUTES // change.scale * change.scale
    where = _where(change.conversation, change.seen_until - change.scale - days, change.seen_until)
    theta = f"min(if(voices_exact = 0 AND notEmpty(voices), arrayMax(voices), {EVERYTHING}))"
    kept = f"arrayFilter(voice -> voice < theta OR theta = {EVERYTHING}, voices)"
    return (
        f"WITH (SELECT {theta} FROM {CONVERSATION_POSTS.name} FINAL WHERE {where}) AS theta "
        f"SELECT intDiv({change.seen_until - 1} - intDiv(toUInt32(minute), 60), {change.scale}) AS span, "
        f"uniqCombined64Array({kept}) / if(theta = {EVERYTHING}, 1., theta / {EVERYTHING + 1}.), "
        f"uniqCombined64Array(channels) FROM {CONVERSATION_POSTS.name} FINAL WHERE {where} GROUP BY span"
    )


def _top(change: Change, sql: str) -> str:
    where = _where(change.conversation, change.seen_until - change.scale, change.seen_until)
    return (
        "WITH made AS (SELECT post_id, sum(toInt64(posts) + comments - comments_retracted) AS counted, "
        f"sum(toInt64(comments) - comments_retracted) AS commented FROM {CONVERSATION_POSTS.name} FINAL "
        f"WHERE {where} GROUP BY post_id HAVING counted > 0), "
        f"best AS (SELECT * FROM made ORDER BY commented DESC, counted DESC, post_id LIMIT {TOP}) "
        f"SELECT best.post_id, ({sql}), (SELECT sum(counted) FROM made), (SELECT max(counted) FROM made), "
        "arrayFirst(key -> startsWith(key, 'author:'), known.conversations), best.commented AS rank "
        f"FROM best LEFT JOIN (SELECT post_id, conversations FROM {POSTS.name} FINAL "
        "WHERE post_id IN (SELECT post_id FROM best)) AS known ON known.post_id = best.post_id "
        "ORDER BY rank DESC, best.counted DESC, best.post_id"
    )


def _where(conversation: str, since: int, until: int) -> str:
    return f"conversation = {quote(conversation)} AND minute >= {_time(since)} AND minute < {_time(until)}"


def _time(minute: int) -> str:
    return f"toDateTime('{datetime.fromtimestamp(max(minute, 0) * 60, UTC):%Y-%m-%d %H:%M:%S}', 'UTC')"

"""Finished posts, and the versions learned from these posts, in ClickHouse.

All times are minutes since 1970. What is read of a post is what had occurred before a given minute, so an answer
follows from the set of events; events that come late are part of later answers.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from pipeline.clickhouse.client import ClickHouse
from processors.columnar.arrays import Array
from processors.virality.fit.cascades import Cascades
from processors.virality.fit.finished import cascades_from_panes
from processors.virality.fit.versions import LEAST_SHARES
from schemas.tables import FORECAST_HABITS, FORECAST_VERSIONS, POSTS

_MADE: Final = "toUInt32(intDiv(toUnixTimestamp64Micro(created_at), 60000000))"
_AT: Final = "toUInt32(intDiv(toUnixTimestamp(minute), 60))"

_REACHED: Final = f"""
SELECT post_id, any(made) AS made_at
FROM
(
    SELECT post_id, {_AT} AS at, toInt64(shares) - shares_retracted AS net FROM post_minutes FINAL
    PREWHERE minute < toDateTime((%(until)s + %(age)s) * 60, 'UTC')
        AND minute >= toDateTime(greatest(%(after)s, 0) * 60, 'UTC')
) AS m
INNER JOIN
(
    SELECT post_id, {_MADE} AS made FROM posts FINAL
    WHERE channel = %(channel)s AND {_MADE} > %(after)s AND {_MADE} <= %(until)s
) AS p USING (post_id)
WHERE m.at >= p.made AND m.at < p.made + %(age)s
GROUP BY post_id HAVING sum(net) >= {LEAST_SHARES}
"""

_HAS_A_POST: Final = (
    f"(channel, author_id) IN (SELECT channel, author_id FROM {POSTS.name} "
    "WHERE author_id IN (SELECT author_id FROM sent))"
)

_LOOKED_BACK: Final = (10 * 1440, 100 * 1440)
"""Minutes within which the newest posts are looked for first, so that a busy channel's older panes are not read."""

_PANES: Final = f"""
SELECT post_id, author_id, {_MADE} AS made, at, added, retracted
FROM
(
    SELECT post_id, {_AT} AS at, toInt64(shares) AS added, toInt64(shares_retracted) AS retracted
    FROM post_minutes FINAL WHERE post_id IN (SELECT post_id FROM wanted) AND {_AT} < %(minute)s
) AS m
INNER JOIN (SELECT post_id, author_id, created_at FROM posts FINAL WHERE post_id IN (SELECT post_id FROM wanted)) AS p
USING (post_id)
ORDER BY post_id, at
"""


class StoredVersion(NamedTuple):
    """A version as it is stored: the minute from which it holds, the posts that had finished by then (0: it rests on
    posts a day old), the digest of those that it rests on, who learned it, and its parameters by step of age."""

    holds_from: int
    finished: int
    digest: int
    learned_by: str
    here: tuple[tuple[float, ...], ...]


class CalibrationStore:
    """Posts and versions on a connection for lists. Blocks; raises Unavailable, Refused. One thread calls it."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    def channels(self) -> list[str]:
        """Reads the channels on which posts were made."""
        found = self._clickhouse.select("SELECT DISTINCT toString(channel) FROM posts WHERE channel != '' ORDER BY 1")
        return list(found[0]) if found else []

    def reached(self, channel: str, age: int, after: int, until: int) -> Array:
        """Reads the minutes in which those posts were made, after a minute and until another, that reached an age in
        minutes with enough shares, in their order."""
        _, made = self._posts(f"{_REACHED} ORDER BY made_at, post_id", channel, age, after, until)
        return made

    def newest(self, channel: str, age: int, until: int, count: int) -> list[str]:
        """Reads the last posts, at most `count`, that reached an age in minutes with enough shares and were made until
        a minute, in the order in which they reached it."""
        posts: list[str] = []
        for minutes in (*_LOOKED_BACK, until + 1):
            newest_first = f"{_REACHED} ORDER BY made_at DESC, post_id DESC LIMIT {int(count)}"
            posts, _ = self._posts(newest_first, channel, age, max(until - minutes, -1), until)
            if len(posts) == count:
                break
        return posts[::-1]

    def cascades(self, post_ids: Sequence[str], minute: int) -> Cascades:
        """Reads the shares of these posts as known at a minute."""
        columns = self._clickhouse.select(
            _PANES, {"minute": minute}, tables={"wanted": ("post_id String", [(post_id,) for post_id in post_ids])}
        ) or [[], [], [], [], [], []]
        made, at, added, retracted = (np.array(column, np.int64) for column in columns[2:])
        return cascades_from_panes(list(columns[0]), list(columns[1]), made, at, added, retracted, minute)

    def versions(self, channel: str) -> list[StoredVersion]:
        """Reads the versions of a channel, in the order of time."""
        columns = self._clickhouse.select(
            "SELECT intDiv(toUnixTimestamp(holds_from), 60) AS minute, any(finished), any(digest), any(learned_by), "
            f"arrayMap(x -> x.2, arraySort(groupArray((step, here)))) FROM {FORECAST_VERSIONS.name} FINAL "
            "WHERE channel = %(channel)s GROUP BY minute ORDER BY minute",
            {"channel": channel},
        )
        return [
            StoredVersion(minute, finished, digest, learned_by, tuple(map(tuple, here)))
            for minute, finished, digest, learned_by, here in zip(*columns, strict=True)
        ]

    def write(self, channel: str, version: StoredVersion, ages: Sequence[float], habits: Mapping[str, float]) -> None:
        """Stores a version and the habits that it learned, where none is stored for this channel and minute. Habits
        come first: a version is never seen without them.

        The server stores a habit only where the author has a post at that moment: an erasure deletes the posts of a
        person first, and habits seconds later, so a calibration that read the posts before brings no habit back."""
        seconds, count = version.holds_from * 60, len(ages)
        self._clickhouse.insert_missing(
            FORECAST_HABITS.name,
            {
                "channel": [channel] * len(habits),
                "author_id": list(habits),
                "holds_from": [seconds] * len(habits),
                "habit": list(habits.values()),
            },
            only=_HAS_A_POST,
        )
        self._clickhouse.insert_missing(
            FORECAST_VERSIONS.name,
            {
                "channel": [channel] * count,
                "holds_from": [seconds] * count,
                "step": list(range(1, count + 1)),
                "age": list(ages),
                "next_age": [*ages[1:], ages[-1]],
                "finished": [version.finished] * count,
                "digest": [version.digest] * count,
                "learned_by": [version.learned_by] * count,
                "here": [str(list(row)) for row in version.here],
                "ahead": [str(list(row)) for row in (*version.here[1:], version.here[-1])],
            },
        )

    def _posts(self, sql: str, channel: str, age: int, after: int, until: int) -> tuple[list[str], Array]:
        given = {"channel": channel, "age": age, "after": after, "until": until}
        found = self._clickhouse.select(sql, given) or [[], []]
        return list(found[0]), np.array(found[1], np.int64)


def digest_of(cascades: Cascades) -> int:
    """Returns a hash of the posts, their authors, and each minute of their shares."""
    order = np.lexsort((cascades.lag, cascades.post))
    numbers = np.column_stack([cascades.post, cascades.lag, cascades.shares])[order].astype("<i8")
    texts = "\0".join((*cascades.post_ids, *cascades.authors)).encode()
    parts = texts + cascades.made.astype("<i8").tobytes() + numbers.tobytes()
    return int.from_bytes(hashlib.blake2b(parts, digest_size=8).digest(), "little")

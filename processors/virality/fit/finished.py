"""Reads finished posts from ClickHouse, for `engagement forecast fit`."""

from datetime import datetime
from typing import Final

import numpy as np

from pipeline.clickhouse.client import ClickHouse
from processors.columnar.arrays import Array
from processors.virality.fit.cascades import FOREVER, Cascades, chosen_posts

MINUTES_OF_SHARES: Final = """
SELECT
    post_id,
    author_id,
    toUInt32(intDiv(toUnixTimestamp64Micro(created_at), 60000000)) AS made,
    toUInt32(intDiv(toUnixTimestamp(minute), 60)) AS at,
    toInt64(shares) AS added,
    toInt64(shares_retracted) AS retracted
FROM (SELECT post_id, minute, shares, shares_retracted FROM post_minutes FINAL) AS m
INNER JOIN (
    SELECT post_id, author_id, created_at FROM posts FINAL
    WHERE toUnixTimestamp64Micro(created_at) >= %(since)s
    AND post_id IN (SELECT post_id FROM post_metrics FINAL WHERE shares >= %(least)s)
) AS p USING (post_id)
ORDER BY post_id, at
"""

NEWEST: Final = "SELECT toUInt32(intDiv(toUnixTimestamp(max(minute)), 60)) FROM post_minutes"


def finished_cascades(clickhouse: ClickHouse, least_shares: int, since: datetime, settled_days: float) -> Cascades:
    """Reads the posts created since `since` with at least `least_shares` net shares that are `settled_days` old at the
    end of the data. Blocks; raises as ClickHouse does.

    Panes do not tell which share was retracted. A retraction is taken for one of the newest share before, which then
    counts as if it had never come.
    """
    newest = clickhouse.select(NEWEST)
    end = int(newest[0][0]) + 1 if newest and len(newest[0]) else 0
    columns = clickhouse.select(
        MINUTES_OF_SHARES, {"since": round(since.timestamp() * 1e6), "least": max(least_shares, 1)}
    )
    if not columns or not len(columns[0]):
        columns = [[], [], [], [], [], []]
    made, at, added, retracted = (np.array(column, np.int64) for column in columns[2:])
    cascades = cascades_from_panes(columns[0], columns[1], made, at, added, retracted, end)
    return old_enough(cascades, round(settled_days * 1440))


def cascades_from_panes(
    post_ids: list[str], authors: list[str], made: Array, at: Array, added: Array, retracted: Array, end: int
) -> Cascades:
    """Makes cascades of panes, sorted by post and minute; times in minutes since 1970."""
    first = np.array([number == 0 or post_ids[number - 1] != name for number, name in enumerate(post_ids)], np.bool_)
    post = np.cumsum(first) - 1
    starts = np.flatnonzero(first)
    net = np.zeros(len(post), np.int64)
    for start, stop in zip(starts, [*starts[1:], len(post)], strict=True):
        # Of the shares up to a minute, as many remain in the end as the lowest net count since then.
        so_far = np.cumsum(added[start:stop] - retracted[start:stop])
        remaining = np.minimum.accumulate(so_far[::-1])[::-1]
        net[start:stop] = np.diff(np.maximum(remaining, 0), prepend=0)
    has_shares = net > 0
    return Cascades(
        [post_ids[start] for start in starts],
        [authors[start] for start in starts],
        made[starts],
        end - made[starts],
        post[has_shares],
        (at - made)[has_shares],
        np.full(int(has_shares.sum()), FOREVER),
        net[has_shares],
    )


def old_enough(cascades: Cascades, minutes: int) -> Cascades:
    """Returns only the posts that are `minutes` old at the end of the data."""
    return chosen_posts(cascades, cascades.observed >= minutes)

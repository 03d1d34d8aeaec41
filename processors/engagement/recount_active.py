"""Compares post_metrics_active and posts_active with post_metrics and posts, from which the server copies the rows of
active posts.

Runs after the recount of posts, which makes post_metrics right. A worker may write meanwhile, and its row is in the two
tables at two moments: a difference counts when a second look finds the same versions.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from processors.columnar.compare_rows import Difference, difference
from schemas.tables import POST_METRICS, POST_METRICS_ACTIVE, POSTS, POSTS_ACTIVE, Table

ACTIVE_SECONDS: Final = 2 * 86_400
"""How old the newest event of a post may be for which post_metrics_active_v shows a row."""

SECOND_LOOK_SECONDS: Final = 1.0
_MOST: Final = 2_000
"""Posts that are named and mended at once."""

_COPIED: Final = ", ".join(f"`{name}`" for name in POST_METRICS_ACTIVE.sent if name != "post_id")
_FACTS: Final = ", ".join(f"`{name}`" for name in POSTS_ACTIVE.sent if name not in ("post_id", "version"))
_DIFFERING_METRICS: Final = f"""
SELECT if(copy.is_there, copy.post_id, row.post_id) AS post, row.version, copy.version, copy.is_there, row.is_there
FROM
(
    SELECT post_id, version, cityHash64({_COPIED}) AS hash, 1 AS is_there
    FROM {POST_METRICS_ACTIVE.name} FINAL
    WHERE as_of >= now('UTC') - {ACTIVE_SECONDS} AND %(all)s OR post_id IN %(posts)s
) AS copy
FULL JOIN
(
    SELECT post_id, version, cityHash64({_COPIED}) AS hash, 1 AS is_there
    FROM {POST_METRICS.name} FINAL
    WHERE as_of >= now('UTC') - {ACTIVE_SECONDS} AND %(all)s OR post_id IN %(posts)s
) AS row ON row.post_id = copy.post_id
WHERE row.is_there != copy.is_there OR row.hash != copy.hash
ORDER BY post
LIMIT {_MOST}
"""
_DIFFERING_FACTS: Final = f"""
SELECT copy.post_id AS post, row.version, copy.version, 1, row.is_there
FROM
(
    SELECT post_id, version, toString(({_FACTS})) AS said
    FROM {POSTS_ACTIVE.name} FINAL
    WHERE %(all)s OR post_id IN %(posts)s
) AS copy
LEFT JOIN
(
    SELECT post_id, version, toString(({_FACTS})) AS said, 1 AS is_there
    FROM {POSTS.name} FINAL
    WHERE post_id IN (SELECT post_id FROM {POSTS_ACTIVE.name})
) AS row ON row.post_id = copy.post_id
WHERE row.is_there = 0 OR row.said != copy.said
ORDER BY post
LIMIT {_MOST}
"""
"""A post without facts here is none of the differences: views look it up in posts."""

COPIES: Final = {POST_METRICS_ACTIVE: _DIFFERING_METRICS, POSTS_ACTIVE: _DIFFERING_FACTS}
"""Table -> the query of rows that are not as in the table that they are copied from."""


class Database(Protocol):
    """A connection for lists."""

    def select(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Any]: ...

    def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> None: ...


def recount_active(database: Database, check: bool, wait: float = SECOND_LOOK_SECONDS) -> list[Difference]:
    """Compares the rows of active posts, and copies differing rows anew unless `check` is True. Blocks.

    Raises Unavailable, Refused.
    """
    return [each for table in COPIES for each in _recount_copy(database, table, check, wait)]


def _recount_copy(database: Database, table: Table, check: bool, wait: float) -> list[Difference]:
    found = _differing(database, table, ())
    if found:
        time.sleep(wait)
        again = _differing(database, table, list(found))
        found = {post: versions for post, versions in again.items() if found.get(post) == versions}
    if found and not check:
        _copy(database, table, list(found))
    return [difference(table, (post,), *_said(*versions)) for post, versions in found.items()]


def _differing(database: Database, table: Table, posts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Post -> version of its row, of its copy, and whether each is there."""
    columns = database.select(COPIES[table], {"all": int(not posts), "posts": tuple(posts) or ("",)})
    return {post: tuple(versions) for post, *versions in zip(*columns, strict=True)}


def _said(row: int, copy: int, has_copy: int, has_row: int) -> tuple[str, Any, Any]:
    if has_copy and has_row and row == copy:
        return "values", "others", "those of the row that it is copied from"
    return ("version", copy, row) if has_copy and has_row else ("row", has_copy or None, has_row or None)


def _copy(database: Database, table: Table, posts: Sequence[str]) -> None:
    params = {"posts": tuple(posts)}
    database.execute(f"ALTER TABLE {table.name} DELETE WHERE post_id IN %(posts)s SETTINGS mutations_sync = 2", params)
    if table is POST_METRICS_ACTIVE:
        columns = ", ".join(f"`{column.name}`" for column in table.columns)
        database.execute(
            f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {POST_METRICS.name} FINAL "
            "WHERE post_id IN %(posts)s",
            params,
        )

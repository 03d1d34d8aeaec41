"""Compares post_metrics_active with post_metrics, from which the server copies the rows of active posts.

Runs after the recount of posts, which makes post_metrics right. A worker may write meanwhile, and its row is in the two
tables at two moments: a difference counts when a second look finds the same versions.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from processors.columnar.compare_rows import Difference, difference
from schemas.tables import POST_METRICS, POST_METRICS_ACTIVE

ACTIVE_SECONDS: Final = 2 * 86_400
"""How old the newest event of a post may be for which post_metrics_active_v shows a row."""

SECOND_LOOK_SECONDS: Final = 1.0
_MOST: Final = 2_000
"""Posts that are named and mended at once."""

_COPIED: Final = ", ".join(f"`{name}`" for name in POST_METRICS_ACTIVE.sent if name != "post_id")
DIFFERING: Final = f"""
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


class Database(Protocol):
    """A connection for lists."""

    def select(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Any]: ...

    def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> None: ...


def recount_active(database: Database, check: bool, wait: float = SECOND_LOOK_SECONDS) -> list[Difference]:
    """Compares the rows of active posts, and copies differing rows anew unless `check` is True. Blocks.

    Raises Unavailable, Refused.
    """
    found = _differing(database, ())
    if found:
        time.sleep(wait)
        again = _differing(database, list(found))
        found = {post: versions for post, versions in again.items() if found.get(post) == versions}
    if found and not check:
        _copy(database, list(found))
    return [difference(POST_METRICS_ACTIVE, (post,), *_said(*versions)) for post, versions in found.items()]


def _differing(database: Database, posts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Post -> version of its row, of its copy, and whether each is there."""
    columns = database.select(DIFFERING, {"all": int(not posts), "posts": tuple(posts) or ("",)})
    return {post: tuple(versions) for post, *versions in zip(*columns, strict=True)}


def _said(row: int, copy: int, has_copy: int, has_row: int) -> tuple[str, Any, Any]:
    if has_copy and has_row and row == copy:
        return "values", "others", f"those of {POST_METRICS.name}"
    return ("version", copy, row) if has_copy and has_row else ("row", has_copy or None, has_row or None)


def _copy(database: Database, posts: Sequence[str]) -> None:
    params = {"posts": tuple(posts)}
    database.execute(
        f"ALTER TABLE {POST_METRICS_ACTIVE.name} DELETE WHERE post_id IN %(posts)s SETTINGS mutations_sync = 2", params
    )
    columns = ", ".join(f"`{column.name}`" for column in POST_METRICS_ACTIVE.columns)
    database.execute(
        f"INSERT INTO {POST_METRICS_ACTIVE.name} ({columns}) SELECT {columns} FROM {POST_METRICS.name} FINAL "
        "WHERE post_id IN %(posts)s",
        params,
    )

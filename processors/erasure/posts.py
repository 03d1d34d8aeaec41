"""Folds posts anew after their events were erased, and deletes the rows of before."""

from collections.abc import Iterator, Sequence
from typing import Final

from processors.columnar.compare_rows import emptied, keys_of, plain
from processors.columnar.hashing import Hasher
from processors.engagement.job import JobPolicy
from processors.engagement.recount import DERIVED_TABLES, expected_rows
from processors.engagement.rows.spread import Spreading
from processors.engagement.store import ClickHouseLog
from processors.erasure.deletion import Deletion, noted, stored_before
from processors.erasure.log import AFFECTED_POSTS, ERASED_POSTS
from processors.virality.parameters import load_parameters
from schemas.tables import (
    CARRY_OVER,
    CONVERSATION_POSTS,
    KNOWN_POSTS,
    POST_HISTORY,
    POST_METRICS,
    POST_METRICS_ACTIVE,
    POST_MINUTES,
    POSTS,
    RETIRED_POSTS,
)

NAMING: Final = (POSTS, CARRY_OVER, CONVERSATION_POSTS)
"""Derived tables whose rows may name people. Of posts that are folded anew, every older row of these is deleted."""

BY_POST: Final = (
    POSTS,
    POST_METRICS,
    POST_MINUTES,
    POST_HISTORY,
    POST_METRICS_ACTIVE,
    CONVERSATION_POSTS,
    CARRY_OVER,
    KNOWN_POSTS,
    RETIRED_POSTS,
)
"""Derived tables with a post_id: rows of posts that leave as a whole are deleted from all."""

_POSTS_AT_ONCE: Final = 2000
_ONE_EVENT: Final = 1 << 26
"""The least step of a version: events seen stand above the 26 bits of a minute (schemas/tables.py)."""


class RefoldedPosts:
    """The derived rows of posts during an erasure. Every method blocks, and raises Unavailable, Refused."""

    def __init__(self, log: ClickHouseLog, deletion: Deletion, hasher: Hasher, policy: JobPolicy) -> None:
        self._log, self._deletion, self._hasher, self._policy = log, deletion, hasher, policy
        self._spreading = Spreading(policy.forecast or load_parameters())

    def fold_anew(self, gone_conversations: Sequence[str]) -> Iterator[int]:
        """Writes all rows of the affected posts anew, and deletes older rows of them and all rows of posts that have
        left. Yields the number of posts done so far. `gone_conversations` get no cells of zeros."""
        since = self._deletion.cut()
        affected, done = [post_id for post_id, _ in self._deletion.keys(AFFECTED_POSTS)], 0
        for start in range(0, len(affected), _POSTS_AT_ONCE):
            some = affected[start : start + _POSTS_AT_ONCE]
            self._fold(some, frozenset(gone_conversations))
            done += len(some)
            yield done
        for table in NAMING:
            self._deletion.delete(table.name, f"{noted(AFFECTED_POSTS, ['post_id'])} AND {stored_before(since)}")
        for table in BY_POST:
            self._deletion.delete(table.name, noted(ERASED_POSTS, ["post_id"]))

    def _fold(self, post_ids: Sequence[str], gone: frozenset[str]) -> None:
        shown = self._log.rows(POST_METRICS, ["post_id", "spread_as_of"], post_ids)
        at = dict(zip(plain(shown["post_id"]), plain(shown["spread_as_of"]), strict=True))
        present = self._log.rows(CONVERSATION_POSTS, ["conversation", "minute", "post_id", "version"], post_ids)
        expected = expected_rows(self._log, self._hasher, post_ids, self._policy, self._spreading, at).rows
        for table in DERIVED_TABLES:
            if len(expected[table]["version"]):
                self._log.upsert(table.name, expected[table])
        # A cell that is no more stays as one of zeros: a message of before may still be on its way to the conversation
        # agent, and would count again.
        made = set(keys_of(CONVERSATION_POSTS, expected[CONVERSATION_POSTS]))
        left = {
            key: version
            for key, version in zip(keys_of(CONVERSATION_POSTS, present), plain(present["version"]), strict=True)
            if key not in made and key[0] not in gone
        }
        if left:
            versions = [int(version) + _ONE_EVENT for version in left.values()]
            self._log.upsert(CONVERSATION_POSTS.name, emptied(CONVERSATION_POSTS, list(left), versions))

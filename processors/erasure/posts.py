"""Folds posts anew after their events were erased, and deletes the rows of before."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from processors.columnar.arrays import Columns
from processors.columnar.compare_rows import emptied, keys_of, plain
from processors.columnar.hashing import Hasher
from processors.engagement.job import JobPolicy
from processors.engagement.recount import DERIVED_TABLES, chunks, expected_rows
from processors.engagement.rows.spread import Spreading
from processors.engagement.store import ClickHouseLog
from processors.erasure.deletion import Deletion, noted, stored_before
from processors.erasure.log import AFFECTED_POSTS, COUNTED_PANES, ERASED_POSTS, PANES
from processors.erasure.tombstones import Eraser
from processors.virality.parameters import load_parameters
from schemas.conversations import CELL_COUNTS
from schemas.tables import (
    CARRY_OVER,
    CONVERSATION_POSTS,
    KNOWN_POSTS,
    POST_HISTORY,
    POST_METRICS,
    POST_METRICS_ACTIVE,
    POST_MINUTES,
    POSTS,
    POSTS_ACTIVE,
    RETIRED_POSTS,
)

REWRITTEN: Final = (POSTS, CARRY_OVER, CONVERSATION_POSTS, POST_METRICS, POST_MINUTES, POST_METRICS_ACTIVE)
"""Derived tables of which every older row of a post that is folded anew is deleted: it may name people, or have a
higher version than the new row, where a worker has read an event beside the tombstone that has another id."""

BY_POST: Final = (
    POSTS,
    POSTS_ACTIVE,
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

_STANDS: Final = f"NOT IN (SELECT post_id FROM {RETIRED_POSTS.name} FINAL WHERE state IN ('going', 'gone'))"
"""A post whose events retention deletes or has deleted keeps its last row, and is not folded from what is left."""

_CLEANED_POSTS: Final = "cleaned posts"
"""Target of `erasing`: posts whose row was written again without the names."""

COPYING_VIEW: Final = "posts_active_refresh"
"""The view by which the server copies facts of active posts, whenever its clock says so."""

_COUNTED: Final = ("posts", "comments", "comments_retracted")
"""Columns of a cell that a count at closing rests on."""

_NUMBERS: Final = ("version", *CELL_COUNTS)
"""Columns of a cell of which one differs where an event of its minute was erased."""

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
        affected, done = [post_id for post_id, _ in self._deletion.keys(AFFECTED_POSTS, f"id {_STANDS}")], 0
        for some in chunks(self._log.counted(affected)):
            self._fold(some, frozenset(gone_conversations))
            done += len(some)
            yield done
        leaves = noted(ERASED_POSTS, ["post_id"])
        is_older = f"{noted(AFFECTED_POSTS, ['post_id'])} AND post_id {_STANDS} AND {stored_before(since)}"
        for table in BY_POST:
            self._deletion.delete(table.name, f"({leaves} OR {is_older})" if table in REWRITTEN else leaves)

    def clean(self, post_ids: Sequence[str], eraser: Eraser) -> None:
        """Takes the names out of stored rows of these posts, which the log does not make anew: retention has deleted
        their events, or a worker that hung has stored the rows."""
        since = self._deletion.cut()
        # What a crashed run has written is written again, because everything that is older than this run goes.
        noted_ids = [post_id for post_id, _ in self._deletion.keys(_CLEANED_POSTS)]
        columns = self._log.rows(POSTS, POSTS.sent, sorted({*post_ids, *noted_ids}))
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        pairs = [(row, eraser.cleaned_post(row)) for row in rows]
        clean = [after for before, after in pairs if before != after or before["post_id"] in noted_ids]
        if clean:
            self._deletion.add(_CLEANED_POSTS, [(row["post_id"], "") for row in clean])
            self._log.upsert(POSTS.name, {name: [row[name] for row in clean] for name in POSTS.sent})
            older = f"{noted(_CLEANED_POSTS, ['post_id'])} AND {stored_before(since)}"
            self._deletion.delete(POSTS.name, older)

    def _fold(self, post_ids: Sequence[str], gone: frozenset[str]) -> None:
        shown = self._log.rows(POST_METRICS, ["post_id", "spread_as_of"], post_ids)
        at = dict(zip(plain(shown["post_id"]), plain(shown["spread_as_of"]), strict=True))
        present = self._log.rows(CONVERSATION_POSTS, [*CONVERSATION_POSTS.key, *_NUMBERS], post_ids)
        expected = expected_rows(self._log, self._hasher, post_ids, self._policy, self._spreading, at).rows
        self._note_minutes(expected[CONVERSATION_POSTS], present, gone)
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

    def _note_minutes(self, expected: Columns, present: Columns, gone: frozenset[str]) -> None:
        """Notes the minutes of conversations in which a cell changes, and those in which a count at closing may change.
        Called before the cells are written."""
        before, after = _by_cell(present), _by_cell(expected)
        nothing = dict.fromkeys(_NUMBERS, 0)
        changed, counted = dict[tuple[str, str], None](), dict[tuple[str, str], None]()
        for key in before.keys() | after.keys():
            old, new = before.get(key, nothing), after.get(key, nothing)
            if old != new and key[0] not in gone:
                pane = key[0], str(key[1])
                changed[pane] = None
                if any(old[name] != new[name] for name in _COUNTED):
                    counted[pane] = None
        self._deletion.add(PANES, changed)
        self._deletion.add(COUNTED_PANES, counted)


def delete_copies(deletion: Deletion) -> None:
    """Deletes the facts of these posts that the server itself has copied from posts. Called when posts are right: what
    is copied from then on names nobody. A copy of before may be younger than any cut, because the server copies by a
    clock. Blocks. Raises Unavailable, Refused."""
    deletion.wait_for_refreshes(COPYING_VIEW)
    for target in (AFFECTED_POSTS, ERASED_POSTS, _CLEANED_POSTS):
        deletion.delete(POSTS_ACTIVE.name, noted(target, ["post_id"]))


def _by_cell(cells: Columns) -> dict[tuple[Any, ...], dict[str, int]]:
    numbers = zip(*(plain(cells[name]) for name in _NUMBERS), strict=True)
    keys = keys_of(CONVERSATION_POSTS, cells)
    return {key: dict(zip(_NUMBERS, values, strict=True)) for key, values in zip(keys, numbers, strict=True)}

"""Deletes posts, minutes of conversations and history that are older than the retention.

A post goes whole (law 4): its events, panes, cells and history. Its last rows of post_metrics, posts and carry_over
stay, and so do known_posts, by which workers know that it was there. Days of conversations stay too, with the voices of
those days: so rows of a day are deleted only once it is rolled up (conversation_day_marks). The steps of a post:

    1. the floor is raised: `recount` compares no sum that rests on cells of before
    2. the post is `marked`: workers forget it, and refuse events that come from now on (dead letters)
    3. after the grace, in which every worker has seen the mark: `kept` where an event was stored since, else `going`
    4. its rows are deleted, those of the log last
    5. it has `gone`

A step may be repeated, and the next run goes on behind the last one that was done. A post never leaves `going` or
`gone` again: what an owner that was cut off stores later is deleted by the next run. Rows are deleted by one program at
a time, a run of retention or an erasure (pipeline/clickhouse/exclusive.py).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from deploy.clickhouse.days.rolled import ROLLED_UNTIL
from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.ddl import render
from pipeline.clickhouse.deletion import delete_rows, free_space
from pipeline.clickhouse.exclusive import exclusive
from pipeline.settings import Settings
from processors.retention.policy import RetentionPolicy, cut
from schemas.tables import (
    CONVERSATION_CLOSED,
    CONVERSATION_MINUTES,
    CONVERSATION_POSTS,
    EVENTS,
    POST_HISTORY,
    POST_METRICS,
    POST_MINUTES,
    RETENTION_FLOORS,
    RETIRED_POSTS,
    Table,
)

OF_POSTS: Final = (CONVERSATION_POSTS, POST_MINUTES, POST_HISTORY, EVENTS)
"""The tables whose rows go with their post, in this order."""

OF_CONVERSATIONS: Final = (CONVERSATION_MINUTES, CONVERSATION_CLOSED)
"""The tables whose rows go by their own minute."""

RETENTION_STEPS: Final = ("floors", "marked", "decided", "deleted", "gone")

_STATES: Final = f"SELECT post_id, as_of, state, version FROM {{database}}.{RETIRED_POSTS.name} FINAL"
_OLD: Final = (
    f"FROM {POST_METRICS.name} FINAL WHERE as_of < toDateTime(%(cut)s, 'UTC') "
    "AND stored_at <= now64(3) - toIntervalMillisecond(%(quiet_ms)s) "
    "AND modulo(cityHash64(post_id), %(slices)s) = %(slice)s AND post_id NOT IN "
    f"(SELECT post_id FROM {{database}}.{RETIRED_POSTS.name} FINAL WHERE state != 'kept' "
    "AND modulo(cityHash64(post_id), %(slices)s) = %(slice)s)"
)
_SLICE_POSTS: Final = 2_000_000
"""Retired posts that the server compares with at once: some 200 MB of ids."""

MINUTES_FLOOR: Final = f"(SELECT max(floor) FROM {RETENTION_FLOORS.name} WHERE kind IN ('posts', 'conversations'))"
"""The time before which minutes of conversations may be gone, or lack the cells of posts."""

EXCLUSIVE_SECONDS: Final = 300.0
"""How long a run waits for the end of an erasure, or of another run."""

_STRAGGLER_DAYS: Final = 2
"""How far back a run looks for rows that were stored after their post had gone."""


@dataclass(frozen=True)
class Retired:
    """The result of a run: posts that were marked, kept and deleted, and rows that were deleted by their own age."""

    marked: int = 0
    kept: int = 0
    gone: int = 0
    conversation_minutes: int = 0
    history_rows: int = 0

    def plus(self, other: "Retired") -> "Retired":
        """Returns the sum of both."""
        return Retired(
            self.marked + other.marked,
            self.kept + other.kept,
            self.gone + other.gone,
            self.conversation_minutes + other.conversation_minutes,
            self.history_rows + other.history_rows,
        )


class Retention:
    """Retention on one connection. Every call blocks, and raises Unavailable, Refused."""

    def __init__(
        self,
        clickhouse: ClickHouse,
        settings: Settings,
        policy: RetentionPolicy,
        after_step: Callable[[str], None] = lambda step: None,
    ) -> None:
        """`after_step` is called with each of RETENTION_STEPS once the step is done."""
        self._clickhouse, self._settings, self._policy = clickhouse, settings, policy
        self._after_step = after_step

    def preview(self, now: float) -> Retired:
        """Counts what a run would delete; writes nothing. `now`: Unix time in seconds."""
        policy, posts, minutes, history = self._policy, 0, 0, 0
        if policy.posts_days is not None:
            slices = self._slices(now, policy.posts_days)
            posts = sum(self._count(f"SELECT count() {_OLD}", bounds) for bounds in slices)
            posts += self._count_states("state IN ('marked', 'going')")
        if policy.conversations_days is not None:
            minutes = self._count_before(CONVERSATION_MINUTES, "minute", self._cut(now, policy.conversations_days))
        if policy.history_days is not None:
            history = self._count_before(POST_HISTORY, "as_of", cut(now, policy.history_days))
        return Retired(posts, 0, posts, minutes, history)

    def run(self, now: float, wait: Callable[[float], bool]) -> Retired:
        """Deletes what is too old. `wait` sleeps for some seconds and returns False where the run has to end; posts
        that are marked by then go with the next run."""
        with exclusive(self._settings, EXCLUSIVE_SECONDS, wait):
            done = self._delete_by_age(now)
        while self._policy.posts_days is not None:
            part = self._mark(now, self._policy.posts_days)
            if self._count_states("state = 'marked'") and not wait(self._policy.grace_seconds):
                return done.plus(part)
            with exclusive(self._settings, EXCLUSIVE_SECONDS, wait):
                done = done.plus(part).plus(self._delete_posts())
            if part.marked < self._policy.at_once:
                break
        for table in (*OF_POSTS, *OF_CONVERSATIONS):
            free_space(self._clickhouse, self._settings, table.name)
        return done

    def rolled_until(self) -> int:
        """Reads the start of the first day that is not rolled up in every partition, in seconds since 1970."""
        return self._count(f"SELECT toUnixTimestamp({ROLLED_UNTIL})")

    def _cut(self, now: float, days: float) -> int:
        return min(cut(now, days), self.rolled_until())

    def _mark(self, now: float, days: float) -> Retired:
        marked = 0
        for bounds in self._slices(now, days):
            room = self._policy.at_once - marked
            if count := min(self._count(f"SELECT count() {_OLD}", bounds), room):
                self._raise_floor("posts", bounds["cut"])
                self._after_step("floors")
                self._write_states(f"SELECT post_id, as_of, 'marked' {_OLD} ORDER BY as_of LIMIT {count}", bounds)
                self._after_step("marked")
                marked += count
        return Retired(marked=marked)

    def _delete_posts(self) -> Retired:
        quiet_ms, grace_ms = (int(s * 1000) for s in (self._policy.quiet_seconds, self._policy.grace_seconds))
        marked = f"{_STATES} WHERE state = 'marked' AND version <= toUnixTimestamp64Milli(now64(3)) - {grace_ms}"
        newest = (
            f"SELECT post_id, toUnixTimestamp64Milli(max(stored_at)) AS newest FROM {EVENTS.name} "
            f"WHERE post_id IN (SELECT post_id FROM ({marked})) GROUP BY post_id"
        )
        kept = self._count_states("state = 'kept'")
        self._write_states(
            f"SELECT m.post_id, m.as_of, if(e.newest >= m.version - {quiet_ms}, 'kept', 'going') FROM ({marked}) AS m "
            f"LEFT JOIN ({newest}) AS e ON e.post_id = m.post_id"
        )
        self._take_stragglers()
        self._after_step("decided")
        going, kept = self._count_states("state = 'going'"), self._count_states("state = 'kept'") - kept
        if going:
            for table in OF_POSTS:
                condition = f"post_id IN (SELECT post_id FROM ({_STATES} WHERE state = 'going'))"
                delete_rows(self._clickhouse, self._settings, table.name, condition)
            self._after_step("deleted")
            self._write_states(f"SELECT post_id, as_of, 'gone' FROM ({_STATES} WHERE state = 'going')")
            self._after_step("gone")
        return Retired(kept=kept, gone=going)

    def _take_stragglers(self) -> None:
        """Has posts go again whose rows were stored after they had gone, by an owner that was cut off meanwhile."""
        stragglers = (
            f"FROM ({_STATES} WHERE state = 'gone') AS g JOIN "
            f"(SELECT post_id, as_of, toUnixTimestamp64Milli(stored_at) AS stored FROM {POST_METRICS.name} FINAL "
            f"WHERE stored_at > now64(3) - toIntervalDay({_STRAGGLER_DAYS})) AS m ON m.post_id = g.post_id "
            "WHERE m.stored > g.version"
        )
        if newest := self._count(f"SELECT max(toUnixTimestamp(m.as_of)) {stragglers}"):
            self._raise_floor("posts", newest)
            self._write_states(f"SELECT g.post_id, m.as_of, 'going' {stragglers}")

    def _delete_by_age(self, now: float) -> Retired:
        minutes = history = 0
        if self._policy.conversations_days is not None:
            until = self._cut(now, self._policy.conversations_days)
            if minutes := self._count_before(CONVERSATION_MINUTES, "minute", until):
                self._raise_floor("conversations", until)
            for table in OF_CONVERSATIONS:
                self._delete_before(table, "minute", until)
        if self._policy.history_days is not None:
            until = cut(now, self._policy.history_days)
            if history := self._count_before(POST_HISTORY, "as_of", until):
                self._raise_floor("history", until)
                self._delete_before(POST_HISTORY, "as_of", until)
        return Retired(conversation_minutes=minutes, history_rows=history)

    def _slices(self, now: float, days: float) -> Iterator[dict[str, int]]:
        """Yields the parameters of _OLD for one slice of the posts after the other."""
        slices = 1 + self._count(f"SELECT count() FROM {RETIRED_POSTS.name}") // _SLICE_POSTS
        bounds = {"cut": self._cut(now, days), "quiet_ms": int(self._policy.quiet_seconds * 1000), "slices": slices}
        yield from (bounds | {"slice": number} for number in range(slices))

    def _raise_floor(self, kind: str, until: int) -> None:
        self._clickhouse.execute(
            f"INSERT INTO {RETENTION_FLOORS.name} (kind, floor) SELECT %(kind)s, toDateTime(%(until)s, 'UTC')",
            {"kind": kind, "until": until},
        )

    def _write_states(self, query: str, parameters: dict[str, Any] | None = None) -> None:
        sql = f"INSERT INTO {RETIRED_POSTS.name} (post_id, as_of, state) {query}"
        self._clickhouse.execute(render(sql, self._settings), parameters)

    def _count_states(self, condition: str) -> int:
        return self._count(f"SELECT count() FROM ({_STATES} WHERE {condition})")

    def _count_before(self, table: Table, column: str, until: int) -> int:
        sql = f"SELECT count() FROM {table.name} WHERE {column} < toDateTime(%(until)s, 'UTC')"
        return self._count(sql, {"until": until})

    def _delete_before(self, table: Table, column: str, until: int) -> None:
        if self._count_before(table, column, until):
            condition = f"{column} < toDateTime({until}, 'UTC')"
            delete_rows(self._clickhouse, self._settings, table.name, condition)

    def _count(self, sql: str, parameters: dict[str, Any] | None = None) -> int:
        return int(self._clickhouse.select(render(sql, self._settings), parameters)[0][0])


def minutes_floor(clickhouse: ClickHouse) -> int:
    """Returns the first second, since 1970, from which on retention has left all minutes of conversations. Blocks.
    Raises Unavailable, Refused."""
    return int(clickhouse.select(f"SELECT toUnixTimestamp({MINUTES_FLOOR})")[0][0])

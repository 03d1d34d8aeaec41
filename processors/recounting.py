"""Every derived row against the log of events, table after table: what `recount` and `forget --check` share."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from processors.columnar.hashing import Hasher
from processors.conversation.days.recount import recount_days
from processors.conversation.recount import StoredMinutes, recount_minutes
from processors.conversation.recount_closed import ClosedChecked, check_closed
from processors.conversation.store import ClickHouseConversations
from processors.engagement.recount import recount_posts
from processors.engagement.recount_active import recount_active
from processors.engagement.store import ClickHouseLog
from processors.retention.retention import minutes_floor
from processors.wiring import job_policy


class Recounted(NamedTuple):
    """The result for some rows: the differences, which tell themselves as text, the posts and events that were folded
    anew, and the counts at closing that were compared. `part`: how much of all posts is done, 0 to 1."""

    differences: Sequence[object]
    posts: int = 0
    events: int = 0
    part: float = 1.0
    closed: ClosedChecked | None = None

    @property
    def is_mendable(self) -> bool:
        """Whether a recount writes such rows: all but counts at closing, by which detectors have judged."""
        return self.closed is None


def recount_all(settings: Settings, *, is_check: bool) -> Iterator[Recounted]:
    """Computes all derived rows anew from the log, writes them unless `is_check`, and yields how they differed. Raises
    Unavailable, Refused."""
    hasher = Hasher()

    def connect(numpy: bool) -> ClickHouse:
        return ClickHouse(settings, numpy=numpy)

    with (
        closing(ClickHouseLog(connect, hasher)) as log,
        closing(ClickHouseConversations(connect)) as cells,
        closing(StoredMinutes(connect)) as minutes,
        ClickHouse(settings) as client,
    ):
        known, posts = int(client.select("SELECT uniq(post_id) FROM known_posts")[0][0]), 0
        for chunk in recount_posts(log, log, hasher, None if is_check else log, job_policy(settings, hasher)):
            posts += chunk.posts
            yield Recounted(chunk.differences, chunk.posts, chunk.events, posts / max(known, posts, 1))
        yield Recounted(recount_active(client, is_check))
        floor = minutes_floor(client) // 60
        yield from map(Recounted, recount_minutes(cells, minutes, is_check, floor))
        yield from map(Recounted, recount_days(client, is_check, floor * 60))
        for closed in check_closed(cells, client, settings.partitions, settings.lateness_seconds, floor):
            yield Recounted(closed.differences, closed=closed)

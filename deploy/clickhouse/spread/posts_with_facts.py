"""The rows of posts with the facts of each, and the names that columns of the spread use."""

from typing import Final

from deploy.clickhouse.drafting import NOW, TEXT_OR_NULL, Shown, indent, named, shown_column
from deploy.clickhouse.spread.own_forecast import OWN_GIVEN, own_joins
from deploy.clickhouse.spread.spread_now import GIVEN
from schemas.metrics import WINDOWS
from schemas.tables import POSTS, Column

POST_COLUMNS: Final[tuple[Shown, ...]] = (
    (Column("author_id", TEXT_OR_NULL, "Author; NULL until the post itself has come"), "nullIf(author_id, '')"),
    (Column("channel", TEXT_OR_NULL, "Where it was posted; NULL: not known"), "nullIf(toString(channel), '')"),
    (
        Column("created_at", "Nullable(DateTime64(6, 'UTC'))", "When it was first posted; NULL: not known"),
        "toNullable(created_at)",
    ),
    (Column("url", TEXT_OR_NULL, "Where it can be seen; NULL: not known"), "nullIf(url, '')"),
    (
        Column("followers", "Nullable(UInt64)", "Followers of its author when it was posted; NULL: not known"),
        "followers",
    ),
    (
        Column(
            "deleted_at",
            "Nullable(DateTime64(6, 'UTC'))",
            "When it was deleted; NULL: it stands, or the post itself has not come",
        ),
        "deleted_at",
    ),
    shown_column(POSTS["labels"]),
)

AUTHOR_AND_CHANNEL: Final[tuple[Shown, ...]] = tuple((column, f"p.{column.name}") for column, _ in POST_COLUMNS[:2])
"""Author and channel of the facts p of posts; NULL as long as they are not known."""

FACTS: Final = (
    f"SELECT post_id, {', '.join(f'{value} AS {column.name}' for column, value in POST_COLUMNS)} FROM {{database}}."
)

ALL_FACTS: Final = f"{FACTS}posts FINAL"
"""The query of the facts of all posts."""

LONGEST_LOOK_BACK: Final = 2 * max(WINDOWS.values()) * 60
"""The seconds that the longest window and the window before it look back over."""

ACTIVE: Final = f"as_of > toDateTime(toUnixTimestamp({NOW}) - {LONGEST_LOOK_BACK}, 'UTC')"
"""The condition of a post that had an event in the two days that its windows look back over."""

ACTIVE_FACTS: Final = f"""\
{FACTS}posts_active FINAL
UNION ALL
{FACTS}posts FINAL
WHERE post_id IN
(
    SELECT post_id
    FROM {{database}}.post_metrics_active
    WHERE {ACTIVE} AND thread_reason != 1 AND post_id NOT IN (SELECT post_id FROM {{database}}.posts_active)
)"""
"""The query of the facts of posts that had an event of late, of at least the ACTIVE ones. Posts whose own event has
come and that are not in posts_active are looked up in posts: those that have become active in the last two minutes."""


def with_facts(metrics: str, facts: str, *, are_few: bool) -> str:
    """Writes the query of `metrics` with `facts` of posts and the names that columns of the spread use. Where the facts
    `are_few`, of active posts, they are read once more to leave out the habits of all other authors."""
    of_posts = ((column.name, f"p.{column.name}") for column, _ in POST_COLUMNS)
    return f"""\
SELECT m.*, {named((*of_posts, *GIVEN, *OWN_GIVEN))}
FROM {metrics}
LEFT ANY JOIN
(
{indent(facts)}
) AS p ON p.post_id = m.post_id
{own_joins(facts if are_few else "")}"""

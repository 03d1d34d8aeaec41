"""The view of authors: the engagement that their posts get on average."""

from typing import Final

from deploy.clickhouse.drafting import REAL_OR_NULL, TEXT_OR_NULL, Shown, View, ratio_or_null, view
from schemas.metrics import MEASURES
from schemas.tables import Column

KAUSHIK: Final = {"applause": "likes", "amplification": "shares", "conversation": "comments"}
"""Avinash Kaushik's rates per post (2011)."""

LEAST_FOLLOWERS: Final = 100
"""The followers of an author at a post from which on the post counts in rates per 1,000 followers: of fewer, one like
is worth more than ten."""

AUTHOR: Final[tuple[Shown, ...]] = (
    (Column("author_id", "String", "Author (posts.author_id)"), "a.author_id"),
    (Column("channel", "String", "Where it was posted (posts.channel); empty: not known"), "a.channel"),
)


def authors_view() -> View:
    """Shows one row per author and channel."""
    comment = "One row per author and channel: what a post of theirs brings"
    return view("authors_v", comment, _columns(), _tail())


def _columns() -> list[Shown]:
    shown: list[Shown] = [
        *AUTHOR,
        (Column("posts", "UInt64", "Posts that stand (posts)"), "a.posts"),
        (
            Column("posts_deleted", "UInt64", "Posts that were deleted, which count nowhere else here (posts)"),
            "a.deleted",
        ),
        (
            Column("first_post_at", "DateTime64(6, 'UTC')", "When the oldest post was made, deleted ones too"),
            "a.first_at",
        ),
        (
            Column("newest_post_at", "DateTime64(6, 'UTC')", "When the newest post was made, deleted ones too"),
            "a.last_at",
        ),
        (
            Column(
                "followers", "Nullable(UInt64)", "Followers at the newest post that tells (posts.followers); NULL: none"
            ),
            "if(a.told = 0, NULL, a.followers)",
        ),
    ]
    shown += [
        (Column(measure, "UInt64", f"Net {measure} of posts that stand (post_metrics)"), f"a.{measure}")
        for measure in MEASURES
    ]
    for rate, measure in KAUSHIK.items():
        said = f"{measure} / posts (Kaushik 2011); NULL without posts"
        shown.append((Column(rate, REAL_OR_NULL, said), ratio_or_null(f"a.{measure}", "a.posts")))
    for rate, measure in KAUSHIK.items():
        said = (
            f"{measure} per post and 1,000 followers that the author had then: 1000 x sum of {measure} / sum of "
            f"followers over posts that tell of at least {LEAST_FOLLOWERS}; NULL: see per_1000_followers_reason"
        )
        value = ratio_or_null(f"a.{measure}_reached", "a.reach", "1000 * ")
        shown.append((Column(f"{rate}_per_1000_followers", REAL_OR_NULL, said), value))
    shown.append(
        (
            Column(
                "per_1000_followers_reason", TEXT_OR_NULL, "Why rates per 1,000 followers are not known; NULL: they are"
            ),
            "multiIf(a.reach > 0, NULL, a.posts = 0, 'no posts that stand', a.told_standing = 0, "
            f"'followers are not known', 'under {LEAST_FOLLOWERS} followers')",
        )
    )
    return shown


def _tail() -> str:
    sums = ",\n        ".join(
        line
        for measure in MEASURES
        for line in (
            f"sumIf(m.{measure}, p.stands) AS {measure}",
            f"sumIf(m.{measure}, p.stands AND p.reaches) AS {measure}_reached",
        )
    )
    return f"""\
FROM
(
    SELECT
        p.author_id AS author_id,
        p.channel AS channel,
        countIf(p.stands) AS posts,
        countIf(NOT p.stands) AS deleted,
        min(p.created_at) AS first_at,
        max(p.created_at) AS last_at,
        countIf(p.tells) AS told,
        countIf(p.stands AND p.tells) AS told_standing,
        argMaxIf(p.known_followers, (p.created_at, p.post_id), p.tells) AS followers,
        sumIf(p.known_followers, p.stands AND p.reaches) AS reach,
        {sums}
    FROM
    (
        SELECT
            post_id,
            author_id,
            toString(channel) AS channel,
            created_at,
            deleted_at IS NULL AS stands,
            followers IS NOT NULL AS tells,
            ifNull(followers, 0) AS known_followers,
            known_followers >= {LEAST_FOLLOWERS} AS reaches
        FROM {{database}}.posts FINAL
        WHERE author_id != ''
    ) AS p
    LEFT ANY JOIN
    (
        SELECT post_id, {", ".join(MEASURES)}
        FROM {{database}}.post_metrics FINAL
    ) AS m ON m.post_id = p.post_id
    GROUP BY author_id, channel
) AS a"""

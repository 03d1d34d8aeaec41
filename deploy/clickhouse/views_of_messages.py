"""The view of messages that several posts carry: the origin of each message, and its engagement on each channel."""

from deploy.clickhouse.drafting import REAL_OR_NULL, Shown, View, view
from schemas.metrics import MEASURES, in_words
from schemas.tables import CARRY_OVER, Column

URL, POST = "url:", "post:"


def carry_over_view() -> View:
    """Shows each message with its posts.

    A quoted post carries the message `post:<its id>`, and the posts that quote it also carry the address of the quoted
    post (one step).
    """
    comment = "One row per message and post that carries it, its origin, and what it brought"
    return view("carry_over_v", comment, _columns(), _tail())


def _columns() -> list[Shown]:
    shown: list[Shown] = [
        (CARRY_OVER["message"], "message"),
        (CARRY_OVER["post_id"], "post.2"),
        (Column("channel", "String", "Where it was posted (carry_over, posts); empty: not known"), "at.1"),
        (Column("created_at", "DateTime64(6, 'UTC')", "When it was first posted (carry_over, posts)"), "post.1"),
        (Column("is_origin", "UInt8", "1 for the oldest post of the message"), "post.2 = origin.2"),
        (Column("origin_post_id", "String", "Its oldest post; of equally old ones the first by post_id"), "origin.2"),
        (Column("origin_channel", "String", "Where that was posted; empty: not known"), "origin.3"),
        (Column("origin_created_at", "DateTime64(6, 'UTC')", "When that was posted"), "origin.1"),
        (Column("lag_seconds", "Float64", "Seconds from the origin to this post"), _seconds("post.1")),
        (
            Column("channel_lag_seconds", "Float64", "Seconds from the origin to the first post on this channel"),
            _seconds("at.2"),
        ),
        (Column("posts", "UInt64", "Posts that carry the message; those with one post are not shown"), "posts"),
        (Column("channels", "UInt64", "Channels on which it was posted; 1: it was not carried over"), "channels"),
        (Column("engagement", "UInt64", f"Net {in_words(MEASURES)} of this post (post_metrics)"), "post.3"),
        (Column("message_engagement", "UInt64", "The same of all posts of the message"), "message_engagement"),
        (
            Column(
                "born_elsewhere",
                REAL_OR_NULL,
                "Share, 0 to 1, of message_engagement on posts of other channels than the origin's; NULL without any",
            ),
            "if(message_engagement > 0, 1 - origin_engagement / message_engagement, NULL)",
        ),
    ]
    return shown


def _tail() -> str:
    current = "SELECT message, post_id, channel, created_at FROM {database}.carry_over FINAL WHERE is_current = 1"
    carrying = _carrying(current)
    return f"""\
FROM
(
    SELECT message, origin, posts, channels, message_engagement, origin_engagement, at
    FROM
    (
        SELECT
            message,
            min(tuple(first.1, first.2, channel)) AS origin,
            sum(posts_here) AS posts,
            count() AS channels,
            sum(engagement_here) AS message_engagement,
            groupArray((channel, first.1, here, engagement_here)) AS places,
            arraySum(place -> if(place.1 = origin.3, place.4, 0), places) AS origin_engagement
        FROM
        (
            SELECT
                message,
                channel,
                min((created_at, post_id)) AS first,
                count() AS posts_here,
                sum(engagement) AS engagement_here,
                groupArray((created_at, post_id, engagement)) AS here
            FROM
            (
                SELECT
                    c.message AS message,
                    c.post_id AS post_id,
                    c.channel AS channel,
                    c.created_at AS created_at,
                    e.engagement AS engagement
                FROM
                (
                    SELECT message, post_id, toString(any(channel)) AS channel, any(created_at) AS created_at
                    FROM
                    (
{carrying}
                    )
                    GROUP BY message, post_id
                ) AS c
                LEFT ANY JOIN
                (
                    SELECT post_id, {" + ".join(MEASURES)} AS engagement
                    FROM {{database}}.post_metrics FINAL
                ) AS e ON e.post_id = c.post_id
            )
            GROUP BY message, channel
        )
        GROUP BY message
        HAVING posts > 1
    )
    ARRAY JOIN places AS at
)
ARRAY JOIN at.3 AS post"""


def _carrying(current: str) -> str:
    """Writes which post carries which message: addresses, the quoted posts, and the addresses of quoted posts."""
    quoting = f"{current} AND startsWith(message, '{POST}')"
    quoted = f"substring(q.message, {len(POST) + 1})"
    return f"""\
                        {current}
                        UNION ALL
                        SELECT q.message, p.post_id, p.channel, p.created_at
                        FROM (SELECT DISTINCT message FROM ({quoting})) AS q
                        INNER JOIN {{database}}.posts AS p FINAL ON p.post_id = {quoted}
                        UNION ALL
                        SELECT u.message, q.post_id, q.channel, q.created_at
                        FROM ({quoting}) AS q
                        INNER JOIN ({current} AND startsWith(message, '{URL}')) AS u ON u.post_id = {quoted}"""


def _seconds(moment: str) -> str:
    return f"dateDiff('microsecond', origin.1, {moment}) / 1e6"

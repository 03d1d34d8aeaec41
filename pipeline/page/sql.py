"""Every query of the live page. Times are seconds since 1970, so that the browser shows them in its own zone.

"now" is that of ClickHouse; `since` and `until` come from the page's own clock and only say how much is shown.
"""

from typing import Final

from pipeline.page.query import NumbersOf, PageQuery

_COUNTS: Final = ("posts", "comments", "shares", "likes")

READ_FRESHNESS: Final = PageQuery(
    NumbersOf(
        changed_at="toUnixTimestamp64Milli(f.changed_at) / 1000",
        newest="toUnixTimestamp(as_of)",
        final_until="toUnixTimestamp(f.final_until)",
        now="toUnixTimestamp64Milli(asked_at) / 1000",
    ),
    "FROM freshness_v AS f",
)
"""How fresh and how final all numbers are; times are None where there is nothing yet."""

READ_MINUTES: Final = PageQuery(
    NumbersOf(minute="toUnixTimestamp(at)", **{count: f"sum({count}_of)" for count in _COUNTS}),
    """
FROM
(
    SELECT minute AS at, 0 AS posts_of, toInt64(comments) - comments_retracted AS comments_of,
        toInt64(shares) - shares_retracted AS shares_of, toInt64(likes) - likes_retracted AS likes_of
    FROM post_minutes_between(since = toDateTime(%(since)s, 'UTC'), until = now('UTC') + 1)
    UNION ALL
    SELECT toStartOfMinute(created_at), 1, 0, 0, 0
    FROM posts_v
    WHERE created_at >= toDateTime(%(since)s, 'UTC') AND created_at <= now('UTC')
)
GROUP BY at
ORDER BY at
""",
)
"""What was said, shared and liked in each minute, of all posts together."""

_WINDOWED: Final = tuple(
    f"{measure}_{what}"
    for measure in ("likes", "shares", "comments")
    for what in ("5m", "1h", "acceleration_1h", "z_1h")
)
_METRICS: Final = (
    *("post_id", "likes", "shares", "comments", "actors", *_WINDOWED),
    *("reproduction", "reproduction_low", "reproduction_high", "spread_reason", "forecast_shares_next_1h"),
    *("share_depth", "share_structural_virality", "unanswered", "oldest_unanswered_minutes", "channels"),
)

READ_RISING: Final = PageQuery(
    NumbersOf(*_METRICS),
    """
FROM post_metrics_active_v
WHERE likes_1h + shares_1h + comments_1h > 0
ORDER BY forecast_shares_next_1h DESC NULLS LAST, score_default_1h DESC, post_id
LIMIT 12
""",
)

READ_POST_METRICS: Final = PageQuery(
    NumbersOf(
        *_METRICS,
        *("forecast_shares", "forecast_shares_low", "forecast_shares_high"),
        *("forecast_shares_double_age", "forecast_shares_double_age_low", "forecast_shares_double_age_high"),
        *("half_life_shares", "thread_reciprocity", "brand_turns", "audience_turns", "answered", "thread_reason"),
        *("first_response_p50", "comments_actors", "concentration", "tree_truncated", "events_seen"),
        as_of="toUnixTimestamp(post_metrics_v.as_of)",
        spread_as_of="toUnixTimestamp(post_metrics_v.spread_as_of)",
    ),
    "FROM post_metrics_v WHERE post_id = %(post)s",
)

READ_POSTS: Final = PageQuery(
    NumbersOf(
        *("post_id", "author_id", "channel", "url", "text", "conversations", "followers", "labels"),
        created_at="toUnixTimestamp64Milli(posts_v.created_at) / 1000",
        deleted_at="toUnixTimestamp64Milli(posts_v.deleted_at) / 1000",
    ),
    "FROM posts_v WHERE post_id IN %(posts)s",
)

READ_POST_MINUTES: Final = PageQuery(
    NumbersOf(
        minute="toUnixTimestamp(post_minutes_v.minute)",
        comments="toInt64(post_minutes_v.comments) - comments_retracted",
        shares="toInt64(post_minutes_v.shares) - shares_retracted",
        likes="toInt64(post_minutes_v.likes) - likes_retracted",
    ),
    "FROM post_minutes_v WHERE post_id = %(post)s ORDER BY post_minutes_v.minute DESC LIMIT 20000",
)

READ_FORECASTS: Final = PageQuery(
    NumbersOf(
        *("shares", "forecast_shares", "forecast_shares_low", "forecast_shares_high"),
        *("forecast_shares_double_age", "forecast_shares_double_age_low", "forecast_shares_double_age_high"),
        at="toUnixTimestamp(spread_as_of)",
    ),
    """
FROM post_history_v
WHERE post_id = %(post)s AND forecast_shares IS NOT NULL
ORDER BY post_history_v.as_of
LIMIT 1 BY toUnixTimestamp(spread_as_of)
LIMIT 5000
""",
)
"""The forecasts of a post as they were shown, the oldest first."""

READ_TREE_EVENTS: Final = PageQuery(
    NumbersOf(
        *("kind", "action", "event_id", "parent_id", "target_id", "actor_id", "channel", "text"),
        at="toUnixTimestamp64Milli(occurred_at) / 1000",
    ),
    """
FROM events_v
WHERE post_id = %(post)s AND kind IN ('share', 'comment')
ORDER BY occurred_at, event_id
LIMIT %(most)s
""",
)
"""The shares and comments of a post, with what takes them back."""

READ_VOICE: Final = PageQuery(
    NumbersOf("brand", "conversation", "share", "count", "voices"), "FROM share_of_voice_v ORDER BY share DESC LIMIT 12"
)

READ_WAITING: Final = PageQuery(
    NumbersOf("post_id", "unanswered", "oldest_unanswered_minutes", "likes", "shares", "comments"),
    """
FROM post_metrics_active_v
WHERE unanswered > 0 AND comments_1h > 0
ORDER BY unanswered DESC, post_id
LIMIT 6
""",
)

READ_TALKED_ABOUT: Final = PageQuery(
    NumbersOf("conversation", "posts_1h", "comments_1h", "voices_1h"),
    """
FROM conversations_active_v
WHERE NOT startsWith(conversation, 'thread:') AND NOT startsWith(conversation, 'author:')
    AND posts_1h + comments_1h > 0
ORDER BY posts_1h + comments_1h DESC, conversation
LIMIT 8
""",
)

_SPIKE: Final = NumbersOf(
    *("spike_id", "group_id", "conversation", "state", "severity", "observed", "expected", "ratio", "scale_minutes"),
    *("voices", "voices_usual", "reasons", "top_posts", "top_counts", "top_authors", "concentration"),
    started_at="toUnixTimestamp(conversation_spikes_v.started_at)",
    ended_at="toUnixTimestamp(conversation_spikes_v.ended_at)",
    counted_until="toUnixTimestamp(conversation_spikes_v.counted_until)",
)

READ_SPIKES: Final = PageQuery(
    _SPIKE,
    """
FROM conversation_spikes_v
WHERE conversation_spikes_v.started_at >= toDateTime(%(since)s, 'UTC')
ORDER BY conversation_spikes_v.started_at DESC, spike_id
LIMIT 300
""",
)

READ_SPIKES_OF: Final = PageQuery(
    _SPIKE,
    """
FROM conversation_spikes_v
WHERE conversation = %(conversation)s
ORDER BY conversation_spikes_v.started_at DESC, spike_id
LIMIT 50
""",
)

READ_SPIKE: Final = PageQuery(
    NumbersOf(
        **_SPIKE,
        evidence="evidence",
        detector="detector",
        channels="channels",
        as_of="toUnixTimestamp(conversation_spikes_v.as_of)",
    ),
    "FROM conversation_spikes_v WHERE spike_id = %(spike)s",
)

READ_SPIKES_OF_CAUSE: Final = PageQuery(
    _SPIKE,
    "FROM conversation_spikes_v WHERE group_id = %(group)s AND spike_id != %(spike)s ORDER BY observed DESC LIMIT 30",
)

READ_DELIVERIES: Final = PageQuery(
    NumbersOf(
        *("receiver", "state", "attempts", "outcome"),
        delivered_at="toUnixTimestamp64Milli(alert_deliveries_v.delivered_at) / 1000",
    ),
    "FROM alert_deliveries_v WHERE spike_id = %(spike)s ORDER BY receiver, state",
)

READ_CONVERSATION: Final = PageQuery(
    NumbersOf(
        *(f"{count}{window}" for count in _COUNTS for window in ("", "_1h", "_24h")),
        *("voices", "voices_1h", "voices_24h", "voices_error", "channels", "is_final"),
        as_of="toUnixTimestamp(conversations_v.as_of)",
        first_minute="toUnixTimestamp(conversations_v.first_minute)",
    ),
    "FROM conversations_v WHERE conversation = %(conversation)s",
)

READ_CONVERSATION_MINUTES: Final = PageQuery(
    NumbersOf("posts", "comments", "shares", "likes", "is_final", minute="toUnixTimestamp(m.minute)"),
    """
FROM conversation_minutes_v AS m
WHERE conversation = %(conversation)s AND m.minute >= toDateTime(%(since)s, 'UTC')
    AND m.minute < toDateTime(%(until)s, 'UTC')
ORDER BY m.minute
""",
)

READ_CONVERSATION_POSTS: Final = PageQuery(
    NumbersOf("post_id", said="sum(toInt64(posts) + comments - comments_retracted)", shares="sum(toInt64(shares))"),
    """
FROM conversation_posts_v
WHERE conversation = %(conversation)s AND minute >= now('UTC') - 86400
GROUP BY post_id
HAVING said > 0
ORDER BY said DESC, post_id
LIMIT 12
""",
)

READ_AUTHOR: Final = PageQuery(
    NumbersOf(
        *("posts", "posts_deleted", "followers", "likes", "shares", "comments"),
        *("applause", "amplification", "conversation"),
        newest_post_at="toUnixTimestamp64Milli(authors_v.newest_post_at) / 1000",
    ),
    "FROM authors_v WHERE author_id = %(author)s AND channel = %(channel)s",
)

READ_AUTHOR_POSTS: Final = PageQuery(
    NumbersOf("post_id"),
    """
FROM posts_v
WHERE author_id = %(author)s AND channel = %(channel)s
ORDER BY created_at DESC
LIMIT 30
""",
)

READ_TOTALS: Final = PageQuery(
    NumbersOf("post_id", "likes", "shares", "comments", "likes_1h", "shares_1h", "comments_1h"),
    "FROM post_metrics_v WHERE post_id IN %(posts)s",
)

FIND_POSTS: Final = PageQuery(
    NumbersOf("post_id", "author_id", "channel", "text", created_at="toUnixTimestamp64Milli(p.created_at) / 1000"),
    """
FROM posts_v AS p
WHERE post_id = %(exact)s OR url = %(exact)s OR startsWith(post_id, %(exact)s)
    OR (text != '' AND positionCaseInsensitiveUTF8(text, %(exact)s) > 0)
ORDER BY post_id = %(exact)s DESC, p.created_at DESC
LIMIT 20
""",
)

FIND_AUTHORS: Final = PageQuery(
    NumbersOf("author_id", "channel", posts="count()"),
    """
FROM posts_v
WHERE startsWith(lowerUTF8(author_id), lowerUTF8(%(name)s))
GROUP BY author_id, channel
ORDER BY lowerUTF8(author_id) = lowerUTF8(%(name)s) DESC, posts DESC, author_id
LIMIT 20
""",
)

FIND_CONVERSATIONS: Final = PageQuery(
    NumbersOf("conversation", minutes="count()", newest="toUnixTimestamp(max(minute))"),
    """
FROM conversation_minutes_v
WHERE arrayExists(prefix -> startsWith(conversation, prefix), %(prefixes)s)
GROUP BY conversation
ORDER BY has(%(prefixes)s, conversation) DESC, minutes DESC, conversation
LIMIT 20
""",
)

"""The first dashboard: what happens now, of everything on one screen."""

from typing import Final

from deploy.grafana.board import Board, ask, number, series, several_variable, stat, table
from deploy.grafana.boards.chosen import ACTIVE_POSTS, CHANNEL_CHOSEN, CHANNEL_OPTIONS, EVERY_CHANNEL, SEVERE, STEP
from deploy.grafana.boards.links import TO_CONVERSATION, TO_POST, TO_SPIKE, TO_THREAD

_RISES: Final = "greatest(ifNull(likes_z_1h, 0), ifNull(shares_z_1h, 0), ifNull(comments_z_1h, 0))"

_ENGAGEMENT_SQL: Final = f"""\
SELECT
  toStartOfInterval(minute, {STEP}) AS time,
  ifNull(channel, 'not known') AS shown_channel,
  sum(toInt64(likes) + shares + comments - likes_retracted - shares_retracted - comments_retracted) AS engagement
FROM post_minutes_between(since = $__fromTime, until = $__toTime)
WHERE {CHANNEL_CHOSEN}
GROUP BY time, shown_channel
ORDER BY time, shown_channel"""

_RISING_SQL: Final = f"""\
SELECT
  post_id AS "Post",
  author_id AS "Author",
  channel AS "Channel",
  round({_RISES}, 1) AS "z (1 h)",
  score_default_1h AS "Score 1 h"
FROM {ACTIVE_POSTS}
WHERE {_RISES} >= 2 AND {CHANNEL_CHOSEN}
ORDER BY "z (1 h)" DESC, post_id
LIMIT 10"""

_LOUDEST_SQL: Final = """\
SELECT
  conversation AS "Conversation",
  posts_1h + comments_1h AS "1 h",
  posts_24h + comments_24h AS "24 h",
  voices_1h AS "People 1 h"
FROM conversations_active_v
WHERE match(conversation, '^(hashtag|mention|brand|label):')
ORDER BY "1 h" DESC, "24 h" DESC, conversation
LIMIT 10"""

_SPIKES_SQL: Final = """\
SELECT
  started_at AS "Began",
  severity AS "Severity",
  conversation AS "Conversation",
  round(observed, 1) AS "Level reached",
  round(expected, 3) AS "Usual level",
  state AS "State",
  spike_id AS "Spike"
FROM conversation_spikes_v
WHERE started_at <= $__toTime AND ifNull(ended_at, as_of) >= $__fromTime
ORDER BY started_at DESC, conversation
LIMIT 10"""

_WAITING_SQL: Final = f"""\
SELECT
  post_id AS "Thread",
  channel AS "Channel",
  unanswered AS "Unanswered",
  oldest_unanswered_minutes AS "Oldest"
FROM {ACTIVE_POSTS}
WHERE unanswered > 0 AND {CHANNEL_CHOSEN}
ORDER BY oldest_unanswered_at, post_id
LIMIT 10"""


def overview_board() -> Board:
    """Makes the dashboard."""
    board = Board("engagement-overview", "Overview", "What happens now: what rises, what is loud, who waits.")
    board.begin_with("now-6h")
    board.lead_to_page()
    board.add_variable(several_variable("channel", "Channel", CHANNEL_OPTIONS, EVERY_CHANNEL))
    board.mark("Severe spikes", SEVERE)
    _add_numbers(board)
    engagement = series(
        "Engagement by channel",
        "Net likes, shares and comments per step of the picture.",
        _ENGAGEMENT_SQL,
        is_stacked=True,
    )
    board.add(engagement, 24, 9)
    words = "Posts whose last hour beats the hour before it: z = (new - old) / sqrt(new + old) is 2 or more."
    board.add(table("Rising posts", words, _RISING_SQL, {"Post": TO_POST}), 12, 9)
    words = "Hashtags, mentions, brands and labels by posts and comments of the last hour."
    board.add(table("Loudest conversations", words, _LOUDEST_SQL, {"Conversation": TO_CONVERSATION}), 12, 9)
    words = "The newest spikes of this time. Level: comments and posts a minute."
    links = {"Conversation": TO_CONVERSATION, "Spike": TO_SPIKE}
    board.add(table("Newest spikes", words, _SPIKES_SQL, links), 14, 9)
    words = "Posts of the last two days with comments that nobody of the brand has answered, the longest wait first."
    board.add(table("Waiting for an answer", words, _WAITING_SQL, {"Thread": TO_THREAD}, {"Oldest": "m"}), 10, 9)
    return board


def _add_numbers(board: Board) -> None:
    of_posts = f"FROM {ACTIVE_POSTS}\nWHERE {CHANNEL_CHOSEN}"
    numbers = (
        (
            "Engagement, 1 h",
            "Net likes, shares and comments of the last hour.",
            f"SELECT sum(likes_1h + shares_1h + comments_1h) {of_posts}",
        ),
        (
            "Posts that got some, 1 h",
            "Posts with an event in the last hour.",
            f"SELECT countIf(score_plain_1h != 0) {of_posts}",
        ),
        (
            "Threads that wait",
            "Posts of the last two days with unanswered comments.",
            f"SELECT countIf(unanswered > 0) {of_posts}",
        ),
    )
    for title, words, sql in numbers:
        board.add(number(title, words, sql), 4, 4)
    spikes = "SELECT countIf(ended_at IS NULL) FROM conversation_spikes_v"
    board.add(
        number("Spikes that go on", "Spikes that have not ended.", spikes, "none", [(None, "green"), (1, "orange")]),
        4,
        4,
    )
    freshness = stat(
        "Freshness p99",
        "From Kafka's receipt of an event to its rows being stored.",
        "s",
        [(None, "green"), (2, "orange"), (10, "red")],
    )
    within = "sum by (le) (rate(engagement_event_to_queryable_seconds_bucket[$__rate_interval]))"
    board.add(ask(freshness, (f"histogram_quantile(0.99, {within})", "p99")), 4, 4)
    lag = stat("Lag", "Records that are not committed yet, of all workers.", "short")
    board.add(ask(lag, ("sum(engagement_consumer_lag)", "lag")), 4, 4)

"""The dashboard of engagement: which posts get it now, in a time, and of all time."""

from typing import Final

from deploy.grafana.board import Board, series, several_variable, table, text_variable
from deploy.grafana.boards.chosen import (
    ACTIVE_POSTS,
    AUTHOR_CHOSEN,
    AUTHOR_OPTIONS,
    CHANNEL_CHOSEN,
    CHANNEL_OPTIONS,
    EVERY_AUTHOR,
    EVERY_CHANNEL,
    EVERY_LABEL,
    LABEL_CHOSEN,
    LABEL_OPTIONS,
    POSTS_CHOSEN,
    SEVERE,
    STEP,
)
from deploy.grafana.boards.links import TO_AUTHOR, TO_POST

_RISES: Final = "greatest(ifNull(likes_z_1h, 0), ifNull(shares_z_1h, 0), ifNull(comments_z_1h, 0))"

_RISING_SQL: Final = f"""\
SELECT
  post_id AS "Post",
  author_id AS "Author",
  channel AS "Channel",
  round({_RISES}, 1) AS "z (1 h)",
  score_default_5m AS "Score 5 min",
  score_default_1h AS "Score 1 h",
  round(likes_velocity_1h + shares_velocity_1h + comments_velocity_1h, 2) AS "Per minute"
FROM {ACTIVE_POSTS}
WHERE {_RISES} >= 2
  AND {POSTS_CHOSEN}
ORDER BY "z (1 h)" DESC, post_id
LIMIT 20"""

_TOP_SQL: Final = f"""\
SELECT
  post_id AS "Post",
  author_id AS "Author",
  channel AS "Channel",
  likes AS "Likes",
  shares AS "Shares",
  comments AS "Comments",
  actors AS "People",
  score_default AS "Score",
  score_default_24h AS "Score 24 h",
  round(hot_6h_now, 2) AS "Hot (6 h)"
FROM {ACTIVE_POSTS}
WHERE {POSTS_CHOSEN}
ORDER BY score_default DESC, post_id
LIMIT 20"""

_IN_TIME_SQL: Final = f"""\
SELECT
  post_id AS "Post",
  author_id AS "Author",
  channel AS "Channel",
  likes AS "Likes",
  shares AS "Shares",
  comments AS "Comments",
  score_default AS "Score"
FROM post_metrics_between(since = $__fromTime, until = $__toTime)
WHERE {CHANNEL_CHOSEN}
  AND {AUTHOR_CHOSEN}
ORDER BY score_default DESC, post_id
LIMIT 20"""

_NET: Final = "sum(toInt64({0}) - {0}_retracted)"
_OVER_TIME_SQL: Final = f"""\
SELECT
  toStartOfInterval(minute, {STEP}) AS time,
  {_NET.format("likes")} AS "likes",
  {_NET.format("shares")} AS "shares",
  {_NET.format("comments")} AS "comments"
FROM post_minutes_between(since = $__fromTime, until = $__toTime)
WHERE {CHANNEL_CHOSEN}
  AND {AUTHOR_CHOSEN}
GROUP BY time
ORDER BY time"""

_BY_CHANNEL_SQL: Final = f"""\
SELECT
  channel AS "Channel",
  count() AS "Posts",
  sum(score_plain_1h) AS "Engagement 1 h",
  sum(score_plain_24h) AS "Engagement 24 h",
  round(avg(likes), 2) AS "Likes a post",
  round(avg(shares), 2) AS "Shares a post",
  round(avg(comments), 2) AS "Comments a post"
FROM {ACTIVE_POSTS}
WHERE {POSTS_CHOSEN}
GROUP BY channel
ORDER BY "Engagement 24 h" DESC, channel"""

_BY_LABEL_SQL: Final = f"""\
SELECT
  label AS "Label",
  count() AS "Posts",
  sum(score_plain_24h) AS "Engagement 24 h",
  round(avg(score_plain), 2) AS "Engagement a post"
FROM {ACTIVE_POSTS}
ARRAY JOIN arrayMap((key, value) -> concat(key, '=', value), mapKeys(labels), mapValues(labels)) AS label
WHERE {CHANNEL_CHOSEN}
  AND {AUTHOR_CHOSEN}
  AND {LABEL_CHOSEN}
GROUP BY label
ORDER BY "Engagement 24 h" DESC, label
LIMIT 50"""


def engagement_board() -> Board:
    """Makes the dashboard."""
    board = Board("engagement", "Engagement", "Rising and top posts by channel, author and label, now and in a time.")
    board.begin_with("now-6h")
    board.lead_to_page()
    board.add_variable(text_variable("find", "Author has"))
    board.add_variable(several_variable("channel", "Channel", CHANNEL_OPTIONS, EVERY_CHANNEL))
    board.add_variable(several_variable("author", "Author", AUTHOR_OPTIONS, EVERY_AUTHOR))
    board.add_variable(several_variable("label", "Label", LABEL_OPTIONS, EVERY_LABEL))
    board.mark("Severe spikes", SEVERE)
    board.add_row("As of now")
    links = {"Post": TO_POST, "Author": TO_AUTHOR}
    words = (
        "Their last hour beats the hour before it: z = (new - old) / sqrt(new + old) of likes, shares or comments is 2 "
        "or more."
    )
    board.add(table("Rising posts", words, _RISING_SQL, links), 12, 9)
    words = (
        "Posts of the last two days by engagement of all time: like 1, share 2, comment 3, net of what was taken back."
    )
    board.add(table("Top posts", words, _TOP_SQL, links), 12, 9)
    board.add_row("In the time shown")
    words = "Net likes, shares and comments per step of the picture."
    board.add(series("Engagement over time", words, _OVER_TIME_SQL), 12, 9)
    words = "Posts by what came in the time shown alone, old posts included."
    board.add(table("Most engagement in this time", words, _IN_TIME_SQL, links), 12, 9)
    board.add_row("Compared")
    words = "Posts of the last two days: what came of late, and what a post has in all."
    board.add(table("By channel", words, _BY_CHANNEL_SQL), 12, 8)
    words = "The same by label: campaign, format, language. A post counts under each of its labels."
    board.add(table("By label", words, _BY_LABEL_SQL), 12, 8)
    return board

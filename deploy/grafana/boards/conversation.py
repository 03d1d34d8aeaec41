"""A conversation: its minutes, the posts that carry it, its spikes, and the answers of one of its threads."""

from typing import Final

from deploy.grafana.board import Board, number, query_variable, series, table, text_variable
from deploy.grafana.boards.chosen import CONVERSATION_OPTIONS, SEVERE, STEP, one
from deploy.grafana.boards.links import TO_SPIKE, TO_THREAD

_ITS: Final = f"conversation = {one('conversation')}"

_SPOKEN_SQL: Final = (
    f"SELECT sum(posts + comments)\nFROM conversation_minutes_v\nWHERE {_ITS} AND $__timeFilter(minute)"
)
_VOICES_SQL: Final = f"""\
SELECT uniqExactArray(voices)
FROM conversation_posts_v
WHERE {_ITS} AND $__timeFilter(minute)"""
_CARRYING_SQL: Final = f"SELECT uniqExact(post_id)\nFROM conversation_posts_v\nWHERE {_ITS} AND $__timeFilter(minute)"
_SPIKED_SQL: Final = f"""\
SELECT count()
FROM conversation_spikes_v
WHERE {_ITS} AND started_at <= $__toTime AND ifNull(ended_at, as_of) >= $__fromTime"""

_MINUTES_SQL: Final = f"""\
SELECT
  toStartOfInterval(minute, {STEP}) AS time,
  sum(posts) AS "posts",
  sum(comments) AS "comments"
FROM conversation_minutes_v
WHERE conversation = {one("conversation")} AND $__timeFilter(minute)
GROUP BY time
ORDER BY time WITH FILL
  FROM toStartOfInterval($__fromTime, {STEP})
  TO $__toTime
  STEP {STEP}"""

_LIKES_SQL: Final = f"""\
SELECT
  toStartOfInterval(minute, {STEP}) AS time,
  sum(likes) AS "likes",
  sum(shares) AS "shares"
FROM conversation_minutes_v
WHERE conversation = {one("conversation")} AND $__timeFilter(minute)
GROUP BY time
ORDER BY time"""

_PEOPLE_SQL: Final = f"""\
SELECT
  toStartOfInterval(minute, {STEP}) AS time,
  max(voices) AS "voices",
  max(channels) AS "channels"
FROM conversation_minutes_v
WHERE conversation = {one("conversation")} AND $__timeFilter(minute)
GROUP BY time
ORDER BY time"""

_POSTS_SQL: Final = f"""\
SELECT
  post_id AS "Post",
  sum(toInt64(posts) + comments - comments_retracted) AS "Comments and posts",
  sum(toInt64(likes) - likes_retracted) AS "Likes",
  sum(toInt64(shares) - shares_retracted) AS "Shares",
  uniqExactArray(voices) AS "People"
FROM conversation_posts_v
WHERE {_ITS} AND $__timeFilter(minute)
GROUP BY post_id
ORDER BY "Comments and posts" DESC, post_id
LIMIT 50"""

_SPIKES_SQL: Final = f"""\
SELECT
  started_at AS "Began",
  severity AS "Severity",
  round(observed, 1) AS "Level reached",
  round(expected, 3) AS "Usual level",
  dateDiff('minute', started_at, ifNull(ended_at, as_of)) AS "Duration",
  spike_id AS "Spike"
FROM conversation_spikes_v
WHERE {_ITS} AND started_at <= $__toTime AND ifNull(ended_at, as_of) >= $__fromTime
ORDER BY started_at DESC
LIMIT 50"""

_THREAD_SQL: Final = f"""\
SELECT post_id
FROM conversation_posts_v
WHERE {_ITS} AND $__timeFilter(minute)
GROUP BY post_id
ORDER BY sum(comments) DESC, post_id
LIMIT 200"""

_ANSWERS_SQL: Final = f"""\
SELECT as_of AS time, comments, answered, unanswered
FROM post_history_v
WHERE post_id = {one("post")} AND $__timeFilter(as_of)
ORDER BY time"""

_RESPONSE_SQL: Final = f"""\
SELECT
  as_of AS time,
  first_response_p50 AS "p50",
  first_response_p90 AS "p90",
  first_response_business_p50 AS "business hours p50"
FROM post_history_v
WHERE post_id = {one("post")} AND $__timeFilter(as_of)
ORDER BY time"""


def conversation_board() -> Board:
    """Makes the dashboard."""
    board = Board("engagement-conversation", "Conversation", "One conversation: its minutes, its posts, its spikes.")
    board.lead_to_page()
    board.add_variable(text_variable("find", "Conversation has"))
    board.add_variable(query_variable("conversation", "Conversation", CONVERSATION_OPTIONS))
    board.add_variable(query_variable("post", "Thread", _THREAD_SQL))
    board.mark("Severe spikes", SEVERE, is_on=False)
    board.mark("Spikes of the conversation", _ITS, colour="red")
    board.add_row("$conversation")
    numbers = (
        ("Posts and comments in this time", "Net, of the conversation.", _SPOKEN_SQL),
        ("People in this time", "Distinct people who posted, shared or commented.", _VOICES_SQL),
        ("Posts that carry it", "Posts with an event of the conversation in this time.", _CARRYING_SQL),
        ("Spikes in this time", "Spikes of the conversation that touch this time.", _SPIKED_SQL),
    )
    for title, words, sql in numbers:
        board.add(number(title, words, sql), 6, 4)
    words = "Net per step of the picture; minutes without any are zero."
    board.add(series("Posts and comments", words, _MINUTES_SQL), 9, 9)
    board.add(series("Likes and shares", "Net per step of the picture.", _LIKES_SQL), 8, 9)
    words = "Distinct people of a minute, the most of each step; open minutes may still grow."
    board.add(series("Voices per minute", words, _PEOPLE_SQL), 7, 9)
    words = "Posts by what each of them brought to the conversation in this time."
    board.add(table("Its posts", words, _POSTS_SQL, {"Post": TO_THREAD}), 12, 9)
    words = "Spikes of the conversation that touch this time. Level: comments and posts a minute."
    board.add(table("Its spikes", words, _SPIKES_SQL, {"Spike": TO_SPIKE}, {"Duration": "m"}), 12, 9)
    board.add_row("One thread: $post")
    words = "Audience comments with and without an answer of the brand."
    board.add(series("Answers, as they were known", words, _ANSWERS_SQL), 12, 9)
    words = "Minutes until the first brand turn in answer."
    board.add(series("First response, as it was known", words, _RESPONSE_SQL, "m"), 12, 9)
    return board

"""A post: its engagement, its spread and forecast, its thread, and the conversations that it belongs to."""

from typing import Final

from grafana_foundation_sdk.builders.barchart import Panel as BarChart

from deploy.grafana.board import CLICKHOUSE, Board, SqlQuery, query_variable, series, table, text_variable
from deploy.grafana.boards.chosen import ADDRESS, POST_OPTIONS, SEVERE, one
from deploy.grafana.boards.links import TO_ADDRESS, TO_AUTHOR, TO_CONVERSATION

_FACTS_SQL: Final = f"""\
SELECT
  author_id AS "Author",
  channel AS "Channel",
  created_at AS "Posted",
  followers AS "Followers",
  labels_text AS "Labels",
  {ADDRESS.format("url")} AS "Address",
  likes AS "Likes",
  shares AS "Shares",
  comments AS "Comments",
  actors AS "People",
  score_default_1h AS "Score 1 h",
  score_default AS "Score"
FROM post_metrics_v
WHERE post_id = {one("post")}"""

_CONVERSATIONS_SQL: Final = f"""\
SELECT arrayJoin(arrayConcat(conversations, [concat('thread:', post_id)])) AS "Conversation"
FROM posts_v
WHERE post_id = {one("post")}
ORDER BY "Conversation"
LIMIT 50"""

_ROLLING_SQL: Final = f"""\
SELECT
  time,
  likes_5m AS "likes 5 min",
  shares_5m AS "shares 5 min",
  comments_5m AS "comments 5 min",
  score_default_1h AS "score 1 h"
FROM (
  SELECT
    time,
    sum(net_likes) OVER five AS likes_5m,
    sum(net_shares) OVER five AS shares_5m,
    sum(net_comments) OVER five AS comments_5m,
    sum(net_likes + 2 * net_shares + 3 * net_comments) OVER hour AS score_default_1h
  FROM (
    SELECT
      minute + 60 AS time,
      toInt64(likes) - likes_retracted AS net_likes,
      toInt64(shares) - shares_retracted AS net_shares,
      toInt64(comments) - comments_retracted AS net_comments
    FROM post_minutes_v
    WHERE post_id = {one("post")} AND minute >= $__fromTime - 3660 AND minute < $__toTime
    ORDER BY time WITH FILL FROM toStartOfMinute($__fromTime) - 3600 TO toStartOfMinute($__toTime) + 60 STEP 60
  )
  WINDOW
    five AS (ORDER BY time ROWS BETWEEN 4 PRECEDING AND CURRENT ROW),
    hour AS (ORDER BY time ROWS BETWEEN 59 PRECEDING AND CURRENT ROW)
)
WHERE time >= $__fromTime AND time <= $__toTime
  AND toUnixTimestamp(time) % (60 * greatest(1, intDiv($__interval_s, 60))) = 0
ORDER BY time"""

_TOTALS_SQL: Final = f"""\
SELECT as_of AS time, likes, shares, comments, actors
FROM post_history_v
WHERE post_id = {one("post")} AND $__timeFilter(as_of)
ORDER BY time"""

_FORECAST_SQL: Final = f"""\
SELECT
  as_of AS time,
  shares,
  forecast_shares AS "forecast",
  forecast_shares_low AS "low",
  forecast_shares_high AS "high"
FROM post_history_v
WHERE post_id = {one("post")} AND $__timeFilter(as_of)
ORDER BY time"""

_REPRODUCTION_SQL: Final = f"""\
SELECT spread_as_of AS time, reproduction AS "R", reproduction_low AS "low", reproduction_high AS "high"
FROM post_history_v
WHERE post_id = {one("post")} AND $__timeFilter(spread_as_of)
ORDER BY time"""

_LEVELS_SQL: Final = f"""\
SELECT toString(level) AS "Level", shares[level] AS "Shares", comments[level] AS "Comments"
FROM (
  SELECT share_levels AS shares, comment_levels AS comments
  FROM post_totals_v
  WHERE post_id = {one("post")}
)
ARRAY JOIN range(1, greatest(length(shares), length(comments)) + 1) AS level
ORDER BY level"""

_KNOWN_SQL: Final = f"""\
SELECT
  round(half_life_shares, 1) AS "Half of the shares (min)",
  round(half_life_engagement, 1) AS "Half of all (min)",
  round((
    SELECT rate_half_life_1h FROM post_metrics_active_at(t = now('UTC')) WHERE post_id = {one("post")}
  ), 1) AS "Rate halves in (min)",
  shares_actors AS "People who shared",
  round(concentration, 3) AS "Share of the busiest 1 %",
  round(channels_effective, 1) AS "Channels (effective)",
  arrayStringConcat(arrayMap(r -> ifNull(toString(round(r, 2)), '-'), share_generations), ' ') AS "R by generation",
  share_note AS "Note"
FROM post_totals_v
WHERE post_id = {one("post")}"""

_FORESEEN_SQL: Final = f"""\
SELECT
  shares AS "Shares",
  round(forecast_shares_double_age) AS "At double the age",
  forecast_basis AS "The forecast rests on",
  spread_reason AS "Why not"
FROM post_forecasts_v
WHERE post_id = {one("post")}"""

_ANSWERS_SQL: Final = f"""\
SELECT as_of AS time, comments, answered, unanswered
FROM post_history_v
WHERE post_id = {one("post")} AND $__timeFilter(as_of)
ORDER BY time"""


def post_board() -> Board:
    """Makes the dashboard."""
    board = Board("engagement-post", "Post", "One post: engagement, spread and forecast, thread, conversations.")
    board.lead_to_page()
    board.add_variable(text_variable("find", "Post, author or address has"))
    board.add_variable(query_variable("post", "Post", POST_OPTIONS))
    board.mark("Severe spikes", SEVERE, is_on=False)
    board.mark("Spikes of the post", f"has(top_posts, {one('post')})", colour="red")
    board.add_row("$post")
    links = {"Author": TO_AUTHOR, "Address": TO_ADDRESS}
    board.add(table("What it is", "The post, its author, and what it has in all.", _FACTS_SQL, links), 18, 5)
    words = "Hashtags, mentions, brands, labels, author and thread that the post counts for."
    links = {"Conversation": TO_CONVERSATION}
    board.add(table("Its conversations", words, _CONVERSATIONS_SQL, links), 6, 5)
    words = "Net likes, shares and comments in the 5 minutes, and the weighted score in the hour, before each minute."
    board.add(series("Rolling engagement", words, _ROLLING_SQL), 12, 9)
    words = "post_history: what the post's row said, at steps of an eighth of the post's age and at least a minute."
    board.add(series("Totals as they were shown", words, _TOTALS_SQL), 12, 9)
    board.add_row("How it spreads")
    words = "Net shares and the forecast of their final number, with its 90 % interval."
    board.add(series("Shares and forecast, as they were known", words, _FORECAST_SQL), 9, 9)
    words = "R_t: shares that a share brings, with its 90 % interval. Above 1 it grows."
    board.add(series("Reproduction, as it was known", words, _REPRODUCTION_SQL), 8, 9)
    levels = (
        BarChart()
        .title("Levels of its trees")
        .description("Net shares and comments by how many steps they are from the post.")
        .unit("none")
        .no_value("nothing yet")
        .datasource(CLICKHOUSE)
        .x_field("Level")
        .with_target(SqlQuery(_LEVELS_SQL))
    )
    board.add(levels, 7, 9)
    words = "Half-lives, people, concentration, and how far its shares can be followed."
    board.add(table("What is known of it", words, _KNOWN_SQL), 14, 4)
    words = "What comes next by how it spreads now; and why that is not known."
    board.add(table("What is foreseen", words, _FORESEEN_SQL), 10, 4)
    board.add_row("Its thread")
    words = "Audience comments with and without an answer of the brand."
    board.add(series("Answers, as they were known", words, _ANSWERS_SQL), 24, 8)
    return board

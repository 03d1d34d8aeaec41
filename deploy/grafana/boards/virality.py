"""The dashboard of virality: what spreads now and how far it will go, posts against the author's usual, and messages
that went on elsewhere."""

from typing import Final

from deploy.grafana.board import Board, query_variable, table, text_variable
from deploy.grafana.boards.chosen import ACTIVE_POSTS, SEVERE, one
from deploy.grafana.boards.links import TO_AUTHOR, TO_POST

_SPREADING_SQL: Final = f"""\
SELECT
  post_id AS "Post",
  channel AS "Channel",
  shares AS "Shares",
  shares_1h AS "Shares 1 h",
  round(forecast_shares_next_1h, 1) AS "Next hour",
  round(reproduction, 2) AS "R",
  round(reproduction_low, 2) AS "R low",
  round(reproduction_high, 2) AS "R high",
  round(forecast_shares) AS "Forecast",
  round(forecast_shares_low) AS "Low",
  round(forecast_shares_high) AS "High",
  forecast_basis AS "Rests on",
  spread_reason AS "Why no R",
  spread_as_of AS "As of"
FROM {ACTIVE_POSTS}
WHERE shares > 0
ORDER BY forecast_shares_next_1h DESC NULLS LAST, shares_1h DESC, post_id
LIMIT 20"""

_TREES_SQL: Final = f"""\
SELECT
  post_id AS "Post",
  share_size AS "Nodes",
  share_depth AS "Depth",
  share_max_breadth AS "Breadth",
  round(share_structural_virality, 2) AS "Virality",
  round(share_viral_fraction, 2) AS "Not straight from the post"
FROM {ACTIVE_POSTS}
WHERE share_parents_known AND share_structural_virality IS NOT NULL
ORDER BY share_structural_virality DESC, post_id
LIMIT 20"""

_OVER_SQL: Final = f"""\
SELECT
  post_id AS "Post",
  created_at AS "Posted",
  age AS "Age",
  actual_default AS "Score",
  round(expected_default, 1) AS "Expected",
  round(over_performance_default, 2) AS "Over-performance",
  round(over_performance_default_low, 2) AS "Low",
  round(over_performance_default_high, 2) AS "High",
  posts_compared AS "Posts compared",
  reason AS "Why not"
FROM over_performance_between(
  author = {one("author")}, channel = {one("channel")}, since = $__fromTime, until = $__toTime
)
ORDER BY created_at DESC, post_id, age
LIMIT 100"""

_AUTHOR_SQL: Final = f"""\
SELECT author_id
FROM {ACTIVE_POSTS}
WHERE author_id != '' AND positionCaseInsensitiveUTF8(author_id, {one("find")}) > 0
GROUP BY author_id
ORDER BY sum(score_default_24h) DESC, author_id
LIMIT 200"""

_CHANNEL_SQL: Final = f"""\
SELECT toString(channel) AS used
FROM posts_v
WHERE author_id = {one("author")} AND author_id != ''
GROUP BY used
ORDER BY count() DESC, used"""

_AUTHORS_SQL: Final = """\
SELECT
  author_id AS "Author",
  channel AS "Channel",
  posts AS "Posts",
  voices AS "People",
  round(applause, 2) AS "Applause",
  round(amplification, 2) AS "Amplification",
  round(conversation, 2) AS "Conversation"
FROM authors_between(since = $__fromTime, until = $__toTime)
ORDER BY likes + shares + comments DESC, author_id, channel
LIMIT 50"""

_MESSAGES_SQL: Final = """\
SELECT
  message AS "Message",
  post_id AS "Post",
  origin_channel AS "Began on",
  created_at AS "Began",
  posts AS "Posts",
  channels AS "Channels",
  message_engagement AS "Engagement",
  round(born_elsewhere, 3) AS "Born elsewhere"
FROM carry_over_v
WHERE is_origin AND channels > 1
ORDER BY message_engagement DESC, message
LIMIT 50"""

_LAGS_SQL: Final = """\
SELECT
  message AS "Message",
  origin_channel AS "From",
  channel AS "To",
  min(channel_lag_seconds) AS "Lag",
  count() AS "Posts there",
  sum(engagement) AS "Engagement there"
FROM carry_over_v
WHERE channels > 1 AND channel != origin_channel
GROUP BY message, origin_channel, origin_created_at, channel
ORDER BY origin_created_at DESC, message, channel
LIMIT 50"""


def virality_board() -> Board:
    """Makes the dashboard."""
    board = Board(
        "engagement-virality",
        "Virality",
        "What spreads now and how far it will go, how posts do against the author's usual, what went on elsewhere.",
    )
    board.lead_to_page()
    board.add_variable(text_variable("find", "Author has"))
    board.add_variable(query_variable("author", "Author", _AUTHOR_SQL))
    board.add_variable(query_variable("channel", "Channel", _CHANNEL_SQL))
    board.mark("Severe spikes", SEVERE)
    board.add_row("What spreads, as of now")
    words = (
        "Posts by the shares that are expected in the next hour (a Hawkes process); R_t (Cori et al. 2013) with a 90 % "
        "interval, and the final number of shares that is forecast. Rests on: prior, parameters of many networks, or "
        "own, learned from so many finished posts of the channel."
    )
    board.add(table("Spreading posts", words, _SPREADING_SQL, {"Post": TO_POST}), 14, 9)
    words = (
        "Share trees of the last two days by structural virality (Goel et al. 2015), where shares name what they carry "
        "on. Compare trees of equal size only."
    )
    board.add(table("Trees that went deep", words, _TREES_SQL, {"Post": TO_POST}), 10, 9)
    board.add_row("Against the author's usual: $author on $channel")
    words = (
        "The author's newest posts of the time shown: what each had brought at an age against the middle half of the "
        "last 100 posts before it (CrowdTangle's formula), with a 90 % interval."
    )
    board.add(table("Over-performance", words, _OVER_SQL, {"Post": TO_POST}, {"Age": "m"}), 14, 10)
    words = (
        "What happened to posts of theirs in the time shown: likes (applause), shares (amplification) and comments "
        "(conversation) per new post."
    )
    board.add(table("Authors", words, _AUTHORS_SQL, {"Author": TO_AUTHOR}), 10, 10)
    board.add_row("Carried over")
    words = (
        "One address, or a post and its quotes, on more than one channel: where it began, and what part of its "
        "engagement came elsewhere."
    )
    units = {"Born elsewhere": "percentunit"}
    board.add(table("Messages on several channels", words, _MESSAGES_SQL, {"Post": TO_POST}, units), 12, 9)
    words = "From the origin to the first post on each other channel, newest messages first."
    board.add(table("How long it took", words, _LAGS_SQL, units={"Lag": "s"}), 12, 9)
    return board

"""The dashboard of conversations: what is talked about, by how many people, whose brand is named, who waits."""

from typing import Final

from grafana_foundation_sdk.builders.common import ReduceDataOptions
from grafana_foundation_sdk.builders.piechart import Panel as PieChart
from grafana_foundation_sdk.builders.piechart import PieChartLegendOptions
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.piechart import PieChartLegendValues

from deploy.grafana.board import CLICKHOUSE, Board, SqlQuery, choice_variable, several_variable, table, text_variable
from deploy.grafana.boards.chosen import ACTIVE_POSTS, CHANNEL_CHOSEN, CHANNEL_OPTIONS, EVERY_CHANNEL, SEVERE, one
from deploy.grafana.boards.links import TO_CONVERSATION, TO_THREAD
from deploy.grafana.boards.spikes_sql import KINDS

_CONVERSATIONS_SQL: Final = f"""\
SELECT
  conversation AS "Conversation",
  posts_1h + comments_1h AS "1 h",
  posts_5m + comments_5m AS "5 min",
  posts_24h + comments_24h AS "24 h",
  voices_1h AS "Voices 1 h",
  voices_24h AS "Voices 24 h",
  round(voices_24h_error, 3) AS "Error",
  channels_24h AS "Channels",
  as_of AS "As of",
  is_final AS "Final"
FROM conversations_active_v
WHERE {one("kind")} IN ('all', substring(conversation, 1, position(conversation, ':') - 1))
  AND positionCaseInsensitiveUTF8(conversation, {one("find")}) > 0
ORDER BY "1 h" DESC, "24 h" DESC, conversation
LIMIT 50"""

_SHARE_SQL: Final = """\
SELECT brand AS "Brand", count AS "Posts and comments"
FROM share_of_voice_v
ORDER BY count DESC, brand"""

_BRANDS_SQL: Final = """\
SELECT
  brand AS "Brand",
  count AS "Posts and comments",
  share AS "Share",
  voices AS "Voices",
  voices_share AS "Share of voices",
  likes AS "Likes",
  shares AS "Shares"
FROM share_of_voice_v
ORDER BY count DESC, brand"""

_WAITING_SQL: Final = f"""\
SELECT
  post_id AS "Thread",
  channel AS "Channel",
  unanswered AS "Unanswered",
  oldest_unanswered_minutes AS "Oldest",
  answered AS "Answered",
  round(first_response_p50, 1) AS "First response p50",
  round(first_response_p90, 1) AS "p90",
  round(first_response_business_p50, 1) AS "Business hours p50"
FROM post_metrics_v
WHERE unanswered > 0 AND {CHANNEL_CHOSEN}
ORDER BY oldest_unanswered_at, post_id
LIMIT 50"""

_LIVELIEST_SQL: Final = f"""\
SELECT
  post_id AS "Thread",
  comments AS "Comments",
  comments_actors AS "People",
  comment_depth AS "Depth",
  comment_max_breadth AS "Width",
  thread_h_index AS "h-index",
  round(thread_reciprocity, 2) AS "Reciprocity",
  brand_turns AS "Brand turns",
  audience_turns AS "Audience turns",
  round(brand_ratio, 2) AS "Brand / audience",
  coalesce(thread_reason, comment_note) AS "Note"
FROM {ACTIVE_POSTS}
WHERE comments > 0 AND {CHANNEL_CHOSEN}
ORDER BY comments DESC, post_id
LIMIT 50"""


def conversations_board() -> Board:
    """Makes the dashboard."""
    board = Board(
        "engagement-conversations",
        "Conversations",
        "What is talked about, by how many people, whose brand is named, and which threads wait for an answer.",
    )
    board.lead_to_page()
    board.add_variable(text_variable("find", "Conversation has"))
    board.add_variable(choice_variable("kind", "Kind", KINDS))
    board.add_variable(several_variable("channel", "Channel of threads", CHANNEL_OPTIONS, EVERY_CHANNEL))
    board.mark("Severe spikes", SEVERE, is_on=False)
    board.add_row("What is talked about, as of now")
    words = "By posts and comments of the last hour. Voices: distinct people who posted, shared or commented."
    links = {"Conversation": TO_CONVERSATION}
    board.add(table("Conversations", words, _CONVERSATIONS_SQL, links, {"Error": "percentunit"}), 16, 9)
    share = (
        PieChart()
        .title("Share of voice, 24 h")
        .description("Posts and comments that name each tracked brand.")
        .unit("none")
        .no_value("no brand was named")
        .datasource(CLICKHOUSE)
        .reduce_options(ReduceDataOptions().values(True).calcs([]).fields(""))
        .legend(
            PieChartLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.RIGHT)
            .show_legend(True)
            .values([PieChartLegendValues.PERCENT])
        )
        .with_target(SqlQuery(_SHARE_SQL))
    )
    board.add(share, 8, 9)
    words = "Share of voice by posts and comments, and by people."
    units = {"Share": "percentunit", "Share of voices": "percentunit"}
    board.add(table("Brands, 24 h", words, _BRANDS_SQL, units=units), 24, 6)
    board.add_row("Threads")
    words = "Comments of the audience without a direct answer of the brand, of all posts; the longest wait first."
    units = dict.fromkeys(("Oldest", "First response p50", "p90", "Business hours p50"), "m")
    board.add(table("Waiting for an answer", words, _WAITING_SQL, {"Thread": TO_THREAD}, units), 12, 9)
    words = (
        "Posts of the last two days: depth and width of the comment tree, h-index of nesting, pairs who answered each "
        "other, and brand turns "
        "against the audience's."
    )
    board.add(table("Liveliest threads", words, _LIVELIEST_SQL, {"Thread": TO_THREAD}), 12, 9)
    return board

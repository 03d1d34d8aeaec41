"""Views of days: conversations, authors and posts by day, of closed days and of open ones."""

from deploy.clickhouse.days.rolled import DAY_VOICES, NET_COUNTS, all_days
from deploy.clickhouse.drafting import AUTHOR_KIND, THREAD_KIND, Shown, View, author_of, indent, kind_of, view
from deploy.clickhouse.spread.posts_with_facts import AUTHOR_AND_CHANNEL, FACTS
from deploy.clickhouse.views_of_conversations import error_of, estimate
from schemas.metrics import VOICES
from schemas.tables import CONVERSATION, DAY, POST_ID, Column


def conversation_days_view() -> View:
    """Shows one row per conversation and day."""
    comment = "One row per conversation and day on which something was said or liked; the sum of its minutes"
    voices = f"64-bit hashes of these people, at most {DAY_VOICES}; unite those of days by uniqExactArray(voice_hashes)"
    shown = [
        (CONVERSATION, "d.conversation"),
        kind_of("d.conversation"),
        *_day_columns(NET_COUNTS),
        (Column("voice_hashes", "Array(UInt64)", voices), "d.voices"),
    ]
    return view("conversation_days_v", comment, shown, f"FROM\n(\n{indent(all_days())}\n) AS d")


def author_days_view() -> View:
    """Shows one row per author, channel and day, from the conversations `author:<channel>/<id>`."""
    comment = "One row per author, channel and day: what happened to the author's posts, old ones too, on that day"
    shown = [*author_of("d.conversation"), *_day_columns(NET_COUNTS)]
    return view("author_days_v", comment, shown, _of_kind(AUTHOR_KIND))


def post_days_view() -> View:
    """Shows one row per post and day, from the conversations `thread:<post_id>`."""
    comment = "One row per post and day: what happened to the post on that day"
    shown: list[Shown] = [
        (POST_ID, f"substring(d.conversation, {len(THREAD_KIND) + 1})"),
        *_day_columns(NET_COUNTS[1:]),
        *AUTHOR_AND_CHANNEL,
    ]
    tail = f"""\
{_of_kind(THREAD_KIND)}
LEFT ANY JOIN
(
    {FACTS}posts FINAL
) AS p ON p.post_id = substring(d.conversation, {len(THREAD_KIND) + 1})"""
    return view("post_days_v", comment, shown, tail)


def _of_kind(prefix: str) -> str:
    days = indent(indent(all_days()))
    return (
        f"FROM\n(\n    SELECT *\n    FROM\n    (\n{days}\n    )\n    WHERE startsWith(conversation, '{prefix}')\n) AS d"
    )


def _day_columns(counts: tuple[str, ...]) -> list[Shown]:
    said = f"an estimate beyond {DAY_VOICES} of them, or where a post had over {VOICES} in a minute, with voices_error"
    return [
        (DAY, "d.day"),
        *(
            (Column(count, "Int64", "Posts" if count == "posts" else f"Net {count} of the day"), f"d.{count}")
            for count in counts
        ),
        (
            Column("voices", "UInt64", f"Distinct people who posted, shared or commented on this day; {said}"),
            f"toUInt64(round({estimate('d.voices', 'd.voices_below')}))",
        ),
        (
            Column("voices_error", "Float64", "Relative standard error of voices; 0: exact"),
            error_of("d.voices", "d.voices_below"),
        ),
        (Column("channels", "UInt32", "Distinct channels of posts, shares and comments"), "length(d.channels)"),
        (Column("minutes", "UInt32", "Minutes in which something was said or liked"), "d.minutes"),
        (Column("first_minute", "DateTime('UTC')", "Start of the first of these minutes"), "d.first_minute"),
        (Column("as_of", "DateTime('UTC')", "End of the last of these minutes"), "d.last_minute + 60"),
        (
            Column("is_final", "UInt8", "1 where the day is closed: no event of it is expected any more"),
            "d.is_rolled",
        ),
    ]

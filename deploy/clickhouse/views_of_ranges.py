"""Views of a range of time, which cost as much as the range holds: active conversations, conversations, authors, posts
and panes between two times; and of all panes."""

from typing import Final

from deploy.clickhouse.days.ranges import days_and_edges
from deploy.clickhouse.days.rolled import HEARD_IN_ALL, NET_COUNTS
from deploy.clickhouse.drafting import (
    AUTHOR_KIND,
    HIDDEN,
    NOW,
    REAL_OR_NULL,
    SHOWN_AT,
    THREAD_KIND,
    Shown,
    View,
    any_count,
    author_of,
    indent,
    kind_of,
    ratio_or_null,
    shown_column,
    time_parameter,
    view,
    weighted,
    with_buckets,
)
from deploy.clickhouse.spread.posts_with_facts import ACTIVE_FACTS, ALL_FACTS, AUTHOR_AND_CHANNEL, LONGEST_LOOK_BACK
from deploy.clickhouse.views_of_authors import KAUSHIK
from deploy.clickhouse.views_of_conversations import (
    BRAND,
    ESTIMATE,
    EXACT,
    IS_FINAL,
    NET_SUMS,
    brand_columns,
    error_of,
    estimate,
    heard_sets,
    minutes_and_people,
    recent,
)
from schemas.metrics import MEASURES, WEIGHT_SETS, WINDOWS, in_words
from schemas.tables import CONVERSATION, POST_METRICS, POST_MINUTES, Column

_LAST_DAY: Final = recent(max(WINDOWS.values()))
"""The condition of the minutes of the longest window of a conversation."""

_BETWEEN: Final = f"minute >= {time_parameter('since')} AND minute < {time_parameter('until')}"
_EXAMPLE: Final = "(since = '2026-01-01T00:00:00Z', until = '2026-01-08T00:00:00Z')"


def conversations_active_view() -> View:
    """Shows one row per conversation of which something was said or liked in the last 24 hours."""
    comment = (
        "conversations_v of active conversations, those of the last 24 h: their windows as of now. Reads nothing "
        "older, so it has no totals of all time"
    )
    shown: list[Shown] = [
        (CONVERSATION, "c.conversation"),
        kind_of("c.conversation"),
        (Column("as_of", "DateTime('UTC')", "End of its newest minute (conversation_minutes)"), "c.as_of"),
        (
            Column("is_final", "UInt8", "1 where its newest minute is closed: no event of it is expected any more"),
            "c.is_final",
        ),
    ]
    for count in NET_COUNTS:
        for window in WINDOWS:
            said = f"{_net(count)} in the {window} before now (conversation_minutes)"
            shown.append((Column(f"{count}_{window}", "Int64", said), f"c.{count}_{window}"))
    for window in WINDOWS:
        shown += _voices(f"voices_{window}", window, f" in the {window} before now")
    for window in WINDOWS:
        said = f"Distinct channels of posts, shares and comments in the {window} before now (conversation_posts)"
        shown.append((Column(f"channels_{window}", "UInt64", said), f"v.channels_{window}"))
    shown.append((SHOWN_AT, NOW))
    sums = ",\n        ".join(
        f"sumIf(toInt64({count}), {recent(minutes)}) AS {count}_{window}"
        for count in NET_COUNTS
        for window, minutes in WINDOWS.items()
    )
    people = ",\n        ".join(
        f"{heard_sets(window, recent(minutes))},\n        "
        f"uniqExactArrayIf(channels, {recent(minutes)}) AS channels_{window}"
        for window, minutes in WINDOWS.items()
    )
    newest = f"max(minute) + 60 AS as_of,\n        argMax({IS_FINAL}, minute) AS is_final"
    return view(
        "conversations_active_v", comment, shown, minutes_and_people(_LAST_DAY, f"{newest},\n        {sums}", people)
    )


def conversations_between_view() -> View:
    """Shows one row per conversation of which something was said or liked between two times."""
    comment = f"One row per conversation, minutes from `since` on and before `until`: conversations_between{_EXAMPLE}"
    shown = [(CONVERSATION, "c.conversation"), kind_of("c.conversation"), *_between_columns()]
    return view("conversations_between", comment, shown, _between_tail("1"), typed=False)


def authors_between_view() -> View:
    """Shows one row per author and channel whose posts got something between two times, from the conversations
    `author:<channel>/<id>`."""
    comment = (
        "One row per author and channel: what happened to their posts, old ones too, in minutes from `since` on and "
        f"before `until`: authors_between{_EXAMPLE}"
    )
    shown = [*author_of("c.conversation"), *_between_columns()]
    for rate, measure in KAUSHIK.items():
        said = f"{measure} / posts of the range (Kaushik 2011, by the time of the {measure}); NULL without posts"
        shown.append((Column(rate, REAL_OR_NULL, said), ratio_or_null(f"c.{measure}_sum", "c.posts_sum")))
    return view(
        "authors_between", comment, shown, _between_tail(f"startsWith(conversation, '{AUTHOR_KIND}')"), typed=False
    )


def share_of_voice_between_view() -> View:
    """Shows the share of voice of each tracked brand between two times, a view with parameters."""
    comment = (
        "share_of_voice_v of minutes from `since` on and before `until`: "
        "SELECT * FROM share_of_voice(since = '2026-01-01T00:00:00Z', until = '2026-02-01T00:00:00Z')"
    )
    tail = days_and_edges(f"startsWith(conversation, '{BRAND}')", NET_SUMS, HEARD_IN_ALL)
    return view("share_of_voice", comment, brand_columns(), tail, typed=False)


def post_metrics_between_view() -> View:
    """Shows one row per post to which something happened between two times."""
    comment = (
        f"One row per post that had a {in_words(tuple(measure[:-1] for measure in MEASURES), 'or')} in minutes from "
        f"`since` on and before `until`: post_metrics_between{_EXAMPLE}"
    )
    shown: list[Shown] = [
        (POST_METRICS["post_id"], "w.post_id"),
        *((Column(m, "Int64", f"Net {m} of the range: added less taken back"), f"w.{m}_sum") for m in MEASURES),
    ]
    for name, weights in WEIGHT_SETS.items():
        shown.append((Column(f"score_{name}", "Float64", "Weighted net engagement"), weighted(weights, "w.{}_sum")))
    shown += [
        *_voices("voices", "all", " of the range, of the post's thread"),
        *AUTHOR_AND_CHANNEL,
    ]
    sums = ",\n        ".join(f"sum(toInt64({measure}) - {measure}_retracted) AS {measure}_sum" for measure in MEASURES)
    panes = f"FROM {{database}}.post_minutes FINAL\n    PREWHERE {_BETWEEN}\n    WHERE {any_count()}"
    tail = f"""\
FROM
(
    SELECT
        post_id,
        {sums}
    {panes}
    GROUP BY post_id
) AS w
LEFT ANY JOIN
(
    SELECT
        substring(conversation, {len(THREAD_KIND) + 1}) AS post_id,
        {heard_sets("all", "1")}
    FROM {{database}}.conversation_posts FINAL
    PREWHERE startsWith(conversation, '{THREAD_KIND}') AND {_BETWEEN}
    GROUP BY conversation
) AS v ON v.post_id = w.post_id
LEFT ANY JOIN
(
{indent(_facts_between())}
) AS p ON p.post_id = w.post_id"""
    return view("post_metrics_between", comment, shown, tail, typed=False)


def post_minutes_view() -> View:
    """Shows the current panes with content. The join reads author and channel of all posts (0.2 s of CPU and 70 MB a
    million), whether they are asked for or not; of one post it reads one."""
    return view(f"{POST_MINUTES.name}_v", POST_MINUTES.comment, _minutes_columns(), _minutes_tail("", ALL_FACTS))


def _minutes_columns() -> list[Shown]:
    """Shows the columns of post_minutes AS m, and author and channel from the facts p."""
    shown = with_buckets([shown_column(each, "m") for each in POST_MINUTES.columns if each.name not in HIDDEN])
    shown[1:1] = AUTHOR_AND_CHANNEL
    return shown


def _minutes_tail(when: str, facts: str) -> str:
    """Writes the FROM clause of panes with content AS m, of those that meet the condition `when` on the minute, where
    there is one, and of the query `facts` of posts AS p."""
    panes = f"    PREWHERE {when}\n" if when else ""
    return f"""\
FROM
(
    SELECT *
    FROM {{database}}.{POST_MINUTES.name} FINAL
{panes}    WHERE {any_count()}
) AS m
LEFT ANY JOIN
(
{indent(facts)}
) AS p ON p.post_id = m.post_id"""


def post_minutes_between_view() -> View:
    """Shows post_minutes_v of a range; reads the facts of posts that were active in it alone."""
    comment = (
        "post_minutes_v of minutes from `since` on and before `until`. What was active in the last two days is found "
        f"without a look at all posts: post_minutes_between{_EXAMPLE}"
    )
    return view(
        "post_minutes_between", comment, _minutes_columns(), _minutes_tail(_BETWEEN, _facts_between()), typed=False
    )


def _facts_between() -> str:
    """Writes the query of the facts of posts that had an event between two times."""
    return f"""\
{ACTIVE_FACTS}
UNION ALL
{ALL_FACTS}
WHERE {time_parameter("since")} < {NOW} - {LONGEST_LOOK_BACK} AND post_id IN
(
    SELECT post_id
    FROM {{database}}.post_minutes
    WHERE {_BETWEEN} AND post_id NOT IN (SELECT post_id FROM {{database}}.posts_active)
)"""


def _between_columns() -> list[Shown]:
    return [
        *((Column(count, "Int64", f"{_net(count)} of the range"), f"c.{count}_sum") for count in NET_COUNTS),
        *_voices("voices", "all", " in the range"),
        (Column("channels", "UInt64", "Distinct channels of posts, shares and comments"), "v.channels_all"),
        (Column("first_minute", "DateTime('UTC')", "Start of its first minute in the range"), "c.first_minute"),
        (Column("as_of", "DateTime('UTC')", "End of its last minute in the range"), "c.as_of"),
    ]


def _between_tail(which: str) -> str:
    sums = ",\n        ".join(f"sum(toInt64({count})) AS {count}_sum" for count in NET_COUNTS)
    sums = f"min(first_said) AS first_minute,\n        max(last_said) + 60 AS as_of,\n        {sums}"
    return days_and_edges(which, sums, f"{HEARD_IN_ALL},\n        uniqExactArray(channels) AS channels_all")


def _net(count: str) -> str:
    return "Posts" if count == "posts" else f"Net {count}"


def _voices(name: str, window: str, when: str) -> list[Shown]:
    heard, theta = f"v.heard_{window}", f"v.theta_{window}"
    return [
        (
            Column(
                name,
                "UInt64",
                f"Distinct people who posted, shared or commented{when} ({EXACT}); {ESTIMATE} {name}_error",
            ),
            f"toUInt64(round({estimate(heard, theta)}))",
        ),
        (
            Column(f"{name}_error", "Float64", f"Relative standard error of {name}; 0: exact"),
            error_of(heard, theta),
        ),
    ]

"""Views of conversations: how much is said in all and of late, by how many people, and each brand's share."""

from typing import Final

from deploy.clickhouse.days.rolled import (
    ALL_HASHES,
    HEARD_IN_ALL,
    NET_COUNTS,
    ROLLED_UNTIL,
    SAID,
    VOICES_BELOW,
    counts_and_people,
    nested,
)
from deploy.clickhouse.drafting import (
    HIDDEN,
    NOW,
    REAL_OR_NULL,
    SHOWN_AT,
    Shown,
    View,
    kind_of,
    shown_column,
    view,
    with_buckets,
)
from schemas.metrics import VOICES, WINDOWS
from schemas.tables import CONVERSATION, CONVERSATION_MINUTES, Column

BRAND: Final = "brand:"
NET_SUMS: Final = ",\n        ".join(f"sum(toInt64({count})) AS {count}" for count in NET_COUNTS)

EXACT: Final = "conversation_posts' voices, each once"
ESTIMATE: Final = f"an estimate where a post had more than {VOICES} of them in a minute, with"


IS_FINAL: Final = """\
greatest(is_final, ifNull(minute < (
            SELECT min(until)
            FROM (SELECT max(closed_until) AS until FROM {database}.conversation_marks GROUP BY partition)
        ), 0))"""
"""A row that an owner wrote who did not know yet that another one had closed its minute is final as well."""


def conversation_minutes_view() -> View:
    """Shows the current rows of conversation_minutes."""
    columns = [column for column in CONVERSATION_MINUTES.columns if column.name not in HIDDEN]
    shown = [(column, IS_FINAL) if column.name == "is_final" else shown_column(column) for column in columns]
    tail = f"FROM {{database}}.{CONVERSATION_MINUTES.name} FINAL"
    return view("conversation_minutes_v", CONVERSATION_MINUTES.comment, with_buckets(shown), tail)


def conversations_view() -> View:
    """Shows one row per conversation, with windows as of now."""
    comment = "One row per conversation: all of it, and its last minutes as of now"
    return view("conversations_v", comment, _conversation_columns(), _conversation_tail())


def _conversation_columns() -> list[Shown]:
    shown: list[Shown] = [
        (CONVERSATION, "c.conversation"),
        kind_of("c.conversation"),
        (Column("as_of", "DateTime('UTC')", "End of its newest minute (conversation_minutes)"), "c.as_of"),
        (
            Column("first_minute", "DateTime('UTC')", "Start of its oldest minute (conversation_minutes)"),
            "c.first_minute",
        ),
        (
            Column("minutes", "UInt64", "Minutes in which something was said or liked (conversation_minutes)"),
            "c.minutes",
        ),
        (
            Column("is_final", "UInt8", "1 where its newest minute is closed: no event of it is expected any more"),
            "c.is_final",
        ),
    ]
    for count in NET_COUNTS:
        net = "Posts" if count == "posts" else f"Net {count}"
        shown.append((Column(count, "Int64", f"{net} in all (conversation_minutes)"), f"c.{count}_all"))
        for window in WINDOWS:
            said = f"{net} in the {window} before now (conversation_minutes)"
            shown.append((Column(f"{count}_{window}", "Int64", said), f"c.{count}_{window}"))
    for window in ("all", *WINDOWS):
        name, when = ("voices", "") if window == "all" else (f"voices_{window}", f" in the {window} before now")
        shown += [
            (
                Column(
                    name,
                    "UInt64",
                    f"Distinct people who posted, shared or commented{when} ({EXACT}); {ESTIMATE} {name}_error",
                ),
                f"toUInt64(round({estimate(f'v.heard_{window}', f'v.theta_{window}')}))",
            ),
            (
                Column(
                    f"{name}_error",
                    "Float64",
                    f"Relative standard error of {name}, sqrt((1 - p) / kept) of a theta sketch (Dasgupta et al. "
                    "2015); 0: exact",
                ),
                error_of(f"v.heard_{window}", f"v.theta_{window}"),
            ),
        ]
    shown += [
        (
            Column("channels", "UInt64", "Distinct channels of posts, shares and comments (conversation_posts)"),
            "v.channels",
        ),
        (SHOWN_AT, NOW),
    ]
    return shown


def _conversation_tail() -> str:
    sums = ",\n        ".join(
        line
        for count in NET_COUNTS
        for line in (
            f"sumIf(toInt64({count}), in_all) AS {count}_all",
            *(f"sumIf(toInt64({count}), {recent(minutes)}) AS {count}_{window}" for window, minutes in WINDOWS.items()),
        )
    )
    counts, no_minute = ", ".join(NET_COUNTS), "toDateTime(0, 'UTC') AS minute"
    # Minutes of rolled days are read for the windows alone.
    since = f"minute >= least({ROLLED_UNTIL}, {NOW} - {max(WINDOWS.values()) * 60})"
    sums = f"""\
max(last_said) + 60 AS as_of,
        minIf(first_said, in_all) AS first_minute,
        sumIf(minutes_said, in_all) AS minutes,
        argMax(final, last_said) AS is_final,
        {sums}"""
    minutes = f"""\
SELECT conversation, minute, minute AS first_said, minute AS last_said, toUInt32(1) AS minutes_said,
    {IS_FINAL} AS final, minute >= {ROLLED_UNTIL} AS in_all, {counts}
FROM {{database}}.conversation_minutes FINAL
PREWHERE {since}
WHERE {SAID}
UNION ALL
SELECT conversation, {no_minute}, first_minute, last_minute, minutes, 1, 1, {counts}
FROM {{database}}.conversation_days FINAL
WHERE day < toDate({ROLLED_UNTIL}) AND minutes > 0"""
    people = f"uniqExactArray(channels) AS channels,\n        {HEARD_IN_ALL},\n        {_heard_in_windows()}"
    cells = f"""\
SELECT conversation, minute, channels, voices,
    {VOICES_BELOW} AS voices_below
FROM {{database}}.conversation_posts FINAL
PREWHERE {since}
UNION ALL
SELECT conversation, {no_minute}, channels, voices, voices_below
FROM {{database}}.conversation_days FINAL
WHERE day < toDate({ROLLED_UNTIL})"""
    return counts_and_people(sums, minutes, people, nested(cells))


def _heard_in_windows() -> str:
    return ",\n        ".join(
        f"groupUniqArrayArrayIf(voices, {recent(minutes)}) AS heard_{window},\n        "
        f"min(if({recent(minutes)}, voices_below, {ALL_HASHES})) AS theta_{window}"
        for window, minutes in WINDOWS.items()
    )


def share_of_voice_view() -> View:
    """Shows the share of voice of each tracked brand in the last 24 hours."""
    since, until = f"{NOW} - {WINDOWS['24h'] * 60}", NOW
    comment = "One row per tracked brand that was spoken of in the 24 h before now: its share of what was said of all"
    return view("share_of_voice_v", comment, brand_columns(), _brand_tail(since, until))


def brand_columns() -> list[Shown]:
    """Shows the columns of brands, from the sums of minutes AS c and the people AS v."""
    spoken, heard = "greatest(c.posts + c.comments, 0)", f"toUInt64(round({estimate('v.heard_all', 'v.theta_all')}))"
    shown: list[Shown] = [
        (
            Column("brand", "String", "Name of the brand, as the file of brands has it"),
            f"substring(c.conversation, {len(BRAND) + 1})",
        ),
        (CONVERSATION, "c.conversation"),
        *(
            (
                Column(
                    count,
                    "Int64",
                    f"{'Posts' if count == 'posts' else f'Net {count}'} that name it (conversation_minutes)",
                ),
                f"c.{count}",
            )
            for count in NET_COUNTS
        ),
        (Column("count", "Int64", "Posts + comments"), spoken),
        (
            Column(
                "share", REAL_OR_NULL, "Share of voice, 0 to 1: count / that of all tracked brands; NULL without any"
            ),
            f"{spoken} / nullIf(sum({spoken}) OVER (), 0)",
        ),
        (
            Column(
                "voices",
                "UInt64",
                f"Distinct people who posted, shared or commented ({EXACT}); {ESTIMATE} voices_error",
            ),
            heard,
        ),
        (
            Column("voices_error", "Float64", "Relative standard error of voices; 0: exact"),
            error_of("v.heard_all", "v.theta_all"),
        ),
        (
            Column(
                "voices_share",
                REAL_OR_NULL,
                "Share of voices, 0 to 1: voices / the sum of those of all tracked brands; NULL without any",
            ),
            f"{heard} / nullIf(sum({heard}) OVER (), 0)",
        ),
    ]
    return shown


def minutes_and_people(when: str, sums: str, people: str) -> str:
    """Writes the FROM clause of conversations: `sums` of their minutes AS c, `people` of their cells AS v."""
    minutes = f"SELECT *\nFROM {{database}}.conversation_minutes FINAL\nPREWHERE {when}\nWHERE {SAID}"
    return counts_and_people(sums, minutes, people, f" {{database}}.conversation_posts FINAL\n    PREWHERE {when}")


def _brand_tail(since: str, until: str) -> str:
    when = f"startsWith(conversation, '{BRAND}') AND minute >= {since} AND minute < {until}"
    return minutes_and_people(when, NET_SUMS, heard_sets("all", "1"))


def recent(minutes: int) -> str:
    return f"minute >= {NOW} - {minutes * 60} AND minute < {NOW}"


def heard_sets(window: str, when: str) -> str:
    """Writes the columns heard_* and theta_*: all hashes of the rows where `when` holds, and the least threshold below
    which every sketch has all hashes."""
    return (
        f"groupUniqArrayArrayIf(voices, {when}) AS heard_{window},\n        "
        f"min(if(voices_exact = 0 AND {when}, arrayMax(voices), {ALL_HASHES})) AS theta_{window}"
    )


def estimate(heard: str, theta: str) -> str:
    """Writes the number of voices: the count of all hashes, or with a sketch among the rows the count of hashes below
    theta, divided by the share of the hash space below theta."""
    sketched = f"{_kept(heard, theta)} / ({theta} / {ALL_HASHES + 1}.)"
    return f"if({_whole(theta)}, length({heard}), {sketched})"


def error_of(heard: str, theta: str) -> str:
    """Writes the relative standard error of `estimate`."""
    kept = f"greatest({_kept(heard, theta)}, 1)"
    return f"if({_whole(theta)}, 0, sqrt((1 - {theta} / {ALL_HASHES + 1}.) / {kept}))"


def _kept(heard: str, theta: str) -> str:
    return f"arrayCount(hash -> hash < {theta}, {heard})"


def _whole(theta: str) -> str:
    # theta is 0 where conversation_posts has no row at all.
    return f"{theta} IN (0, {ALL_HASHES})"

"""Views of over-performance: how a post does compared with the author's last posts at the same age."""

from typing import Final

from deploy.clickhouse.drafting import (
    REAL_OR_NULL,
    TEXT_OR_NULL,
    Shown,
    View,
    indent,
    shown_column,
    time_parameter,
    view,
    weighted,
)
from deploy.clickhouse.views_of_authors import AUTHOR
from schemas.metrics import WEIGHT_SETS
from schemas.tables import POSTS, Column

COMPARED_AGES: Final = {15: "15 minutes", 60: "1 hour", 300: "5 hours", 1440: "1 day", 10_080: "7 days"}
"""The ages, in minutes, at which posts are compared."""

MOST_PEERS: Final = 100
ENOUGH: Final = 10
"""The earlier posts of the author that a post is compared with: at most, and at least."""

_NUMBERED: Final = tuple(enumerate(WEIGHT_SETS))

_OF_AUTHOR: Final = " AND author_id = {author:String} AND channel = {channel:String}"

CONFIDENCE: Final = 0.9
"""The confidence of the interval of the expected engagement."""


def over_performance_view() -> View:
    """Shows over-performance of all posts."""
    comment = (
        "One row per post that stands and age that it has reached: what it had brought by then against the author's "
        f"last {MOST_PEERS} posts on the channel (CrowdTangle's formula). Reads all panes: of one author sooner with "
        "over_performance(author = ..., channel = ...)"
    )
    return view("over_performance_v", comment, _performance(), _performance_tail("", ""))


def over_performance_of_author_view() -> View:
    """Shows over-performance of one author's posts; a view with parameters that reads only the panes of that author."""
    comment = "over_performance_v of one author: SELECT * FROM over_performance(author = 'a', channel = 'bluesky')"
    return view(
        "over_performance", comment, _performance(), _performance_tail(_OF_AUTHOR, _panes_of(_OF_AUTHOR)), typed=False
    )


def over_performance_between_view() -> View:
    """Shows over-performance of one author's posts of a range; a view with parameters that reads the panes of these
    posts and of their peers, from an hour before the first of them on."""
    comment = (
        "over_performance of posts made from `since` on and before `until`: over_performance_between(author = 'a', "
        "channel = 'bluesky', since = '2026-01-01T00:00:00Z', until = '2026-01-08T00:00:00Z')"
    )
    since, until = time_parameter("since"), time_parameter("until")
    # Posts before `since` have reached every age that a later post has reached, so the last of them are the peers.
    first_peer = f"""\
(
    SELECT if(count() = 0, toDateTime64({since}, 6, 'UTC'), min(created_at))
    FROM
    (
        SELECT created_at
        FROM {{database}}.posts FINAL
        WHERE {_stands(_OF_AUTHOR)} AND created_at < {since}
        ORDER BY created_at DESC
        LIMIT {MOST_PEERS}
    )
)"""
    which = f"{_OF_AUTHOR} AND created_at >= {first_peer} AND created_at < {until}"
    panes = f"{_panes_of(which)} AND minute >= {first_peer} - INTERVAL 1 HOUR"
    tail = f"{_performance_tail(which, panes)}\nWHERE a.created_at >= {since}"
    return view("over_performance_between", comment, _performance(), tail, typed=False)


def _panes_of(which: str) -> str:
    """Writes the condition of the panes of `which` posts that stand."""
    return f"\n        PREWHERE post_id IN (SELECT post_id FROM {{database}}.posts FINAL WHERE {_stands(which)})"


def _performance() -> list[Shown]:
    shown: list[Shown] = [
        *AUTHOR,
        (POSTS["post_id"], "a.post_id"),
        (Column("created_at", "DateTime64(6, 'UTC')", "When it was first posted (posts)"), "a.created_at"),
        (
            Column("age", "UInt16", f"Minutes from the minute of the post on: {', '.join(COMPARED_AGES.values())}"),
            "a.age",
        ),
        shown_column(POSTS["labels"], "a"),
        (
            Column(
                "posts_compared",
                "UInt8",
                f"The author's posts on this channel before this one, at most {MOST_PEERS}",
            ),
            "a.n",
        ),
    ]
    for number, name in _NUMBERED:
        shown += _performance_by(name, f"a.{name}", f"usual.{2 * number + 1}", f"usual.{2 * number + 2}")
    # By one weight set the middle half may have something and by another nothing, where retractions outweigh it.
    nothing = "[" + ", ".join(f"if(usual.{2 * number + 1} <= 0, '{name}', '')" for number, name in _NUMBERED) + "]"
    without = f"arrayFilter(name -> name != '', {nothing})"
    said = "the middle half of these posts had nothing at this age"
    by = f"concat('{said}, by weights ', arrayStringConcat({without}, ', '))"
    shown.append(
        (
            Column("reason", TEXT_OR_NULL, f"Why it is not known: fewer than {ENOUGH} posts, or no mean; NULL: it is"),
            f"multiIf(a.n < {ENOUGH}, 'not enough posts yet', empty({without}), NULL, "
            f"length({without}) = {len(WEIGHT_SETS)}, '{said}', {by})",
        )
    )
    return shown


def _performance_by(name: str, actual: str, expected: str, error: str) -> list[Shown]:
    """Writes the columns of one weight set from the SQL of actual and expected engagement and of half an interval."""
    enough = f"a.n >= {ENOUGH}"
    return [
        (Column(f"actual_{name}", "Float64", f"Net engagement by that age, weights {name} (post_minutes)"), actual),
        (
            Column(
                f"expected_{name}",
                REAL_OR_NULL,
                f"Mean of the middle half of these posts' engagement at this age, weights {name}; NULL: see reason",
            ),
            f"if({enough}, {expected}, NULL)",
        ),
        (
            Column(
                f"over_performance_{name}",
                REAL_OR_NULL,
                "actual / expected where it is not less, else -expected / actual, -2 x expected without any "
                "(CrowdTangle); NULL: see reason",
            ),
            f"if({enough}, {_score(actual, expected)}, NULL)",
        ),
        (
            Column(
                f"over_performance_{name}_low",
                REAL_OR_NULL,
                f"The same at the high end of a {CONFIDENCE:.0%} interval of expected: Student's t with the "
                "trimmed mean's Winsorized variance (Tukey and McLaughlin 1963); NULL: see reason",
            ),
            f"if({enough}, {_score(actual, f'({expected} + {error})')}, NULL)",
        ),
        (
            Column(
                f"over_performance_{name}_high",
                REAL_OR_NULL,
                "The same at its low end; NULL: see reason, or without bound where that end is not above 0",
            ),
            f"if({enough}, {_score(actual, f'({expected} - {error})')}, NULL)",
        ),
    ]


def _score(actual: str, expected: str) -> str:
    """Writes CrowdTangle's factor, NULL where nothing is expected."""
    return (
        f"multiIf({expected} <= 0, NULL, {actual} <= 0, -2 * {expected}, "
        f"{actual} >= {expected}, {actual} / {expected}, -{expected} / {actual})"
    )


def _performance_tail(of_author: str, of_posts: str) -> str:
    """Writes the FROM clause: per post and age the engagement by then, and of the posts before it n, mean and half an
    interval.

    Of n sorted values k = n div 4 are cut off at each end and h = n - 2k stay. The variance is Winsorized: values that
    are cut off count as the nearest value that stays. Half of the interval is t(h - 1) s / (h / n sqrt(n)). ARRAY JOIN
    of one tuple separates the computation from the columns' conditions, each of which would otherwise repeat the
    computation: six times the CPU.
    """
    # Float32 takes half the bytes and half the time. It rounds values above 16 million, by 6e-8 at most.
    sorts = ",\n            ".join(
        f"arraySort(groupArray(toFloat32({name})) OVER before) AS of_{name}" for name in WEIGHT_SETS
    )
    usual = ", ".join(f"a.expected_{name}, a.error_{name}" for name in WEIGHT_SETS)
    return f"""\
FROM
(
    SELECT
        author_id, channel, post_id, created_at, age, labels, {", ".join(WEIGHT_SETS)},
        length(of_{next(iter(WEIGHT_SETS))}) AS n,
        intDiv(n, 4) AS k,
        n - 2 * k AS h,
        [{_quantiles_of_t()}][h - 1] AS t,
        {_middles()}
    FROM
    (
        SELECT
            author_id, channel, post_id, created_at, age, labels, {", ".join(WEIGHT_SETS)},
            {sorts}
        FROM
        (
{indent(indent(indent(_engagement_by_age(of_author, of_posts))))}
        )
        WINDOW before AS (
            PARTITION BY author_id, channel, age
            ORDER BY created_at, post_id
            ROWS BETWEEN {MOST_PEERS} PRECEDING AND 1 PRECEDING
        )
    )
) AS a
ARRAY JOIN [({usual})] AS usual"""


def _quantiles_of_t() -> str:
    """Writes the quantiles of Student's t for 1, 2, ... degrees of freedom, as many as MOST_PEERS posts can need."""
    # Imported here, because scipy.special takes a quarter of a second and few commands write a view.
    from scipy.special import stdtrit

    most = max(n - 2 * (n // 4) - 1 for n in range(MOST_PEERS + 1))
    return ", ".join(f"{stdtrit(df, (1 + CONFIDENCE) / 2):.8f}" for df in range(1, most + 1))


def _middles() -> str:
    """Writes, per weight set, the mean of the middle half (expected_*) and half of its interval (error_*)."""
    return ",\n        ".join(
        f"toFloat64(of_{name}[k + 1]) AS least_{name},\n        "
        f"toFloat64(of_{name}[n - k]) AS most_{name},\n        "
        f"arraySlice(of_{name}, k + 1, h) AS middle_{name},\n        "
        f"arrayAvg(middle_{name}) AS expected_{name},\n        "
        f"h * expected_{name} + k * (least_{name} + most_{name}) AS sum_{name},\n        "
        f"arraySum(v -> pow(v, 2), middle_{name}) + k * (pow(least_{name}, 2) + pow(most_{name}, 2)) "
        f"AS squares_{name},\n        "
        f"t * sqrt(greatest(squares_{name} - sum_{name} * sum_{name} / n, 0) / (n - 1)) / (h / n * sqrt(n)) "
        f"AS error_{name}"
        for name in WEIGHT_SETS
    )


def _engagement_by_age(of_author: str, of_posts: str) -> str:
    """Writes the query of net engagement per post and age, for each weight set."""
    net = "(toInt64({0}) - {0}_retracted)"
    ends = range(1, len(COMPARED_AGES) + 1)
    sums = ",\n        ".join(
        f"sumIf(net_{name}, since < {age * 60}) AS {name}_{number}"
        for number, age in zip(ends, COMPARED_AGES, strict=True)
        for name in WEIGHT_SETS
    )
    nets = ",\n            ".join(f"{weighted(weights, net)} AS net_{name}" for name, weights in WEIGHT_SETS.items())
    ages = ", ".join(
        f"({age}, {', '.join(f's.{name}_{number}' for name in WEIGHT_SETS)})"
        for number, age in zip(ends, COMPARED_AGES, strict=True)
    )
    values = ",\n    ".join(
        f"greatest(toFloat64(at.{number}), 0) AS {name}" for number, name in enumerate(WEIGHT_SETS, 2)
    )
    posts = f"""\
SELECT post_id, author_id, toString(channel) AS channel, created_at, toStartOfMinute(created_at) AS born,
    labels
FROM {{database}}.posts FINAL
WHERE {_stands(of_author)}"""
    return f"""\
SELECT
    o.author_id AS author_id,
    o.channel AS channel,
    o.post_id AS post_id,
    o.created_at AS created_at,
    at.1 AS age,
    o.labels AS labels,
    {values}
FROM
(
{indent(posts)}
) AS o
LEFT ANY JOIN
(
    SELECT
        m.post_id AS post_id,
        {sums}
    FROM
    (
        SELECT
            post_id,
            minute,
            {nets}
        FROM {{database}}.post_minutes FINAL{of_posts}
    ) AS m
    INNER JOIN
    (
{indent(indent(posts))}
    ) AS b ON b.post_id = m.post_id
    WHERE ((toInt64(toUnixTimestamp(m.minute)) - toUnixTimestamp(b.born)) AS since) < {max(COMPARED_AGES) * 60}
    GROUP BY post_id
) AS s ON s.post_id = o.post_id
ARRAY JOIN [{ages}] AS at
WHERE o.born + toIntervalMinute(at.1) <= now('UTC')"""


def _stands(of_author: str) -> str:
    """Writes the condition of a post that has an author and was not deleted."""
    return f"author_id != '' AND deleted_at IS NULL{of_author}"

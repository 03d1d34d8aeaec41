"""The rows of benchmarks/_filling.py: for each column of a table the SQL of its value."""

from collections.abc import Mapping
from typing import Final

from schemas.metrics import FOLD_VERSION, MEASURES, WEIGHT_SETS
from schemas.spread import FITTED_AGES, KERNEL, PARAMETER_WIDTHS

BRANDS: Final = ("acme", "aurora", "borealis", "cobalt", "delta", "ember", "fjord", "glacier")
CHANNELS: Final = ("bluesky", "bluesky", "bluesky", "mastodon", "mastodon", "github", "forum", "news")
CAMPAIGNS: Final = ("", "", "", "", "", "", "spring", "autumn")
FORMATS: Final = ("text", "text", "image", "video")
REASONS: Final = ("kind: unknown", "occurred_at: no time", "post_id: missing")

UNIT: Final = "(salt, key) -> cityHash64(key, salt) / 18446744073709551616. AS unit"
"""A number from 0 to 1 that follows from a key."""

NAMES: Final = """\
    toString(number) AS p,
    lower(hex(cityHash64('post', p))) AS post,
    toDateTime64({now}, 6, 'UTC') - toIntervalSecond(toInt64(({posts} - number - unit('age', p)) * {gap})) AS born,
    toDateTime(toStartOfMinute(born), 'UTC') AS born_minute,
    concat('a', toString(toUInt64({authors} * pow(unit('author', p), 3)))) AS author,
    arrayElement({channels}, 1 + cityHash64(author) % {channel_count}) AS network,
    unit('fame', p) AS fame,
    least(2000, toUInt32(9 * pow(1 - fame, -0.6))) AS tries,
    arraySort(arrayDistinct(arrayFilter(minute -> minute < toDateTime({now}, 'UTC'), arrayMap(
        i -> born_minute + 60 * toUInt32(if(i = 0, 0, least(30 * (pow(unit(i, p), -0.9) - 1), 1e7))),
        range(tries))))) AS minutes,
    concat('h', toString(toUInt64(20000 * pow(unit('tag', p), 4)))) AS tag,
    concat('h', toString(toUInt64(20000 * pow(unit('tag two', p), 4)))) AS second_tag,
    arrayElement({brands}, 1 + toUInt64(8 * pow(unit('brand', p), 2))) AS brand,
    arrayElement({campaigns}, 1 + cityHash64('campaign', p) % {campaign_count}) AS campaign,
    arrayElement({formats}, 1 + cityHash64('format', p) % {format_count}) AS format,
    arrayConcat(
        [concat('thread:', post), concat('author:', network, '/', author), concat('hashtag:', tag)],
        if(cityHash64('two', p) % 3 = 0 AND tag != second_tag, [concat('hashtag:', second_tag)], []),
        if(cityHash64('names', p) % 6 = 0, [concat('brand:', brand)], []),
        if(campaign != '', [concat('label:campaign=', campaign)], [])
    ) AS keys"""
"""What is known of the post with a number: names, and the SQL of each."""

LIKES: Final = "toUInt32(pow(1 - unit(minute, post), -0.5))"
SHARES: Final = "toUInt32(unit(minute, concat('s', post)) < 0.05)"
COMMENTS: Final = "toUInt32(unit(minute, concat('c', post)) < 0.08)"
"""The counts of a pane."""

CELL: Final = f"(minute = born_minute OR {SHARES} + {COMMENTS} > 0)"
VOICES: Final = (
    "arrayMap(i -> cityHash64('actor', toUInt64(200000 * pow(unit(minute, concat(toString(i), post)), 2))), "
    f"range(toUInt32(minute = born_minute) + {SHARES} + {COMMENTS}))"
)

Expressions = Mapping[str, str]
"""Column -> the SQL of its value."""

OF_POST: Final[Expressions] = {
    "post_id": "post",
    "author_id": "author",
    "channel": "network",
    "created_at": "born",
    "url": "concat('https://', network, '.example/', author, '/', p)",
    "conversations": "arrayFilter(key -> NOT startsWith(key, 'thread:'), keys)",
    "mentions": "if(unit('mention', p) < 0.1, [concat('m', toString(cityHash64(p) % 1000))], [])",
    "links": "if(unit('link', p) < 0.2, [concat('https://news.example/', toString(cityHash64(p) % 50000))], [])",
    "quotes": "''",
    "followers": "if(unit('told', p) < 0.9, toUInt64(80 * pow(unit('followers', author), -1.1)), NULL)",
    "deleted_at": "if(unit('deleted', p) < 0.01, born + toIntervalHour(1), NULL)",
    "labels": "map('campaign', campaign, 'format', format, 'language', 'en')",
    "version": "1",
}
PANE: Final[Expressions] = {
    "post_id": "post",
    "minute": "minute",
    "likes": LIKES,
    "shares": SHARES,
    "comments": COMMENTS,
    "likes_retracted": "toUInt32(unit(minute, concat('r', post)) < 0.02)",
    "version": "1",
}
CELLS: Final[Expressions] = {
    **PANE,
    "conversation": "key",
    "posts": "toUInt32(minute = born_minute)",
    "channels": "[network]",
    "voices": VOICES,
    "voices_exact": "1",
}
CARRYING: Final[Expressions] = {
    "message": "concat('url:', link)",
    "post_id": "post",
    "channel": "network",
    "created_at": "born",
    "is_current": "1",
    "version": "1",
}


EVENT: Final[Expressions] = {
    "post_id": "post",
    "kind": "kind",
    "action": "'add'",
    "event_id": "concat(kind, toString(minute))",
    "actor_id": "concat('u', toString(toUInt64(200000 * pow(unit(minute, concat(kind, post)), 2))))",
    "occurred_at": "minute + toIntervalMicrosecond(cityHash64(minute, post) % 60000000)",
    "received_at": "minute + 61",
    "channel": "network",
    "topic": "concat('engagement.', kind, 's')",
    "offset": "toUInt64(p)",
    "version": "1",
}
"""The events that name people: posts, shares and comments. Likes, which no query looks up one by one, are left out."""

NODES: Final[Expressions] = {"share": "shares", "comment": "comments", "all": "shares + comments"}
"""Tree -> the SQL of its nodes below the post."""

VERSION: Final = f"bitOr(bitShiftLeft(toUInt64({FOLD_VERSION}), 56), bitShiftLeft(toUInt64(events_seen), 26))"
"""The version of a row of post_metrics without the minute of its as_of."""

TOTALS: Final[Expressions] = {
    "as_of": "max(minute) + 60",
    "age_minutes": "toUInt32(intDiv(as_of - min(minute), 60))",
    "events_seen": "1 + likes + shares + comments",
    **{measure: f"sum(toUInt64(m.{measure}))" for measure in MEASURES},
    **{
        f"score_{name}": " + ".join(f"{weight} * {m}" for m, weight in zip(MEASURES, weights.weights, strict=True))
        for name, weights in WEIGHT_SETS.items()
    },
    "actors": "likes + shares + comments",
    **{f"{measure}_actors": measure for measure in MEASURES},
    "concentration": "if(actors < 100, nan, 0.01 + chance / 10)",
    "channels": "1",
    "channel_entropy": "nan",
    "channels_effective": "nan",
    "hot_6h": "log2(1 + score_default) + toUnixTimestamp(as_of) / 21600",
    **{f"{tree}_size": f"1 + {nodes}" for tree, nodes in NODES.items()},
    **{f"{tree}_depth": f"toUInt32(log2(1 + {nodes}))" for tree, nodes in NODES.items()},
    **{f"{tree}_max_breadth": f"toUInt32(ceil(({nodes}) / 2))" for tree, nodes in NODES.items()},
    "share_parents_known": "1",
    "share_structural_virality": "if(shares = 0, nan, 1 + log2(1 + shares) * chance)",
    "share_viral_fraction": "if(shares = 0, nan, chance / 2)",
    "share_levels": "if(shares = 0, [], [toUInt32(ceil(shares / 2)), toUInt32(shares - ceil(shares / 2))])",
    "comment_levels": "if(comments = 0, [], [toUInt32(ceil(comments / 2)), toUInt32(comments - ceil(comments / 2))])",
    "spread_as_of": "as_of",
    "reproduction": "if(shares = 0, nan, 2 * chance)",
    "reproduction_low": "reproduction / 2",
    "reproduction_high": "reproduction * 2",
    "forecast_shares": "if(shares = 0, nan, shares * (1 + chance))",
    "forecast_shares_low": "forecast_shares * 0.8",
    "forecast_shares_high": "forecast_shares * 1.4",
    **{
        f"forecast_shares_double_age{end}": f"if(shares = 0, nan, (shares + forecast_shares{end}) / 2)"
        for end in ("", "_low", "_high")
    },
    "half_life_shares": "if(shares = 0, nan, 30 + 600 * chance)",
    "half_life_engagement": "10 + 300 * chance",
    "life_engagement": "30 + 3000 * chance",
    "spread_shape": "if(shares = 0, nan, 2 + shares)",
    "spread_rate": "if(shares = 0, nan, 2 + shares)",
    **{
        f"spread_rest_{number}": f"if(shares = 0, nan, shares * chance / {number})"
        for number in range(1, len(KERNEL) + 1)
    },
    "spread_lag": "if(shares = 0, nan, chance / 2)",
    "spread_log_lag": "if(shares = 0, nan, -3 * chance)",
    "spread_reason": "if(shares = 0, 2, 0)",
    "thread_h_index": "toUInt32(sqrt(comments))",
    "thread_pairs": "toUInt32(comments / 2)",
    "thread_reciprocity": "if(thread_pairs = 0, nan, chance)",
    "brand_turns": "toUInt32(comments / 4)",
    "audience_turns": "toUInt32(comments - brand_turns)",
    "answered": "toUInt32(audience_turns * chance)",
    "unanswered": "audience_turns - answered",
    "oldest_unanswered_at": "if(unanswered > 0, min(minute), toDateTime(0, 'UTC'))",
    "first_response_p50": "if(answered = 0, nan, 60 * chance)",
    "first_response_p90": "if(answered = 0, nan, 300 * chance)",
    "version": f"bitOr({VERSION}, toUInt64(intDiv(toUnixTimestamp(as_of), 60)))",
}
"""What a post's row says, from the panes of the post; `chance` lies between 0 and 1."""

MINUTES: Final[Expressions] = {
    "conversation": "conversation",
    "minute": "minute",
    "posts": "sum(toUInt64(c.posts))",
    **{measure: f"sum(toInt64(c.{measure})) - sum(toInt64(c.{measure}_retracted))" for measure in MEASURES},
    "voices": "length(groupUniqArrayArray(c.voices))",
    "voices_exact": "1",
    "channels": "length(groupUniqArrayArray(c.channels))",
    "is_final": "1",
    "version": "count()",
}
FORECAST: Final[Expressions] = {
    "channel": "channel",
    "holds_from": "toDateTime({now}, 'UTC') - 86400 * day",
    "step": "step",
    "age": f"{list(FITTED_AGES)}[step]",
    "next_age": f"{list(FITTED_AGES)}[least(step + 1, {len(FITTED_AGES)})]",
    "finished": "1000 * (1 + {days} - day)",
    "here": f"arrayMap(i -> 0.1 + (i + day) % 10 / 100, range({sum(PARAMETER_WIDTHS.values())}))",
    "ahead": "here",
}
"""A version of a channel's forecast, one a day of those that have posts that finished."""

HABIT: Final[Expressions] = {
    "channel": "channel",
    "author_id": "concat('a', toString(cityHash64(channel, day, step) % {authors}))",
    "holds_from": FORECAST["holds_from"],
    "habit": "step / 100 - 1",
}

SPIKE: Final[Expressions] = {
    "spike_id": "hex(cityHash64('spike', number))",
    "conversation": "concat('hashtag:h', toString(number % 300))",
    "started_at": "toStartOfMinute(toDateTime({now}, 'UTC') - toUInt32(number * 2160))",
    "ended_at": "started_at + 5400",
    "state": "'resolved'",
    "as_of": "started_at + 5400",
    "severity": "['info', 'info', 'notice', 'warning', 'critical'][1 + number % 5]",
    "score": "5 + number % 17",
    "observed": "10 + number % 90",
    "expected": "1",
    "ratio": "observed",
    "scale_minutes": "15",
    "voices": "100",
    "channels": "3",
    "concentration": "0.4",
    "top_posts": "[lower(hex(cityHash64('post', toString({posts} - 1 - number * 1250))))]",
    "top_counts": "[50]",
    "top_urls": "['https://forum.example/x']",
    "top_authors": "['author:forum/a1']",
    "reasons": "['many people at once']",
    "evidence": "'SELECT 1'",
    "detector": "'1'",
    "version": "1",
}
DELIVERY: Final[Expressions] = {
    "spike_id": SPIKE["spike_id"],
    "receiver": "'team'",
    "state": "'resolved'",
    "delivered_at": "toDateTime64({now}, 3, 'UTC') - toIntervalSecond(number * 2160 - 60)",
    "attempts": "1",
    "outcome": "'delivered'",
    "version": "1",
}
DEAD_LETTER: Final[Expressions] = {
    "topic": "'engagement.likes'",
    "partition": "number % 8",
    "offset": "number",
    "reason": "['no such kind', 'no time', 'no post'][1 + number % 3]",
    "field": "['kind', 'occurred_at', 'post_id'][1 + number % 3]",
    "bytes": "repeat('x', 300)",
    "received_at": "toDateTime64({now}, 3, 'UTC') - toIntervalSecond(number * 1728)",
}

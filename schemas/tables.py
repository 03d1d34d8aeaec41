"""Every table of the database `engagement`, with the unit of each column.

Migrations are tested against these declarations, and views are generated from them (deploy/clickhouse/views.py). A
derived table is a `ReplacingMergeTree(version)`: rows are absolute, and the row that has seen the most events wins
(`version` = `FOLD_VERSION` (8 bits) | events seen (30) | minute of `as_of` (26)). Each table has a view with the suffix
`_v`, which people and BI tools read.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from schemas.metrics import (
    HOT_HALF_LIFE,
    LEVELS_SHOWN,
    MEASURE_KINDS,
    MEASURES,
    TREE_EVENTS,
    TREES,
    VOICES,
    WEIGHT_SETS,
    WINDOWS,
    in_words,
)
from schemas.spread import KERNEL, LEAST_EXPOSURE, MOST_NEXT, NEXT_PRIOR, SPREAD_REASONS
from schemas.topics import KINDS

NAN: Final = "NaN"
NOT_A_TIME: Final = "1970"
ZERO: Final = "0"
UNSAID: Final = ""
"""Values that tables store for "not known" (Unknown.stored)."""

MOMENT: Final = "{moment}"
"""The placeholder in Column.meaning for the time that a window looks back from: as_of in tables, now or t in views."""


@dataclass(frozen=True)
class Unknown:
    """A case in which the value of a column is not known and the view shows NULL.

    `when` says in words when that is, or `reason` names the column with the reason. The table holds `stored` in this
    case, as the comment of the column says; UNSAID stays out of the comment. The column `flag` is not 0 exactly in this
    case; without a flag the case is recognised by `stored`.
    """

    when: str = ""
    stored: str = NAN
    reason: str | None = None
    flag: str | None = None

    def said(self, value: str) -> str:
        """Returns the case as comments have it, for readers who see `value` in this case."""
        return f"{value}: see {self.reason}" if self.reason else f"{value} {self.when}"


@dataclass(frozen=True)
class Column:
    """A column: ClickHouse type, meaning and unit in words.

    `default` is SQL; None means that the writer sends the column. `unknown` lists the cases without a value. `reasons`
    are the meanings of the codes 1, 2, ... of a column that says why something is not known; 0 means that it is known.
    `window` names the rolling window (schemas.metrics.WINDOWS) that the column looks back over: views compute such a
    column for other moments too.
    """

    name: str
    type: str
    meaning: str
    default: str | None = None
    unknown: tuple[Unknown, ...] = ()
    reasons: tuple[str, ...] = ()
    window: str | None = None

    @property
    def comment(self) -> str:
        """The text of the column's comment in its table."""
        codes = ", ".join(f"{code} {reason}" for code, reason in enumerate(("it is", *self.reasons)))
        said = f"{self.meaning}: {codes}" if self.reasons else self.meaning
        cases = [case.said(case.stored) for case in self.unknown if case.stored != UNSAID]
        return "; ".join([said, *cases]).replace(MOMENT, "as_of")

    def comment_in_view(self, moment: str = "as_of") -> str:
        """Returns the column's comment in a view whose windows look back from `moment`."""
        said = f"{self.meaning}: {', '.join(self.reasons)}; NULL: it is known" if self.reasons else self.meaning
        return "; ".join([said, *(case.said("NULL") for case in self.unknown)]).replace(MOMENT, moment)


BY_DAY: Final = "toDate(minute)"
BY_MINUTE: Final = "toUnixTimestamp(minute)"
IDENTIFYING: Final = {BY_MINUTE: "minute"}
"""Expression in a sorting key -> the column that it stands for."""


@dataclass(frozen=True)
class Table:
    """A table with columns and keys; the comment says what a row is.

    `version` names the column whose largest value decides which row is current. `order_by` is the sorting key, column
    names or SQL. A sorting key that begins with BY_DAY ends in `toUnixTimestamp(minute)`: ClickHouse then applies a
    condition on `minute` to the days, so that a query reads the days of its range alone (docs/architecture.md).
    """

    name: str
    comment: str
    columns: tuple[Column, ...]
    order_by: tuple[str, ...]
    version: str | None = "version"
    partition_by: str | None = None
    indexes: tuple[str, ...] = field(default=())

    @property
    def key(self) -> tuple[str, ...]:
        """The names of the columns that identify a row: those of the sorting key, each once.

        >>> POST_MINUTES.order_by, POST_MINUTES.key
        (('toDate(minute)', 'post_id', 'toUnixTimestamp(minute)'), ('post_id', 'minute'))
        """
        return tuple(IDENTIFYING.get(part, part) for part in self.order_by if part != BY_DAY)

    @property
    def sent(self) -> tuple[str, ...]:
        """The names of the columns that a writer sends, in order."""
        return tuple(column.name for column in self.columns if column.default is None)

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


STRING: Final = "String"
WORD: Final = "LowCardinality(String)"
COUNT: Final = "UInt64"
TIME: Final = "DateTime64(6, 'UTC')"
CLOCK: Final = "DateTime64(3, 'UTC')"
MINUTE_TIME: Final = "DateTime('UTC')"
REAL: Final = "Float64"
REAL_OF_HISTORY: Final = "Float32"
"""A real number of post_history, of seven digits, which take half the room on disk."""

REAL_OR_NAN: Final = "Float64"
"""A real number that is NaN where it is not known (Column.unknown) and NULL in the view: the driver sends arrays of
doubles at a tenth of the price of nullable values."""
STRINGS: Final = "Array(String)"
LABELS: Final = "Map(LowCardinality(String), String)"
KIND: Final = "Enum8(" + ", ".join(f"'{kind}' = {number}" for number, kind in enumerate(KINDS, 1)) + ")"
ACTION: Final = "Enum8('add' = 1, 'retract' = 2)"

POST_ID: Final = Column("post_id", STRING, "The root post; key of the topics")
VERSION: Final = Column(
    "version", "UInt64", "Fold version (8 bits) | events seen (30) | minute of as_of (26): the highest wins"
)
STORED_AT: Final = Column("stored_at", CLOCK, "When this row was written; not part of what it says", "now64(3)")
LOG_POSITION: Final = (
    Column("topic", WORD, "Kafka topic it was read from"),
    Column("partition", "UInt32", "Kafka partition"),
    Column("offset", "UInt64", "Kafka offset"),
)


TRUNCATED: Final = Unknown("where tree_truncated", ZERO, flag="tree_truncated")
TRUNCATED_UNSAID: Final = replace(TRUNCATED, stored=UNSAID)
BRAND_UNKNOWN: Final = Unknown(stored=UNSAID, reason="thread_reason", flag="thread_reason")


def _window_columns() -> Iterator[Column]:
    for measure in MEASURES:
        for window, minutes in WINDOWS.items():
            yield Column(
                f"{measure}_{window}",
                "Int64",
                f"Net {measure} in the {window} before {MOMENT}: added less taken back",
                window=window,
            )
            yield Column(
                f"{measure}_velocity_{window}",
                REAL,
                f"Net {measure} per minute over {window}: (N(t) - N(t-w)) / {minutes}",
                window=window,
            )
            yield Column(
                f"{measure}_acceleration_{window}",
                REAL,
                f"Per minute squared: (N(t) - 2N(t-w) + N(t-2w)) / {minutes}^2",
                window=window,
            )
            yield Column(
                f"{measure}_z_{window}",
                REAL_OR_NAN,
                "(new - old) / sqrt(new + old) of this window and the one before",
                unknown=(Unknown("where that sum is not positive"),),
                window=window,
            )


def _score_columns() -> Iterator[Column]:
    for name, weights in WEIGHT_SETS.items():
        said = ", ".join(f"{measure} x {weight:g}" for measure, weight in zip(MEASURES, weights.weights, strict=True))
        yield Column(f"score_{name}", REAL, f"Weighted net engagement of all time: {said}")
        for window in WINDOWS:
            yield Column(
                f"score_{name}_{window}",
                REAL,
                f"Weighted net engagement in the {window} before {MOMENT}: {said}",
                window=window,
            )


def _minute_columns() -> Iterator[Column]:
    for measure in MEASURES:
        yield Column(measure, "UInt32", f"{measure.capitalize()} of this minute, taken back later or not")
    for measure in MEASURES:
        yield Column(f"{measure}_retracted", "UInt32", f"{measure.capitalize()} taken back in this minute")


def _tree_columns() -> Iterator[Column]:
    for tree in TREES:
        of = "shares and comments" if tree == "all" else f"{tree}s"
        cut, small = (TRUNCATED,), (Unknown("below 2 nodes"), TRUNCATED_UNSAID)
        yield Column(f"{tree}_size", "UInt32", f"Nodes of the tree of {of}, the post included", unknown=cut)
        yield Column(f"{tree}_depth", "UInt32", "Most edges from the post", unknown=cut)
        yield Column(
            f"{tree}_max_breadth", "UInt32", "Nodes of the largest level, the post's own included", unknown=cut
        )
        yield Column(
            f"{tree}_wiener", "UInt64", "Wiener index: sum of the distances of all pairs of nodes", unknown=cut
        )
        yield Column(
            f"{tree}_structural_virality",
            REAL_OR_NAN,
            "Mean distance of two nodes, 2W / (n (n - 1)) (Goel et al. 2015)",
            unknown=small,
        )
        yield Column(
            f"{tree}_viral_fraction",
            REAL_OR_NAN,
            "Nodes that came by another node, not straight from the post: 1 - level 1 / (n - 1)",
            unknown=small,
        )
        yield Column(
            f"{tree}_parents_known",
            "UInt8",
            "0 where no net event of the tree names a parent",
            unknown=(TRUNCATED_UNSAID,),
        )
        yield Column(
            f"{tree}_waiting",
            "UInt32",
            f"Net {of} whose chain of parents has a gap or a circle: in the totals, not in the tree",
            unknown=(TRUNCATED_UNSAID,),
        )
        if tree != "all":
            yield Column(
                f"{tree}_levels", "Array(UInt32)", f"Net {of} of level 1, 2, ..., at most the first {LEVELS_SHOWN}"
            )
    yield Column(
        "tree_truncated", "UInt8", f"1 beyond {TREE_EVENTS:,} events: what trees and threads say is not known then"
    )


def _spread_columns() -> Iterator[Column]:
    because = (Unknown(reason="spread_reason"),)
    yield Column(
        "spread_as_of",
        MINUTE_TIME,
        "When reproduction and forecast are meant for: as_of, or a later doubling of the post's age from 10 minutes on",
    )
    yield Column(
        "reproduction",
        REAL_OR_NAN,
        "R_t: shares that a share brings now (Cori et al. 2013), over half the age, 5 min to 2 h",
        unknown=because,
    )
    yield Column("reproduction_low", REAL_OR_NAN, "5 % quantile of R_t", unknown=because)
    yield Column("reproduction_high", REAL_OR_NAN, "95 % quantile of R_t", unknown=because)
    for name, said in (
        ("forecast_shares", "Net shares in the end"),
        ("forecast_shares_double_age", "Net shares at double the age"),
    ):
        yield Column(name, REAL_OR_NAN, f"{said}, forecast", unknown=because)
        yield Column(f"{name}_low", REAL_OR_NAN, f"{said}, low end of a 90 % interval", unknown=because)
        yield Column(f"{name}_high", REAL_OR_NAN, f"{said}, high end of a 90 % interval", unknown=because)
    yield Column(
        "forecast_shares_next_1h",
        REAL_OR_NAN,
        "Net shares expected in the next hour, after spread_as_of (post_metrics_v: after now): a Hawkes process with R "
        f"of the younger half of the age, at most {MOST_NEXT:g}",
        unknown=because,
        window="1h",
    )
    for name, of in (("shares", "net shares"), ("engagement", f"net {in_words(MEASURES)}")):
        yield Column(
            f"half_life_{name}",
            REAL_OR_NAN,
            f"Age in minutes at which half of the {of} so far had come",
            unknown=because,
        )
    yield Column(
        "life_engagement",
        REAL_OR_NAN,
        f"Age in minutes at which 90 % of the net {in_words(MEASURES)} so far had come",
        unknown=because,
    )
    for window in WINDOWS:
        yield Column(
            f"rate_half_life_{window}",
            REAL_OR_NAN,
            f"Minutes in which engagement halves: w ln 2 / ln(old / new) over {window}",
            unknown=(Unknown("unless it falls, to more than 0"),),
            window=window,
        )
    yield Column(
        "spread_reason",
        "UInt8",
        "Why R_t is not known, nor the other numbers of the spread without post or shares; the last two: under "
        f"{LEAST_EXPOSURE:g} shares were due in its window, and none came, or some did",
        reasons=SPREAD_REASONS,
    )


def _spread_state_columns() -> Iterator[Column]:
    """Yields the state from which views compute the forecast of the next hour as of now."""
    because = (Unknown(reason="spread_reason"),)
    yield Column(
        "spread_shape",
        REAL_OR_NAN,
        f"Shape of the posterior (Gamma) of R in the next hour: {NEXT_PRIOR[0]:g} + net shares in the younger half of "
        "the age",
        unknown=because,
    )
    yield Column(
        "spread_rate",
        REAL_OR_NAN,
        f"Rate of that posterior: {NEXT_PRIOR[1]:g} + shares due in that half at one a node",
        unknown=because,
    )
    for number, (seconds, _) in enumerate(KERNEL, 1):
        yield Column(
            f"spread_rest_{number}",
            REAL_OR_NAN,
            f"Shares still to come at one a node, of those that wait {seconds / 60:.1f} min on average",
            unknown=because,
        )
    yield Column(
        "spread_lag", REAL_OR_NAN, "Mean lag of the shares behind the post, as a part of its age", unknown=because
    )
    yield Column(
        "spread_log_lag",
        REAL_OR_NAN,
        "Mean of ln(lag / age) of the shares, lags counted from 1/2 minute",
        unknown=because,
    )


def _thread_columns() -> Iterator[Column]:
    cut, no_brand = (TRUNCATED_UNSAID,), (BRAND_UNKNOWN,)
    yield Column(
        "thread_h_index",
        "UInt32",
        "Largest h with at least h net comments at level h (Gomez et al. 2008)",
        unknown=cut,
    )
    yield Column("thread_pairs", "UInt32", "Pairs of people of whom one answered the other", unknown=cut)
    yield Column(
        "thread_reciprocity",
        REAL_OR_NAN,
        "Pairs who answered each other / pairs who answered",
        unknown=(Unknown("without such pairs"), *cut),
    )
    yield Column(
        "brand_turns",
        "UInt32",
        "Net comments by the post's author or an account of his brand or of an own one",
        unknown=no_brand,
    )
    yield Column("audience_turns", "UInt32", "Net comments by all others", unknown=no_brand)
    yield Column(
        "answered", "UInt32", "Audience comments with a brand turn among their direct answers", unknown=no_brand
    )
    yield Column("unanswered", "UInt32", "Audience comments without", unknown=no_brand)
    yield Column(
        "oldest_unanswered_at",
        MINUTE_TIME,
        "Minute of the oldest of these",
        unknown=(Unknown("where there is none", NOT_A_TIME), *no_brand),
    )
    for name, said in (("", "all audience comments"), ("_business", "those made in business hours")):
        for percent in (50, 90):
            yield Column(
                f"first_response{name}_p{percent}",
                REAL_OR_NAN,
                f"Minutes until the first brand turn in answer, {percent} % quantile over {said}",
                unknown=(Unknown("without answers"), *no_brand),
            )
    yield Column(
        "thread_reason",
        "UInt8",
        "Why it is not known which turns the brand took",
        reasons=("the post itself has not come", "truncated"),
    )


def _metric_columns() -> tuple[Column, ...]:
    return (
        POST_ID,
        Column(
            "as_of", MINUTE_TIME, "End of the minute of the post's newest event: what every window here looks back from"
        ),
        Column(
            "age_minutes",
            "UInt32",
            "Minutes from the minute of the post itself to as_of",
            unknown=(Unknown("until the post itself has come", ZERO),),
        ),
        Column("events_seen", COUNT, "Distinct events of the post, of all kinds, retractions included"),
        *(
            Column(measure, COUNT, f"Net {measure}" if number else f"Net {measure}: those that no retraction names")
            for number, measure in enumerate(MEASURES)
        ),
        Column("actors", COUNT, f"Distinct actors of net {in_words(MEASURES)}; exact"),
        *(Column(f"{measure}_actors", COUNT, f"Distinct actors of net {measure}; exact") for measure in MEASURES),
        Column(
            "concentration",
            REAL_OR_NAN,
            "Share of net engagement by the most active 1 % of actors (rounded up)",
            unknown=(Unknown("below 100 actors"),),
        ),
        Column(
            "retractions_unmatched", COUNT, "Retractions whose target has not come; they change nothing until it does"
        ),
        Column("channels", "UInt32", f"Channels with at least one net {in_words(MEASURE_KINDS, 'or')}"),
        Column(
            "channel_entropy",
            REAL_OR_NAN,
            "Shannon entropy of net engagement over channels, bits",
            unknown=(Unknown("below 20 engagements"),),
        ),
        Column(
            "channels_effective",
            REAL_OR_NAN,
            "2^entropy: as many equally used channels",
            unknown=(Unknown("below 20 engagements"),),
        ),
        Column(
            f"hot_{HOT_HALF_LIFE[0]}",
            REAL_OR_NAN,
            f"Hot score, log2, half-life {HOT_HALF_LIFE[0]}, landmark 1970: sortable as stored, at t it is "
            f"2^(this - t in minutes / {HOT_HALF_LIFE[1]}) (forward decay, Cormode et al. 2009)",
            unknown=(Unknown("without engagement"),),
        ),
        *_score_columns(),
        *_window_columns(),
        *_tree_columns(),
        *_spread_columns(),
        *_spread_state_columns(),
        *_thread_columns(),
        VERSION,
        STORED_AT,
    )


def _history_columns() -> tuple[Column, ...]:
    """Returns the columns of post_history: the totals, spread, forecast and thread of post_metrics.

    Scores follow from totals, windows and lives from panes; views compute the first two for any time.
    """
    tree = [f"{name}_{part}" for name in ("share", "comment") for part in ("depth", "structural_virality")]
    spread = [column.name for column in _spread_columns() if column.window is None or column.name.startswith("fore")]
    thread = [column.name for column in _thread_columns()]
    spread.remove("life_engagement")
    kept = {"post_id", "events_seen", *MEASURES, "actors", *tree, "tree_truncated", *spread, *thread}
    kept |= {VERSION.name, STORED_AT.name}
    said = {
        "as_of": "End of the step of the post's age that has its newest event: the numbers stood so at this time",
        "age_minutes": "Minutes from the minute of the post itself to as_of",
    }
    columns = (
        replace(column, meaning=said.get(column.name, column.meaning))
        for column in _metric_columns()
        if column.name in kept or column.name in said
    )
    return tuple(replace(column, type=REAL_OF_HISTORY) if column.type == REAL else column for column in columns)


EVENTS: Final = Table(
    "events",
    "The log: one row per distinct event. Everything else can be computed from it anew (engagement recount)",
    (
        POST_ID,
        Column("kind", KIND, "What was done"),
        Column("action", ACTION, "add, or retract: takes target_id back"),
        Column("event_id", STRING, "Identity within post, kind and action"),
        Column("actor_id", STRING, "Who did it; for a post its author"),
        Column("parent_id", STRING, "The share or comment it answers or carries on; empty: the post"),
        Column("target_id", STRING, "What a retraction takes back; empty for an add"),
        Column("occurred_at", TIME, "Event time, as the source says"),
        Column("received_at", CLOCK, "When Kafka took it (LogAppendTime)"),
        Column("channel", WORD, "The network it happened on; empty: not known"),
        Column("conversations", STRINGS, "Keys it names itself: hashtag:..., mention:..."),
        Column("url", STRING, "Where it can be seen; empty: not known"),
        Column("links", STRINGS, "Of a post: the addresses that it carries"),
        Column("quotes", STRING, "Of a post: the post that it quotes; empty: none"),
        Column("author_id", STRING, "Of a post: its author where that is not actor_id"),
        Column("followers", "Nullable(UInt64)", "Of a post: followers of its author at that time; NULL: not known"),
        Column("labels", LABELS, "Of a post: campaign, format, language, product, ..."),
        Column("text", STRING, "What it says, where ENGAGEMENT_STORE_TEXT keeps texts"),
        *LOG_POSITION,
        Column("version", "UInt64", "2^62 - offset: the first in the log wins; an erasure's tombstone is above all"),
        STORED_AT,
    ),
    ("post_id", "kind", "action", "event_id"),
)

TOMBSTONE_VERSION: Final = 1 << 63
"""The least version of an event whose actor was erased: above all others."""

CLEANED_VERSION: Final = 3 << 61
"""The version of an event of somebody else that named an erased person: above the versions of the log."""

KNOWN_POSTS: Final = Table(
    "known_posts",
    "Every post that has an event, fed by events itself: what a worker loads to know which posts it need not look up",
    (POST_ID,),
    ("post_id",),
    version=None,
)

POSTS: Final = Table(
    "posts",
    "One row per post whose own event has come",
    (
        POST_ID,
        Column("author_id", STRING, "Author, from the newest event of the post itself"),
        Column("channel", WORD, "Where it was posted"),
        Column("created_at", TIME, "When it was first posted"),
        Column("url", STRING, "Where it can be seen; empty: not known"),
        Column("conversations", STRINGS, "Conversations it belongs to: hashtag:, mention:, brand:, label:, author:"),
        Column("mentions", STRINGS, "Accounts it speaks to, NFKC-casefolded"),
        Column("links", STRINGS, "Addresses that it carries"),
        Column("quotes", STRING, "The post that it quotes; empty: none"),
        Column("followers", "Nullable(UInt64)", "Followers of its author when it was posted; NULL: not known"),
        Column("deleted_at", "Nullable(DateTime64(6, 'UTC'))", "When it was deleted; NULL: it stands"),
        Column("labels", LABELS, "Campaign, format, language, product, ...: labels['campaign'] = 'spring'"),
        Column("text", STRING, "What it says, where ENGAGEMENT_STORE_TEXT keeps texts"),
        VERSION,
        STORED_AT,
    ),
    ("post_id",),
)

POST_MINUTES: Final = Table(
    "post_minutes",
    "Panes: one row per post and minute of event time in which something happened",
    (
        POST_ID,
        Column("minute", MINUTE_TIME, "Start of the minute"),
        *_minute_columns(),
        VERSION,
        STORED_AT,
    ),
    (BY_DAY, "post_id", BY_MINUTE),
    partition_by="toYYYYMM(minute)",
)

POST_METRICS: Final = Table(
    "post_metrics",
    "One row per post: what is known of it as of the minute of its newest event",
    _metric_columns(),
    ("post_id",),
)

POST_HISTORY: Final = Table(
    "post_history",
    "post_metrics as it was shown, at steps of an eighth of the post's age and at least a minute; fed by post_metrics",
    _history_columns(),
    ("post_id", "as_of"),
    partition_by="toYear(as_of)",
)

POST_METRICS_ACTIVE: Final = Table(
    "post_metrics_active",
    "post_metrics, without windows, of posts whose newest event is at most three days old; fed by post_metrics itself",
    tuple(column for column in POST_METRICS.columns if column.window is None),
    ("post_id",),
)
"""A post is active while its newest event is at most ACTIVE_DAYS old: until then its windows may hold something. The
table keeps rows a day longer, and leaves out those that are older already when they are written."""

POSTS_ACTIVE: Final = Table(
    "posts_active",
    "Facts of posts that had an event of late, as in posts; copied every two minutes",
    tuple(
        POSTS[name]
        for name in (
            *("post_id", "author_id", "channel", "created_at", "url", "followers", "deleted_at", "labels"),
            *("version", "stored_at"),
        )
    ),
    ("post_id",),
)
"""Active posts lie everywhere in posts, so looking up their facts would read all of posts. Rows go three days after
they were written. A post that has no row here is looked up in posts. Where a post has one, the newest is that of posts:
versions after the first are copied when they are written."""

FORECAST_VERSIONS: Final = Table(
    "forecast_versions",
    "One row per version and step of age: parameters of the forecast, learned from the finished posts of a channel; "
    "written once, never corrected",
    (
        Column("channel", WORD, "The channel whose posts it was learned from"),
        Column("holds_from", MINUTE_TIME, "Event time from which it holds: the finish of the newest post it rests on"),
        Column("step", "UInt8", "Step of the post's age, from 1"),
        Column("age", REAL, "Age at which the step begins, minutes"),
        Column("next_age", REAL, "Age at which it ends, minutes; that of the last step: the same"),
        Column("finished", COUNT, "Posts of the channel that had finished by then"),
        Column("digest", "UInt64", "Hash of the posts it rests on, and of their shares by then"),
        Column("learned_by", STRING, "The program and the prior that it was learned with"),
        Column(
            "here", "Array(Float64)", "Parameters at age: centre, scale, correction, bounds, ends (docs/metrics.md)"
        ),
        Column("ahead", "Array(Float64)", "Parameters at next_age; in between they are interpolated in ln age"),
        Column("learned_at", CLOCK, "When it was learned; nothing rests on that", "now64(3)"),
    ),
    ("channel", "holds_from", "step"),
    version=None,
)

FORECAST_HABITS: Final = Table(
    "forecast_habits",
    "One row per author and version of the forecast: the author's habit; written once, never corrected",
    (
        Column("channel", WORD, "The channel of the version"),
        Column("author_id", STRING, "The author"),
        Column("holds_from", MINUTE_TIME, "Event time from which it holds"),
        Column("habit", REAL, "How far the author's posts went beyond their forecasts, in standard deviations"),
    ),
    ("channel", "author_id", "holds_from"),
    version=None,
)

CONVERSATION: Final = Column(
    "conversation", STRING, "hashtag:, mention:, brand:, author:<channel>/<id> or thread:<post_id>"
)
CONVERSATION_MINUTE: Final = Column("minute", MINUTE_TIME, "Start of the minute")

CONVERSATION_POSTS: Final = Table(
    "conversation_posts",
    "What one post adds to one minute of one conversation; absolute, the one with most events seen wins",
    (
        CONVERSATION,
        CONVERSATION_MINUTE,
        POST_ID,
        Column("posts", "UInt32", "1 in the minute of the post itself"),
        *_minute_columns(),
        Column("channels", STRINGS, "Channels on which somebody posted, shared or commented in this minute"),
        Column(
            "voices",
            "Array(UInt64)",
            f"64-bit hashes of those who posted, shared or commented, taken back later or not; the {VOICES} smallest",
        ),
        Column("voices_exact", "UInt8", f"0 where there are more than {VOICES}: voices is a theta sketch then"),
        VERSION,
        STORED_AT,
    ),
    (BY_DAY, "conversation", BY_MINUTE, "post_id"),
    partition_by="toYYYYMM(minute)",
)

CONVERSATION_MINUTES: Final = Table(
    "conversation_minutes",
    "One row per conversation and minute",
    (
        CONVERSATION,
        CONVERSATION_MINUTE,
        Column("posts", COUNT, "Posts"),
        *(Column(measure, "Int64", f"Net {measure}: added less taken back in this minute") for measure in MEASURES),
        Column("voices", COUNT, "Distinct actors of posts, shares and comments"),
        Column("voices_exact", "UInt8", "0 where voices is an estimate (theta sketch, standard error 6 %)"),
        Column("channels", "UInt32", "Distinct channels of posts, shares and comments"),
        Column("is_final", "UInt8", "1 once the watermark has passed the minute's end"),
        VERSION,
        STORED_AT,
    ),
    (BY_DAY, "conversation", BY_MINUTE),
    partition_by="toYYYYMM(minute)",
)

CONVERSATION_CLOSED: Final = Table(
    "conversation_closed",
    "The count of a conversation's minute at its closing: what detectors read; written once, never corrected",
    (
        CONVERSATION,
        CONVERSATION_MINUTE,
        Column("count", COUNT, "Comments + posts at closing"),
        Column("closed_at", CLOCK, "When the minute closed"),
    ),
    (BY_DAY, "conversation", BY_MINUTE),
    version=None,
    partition_by="toYYYYMM(minute)",
)

CONVERSATION_MARKS: Final = Table(
    "conversation_marks",
    "One row per partition of the conversations' topic: how far its minutes are closed",
    (
        Column("partition", "UInt32", "Partition of the topic of conversations"),
        Column("closed_until", MINUTE_TIME, "Every minute before this one is closed"),
        STORED_AT,
    ),
    ("partition",),
    version="closed_until",
)

DAY: Final = Column("day", "Date", "The day, in UTC")

CONVERSATION_DAYS: Final = Table(
    "conversation_days",
    "One row per conversation and closed day, rolled up from its minutes; conversation_days_v adds open days",
    (
        CONVERSATION,
        DAY,
        Column("first_minute", MINUTE_TIME, "Start of the first minute in which something was said or liked"),
        Column("last_minute", MINUTE_TIME, "Start of the last one"),
        Column("minutes", "UInt32", "Minutes in which something was said or liked"),
        Column("posts", COUNT, "Posts"),
        *(Column(measure, "Int64", f"Net {measure}: added less taken back on this day") for measure in MEASURES),
        Column(
            "voices",
            "Array(UInt64)",
            "64-bit hashes of those who posted, shared or commented, taken back later or not; those below voices_below",
        ),
        Column("voices_below", "UInt64", "Threshold of a theta sketch; 2^64 - 1: voices has all of them"),
        Column("channels", STRINGS, "Channels on which somebody posted, shared or commented on this day"),
        Column("version", "UInt64", "Least fold version of its minutes (8 bits) | events that they have seen (56)"),
        STORED_AT,
    ),
    ("day", "conversation"),
    partition_by="toYYYYMM(day)",
)

CONVERSATION_DAY_MARKS: Final = Table(
    "conversation_day_marks",
    "One row per partition of the conversations' topic: how far its days are rolled up",
    (
        Column("partition", "UInt32", "Partition of the topic of conversations"),
        Column("partitions", "UInt32", "Partitions that the topic has"),
        Column("rolled_until", MINUTE_TIME, "Every day before this one is in conversation_days"),
        STORED_AT,
    ),
    ("partition",),
    version="rolled_until",
)

CONVERSATION_SPIKES: Final = Table(
    "conversation_spikes",
    "One row per sudden spike of a conversation, as it was last seen; the conversation agent finds them",
    (
        Column("spike_id", STRING, "Hash of conversation, opening minute and detector version"),
        CONVERSATION,
        Column("started_at", MINUTE_TIME, "Opening minute"),
        Column("ended_at", "Nullable(DateTime('UTC'))", "NULL while it is open"),
        Column("state", WORD, "opened, grown or resolved"),
        Column("as_of", MINUTE_TIME, "End of the minute that this state was judged by"),
        Column("severity", WORD, "info, notice, warning or critical: from size, novelty and voices", "'warning'"),
        Column("score", REAL, "The detector's score in the minute of this state"),
        Column("observed", REAL, "Comments and posts per minute that were seen"),
        Column("expected", REAL, "Comments and posts per minute that were usual"),
        Column("ratio", "Nullable(Float64)", "observed / expected; NULL where none was usual: below one a day"),
        Column("scale_minutes", "UInt32", "Minutes over which it stands out most"),
        Column("counted_until", MINUTE_TIME, "End of these minutes, in which observed was counted", "as_of"),
        Column(
            "seen_before",
            "Nullable(UInt64)",
            "Where none was usual: comments and posts of the seen_days before; else NULL",
        ),
        Column(
            "seen_days",
            "Nullable(Float64)",
            "Days since the first of these, or days that were looked through for any",
        ),
        Column("voices", "Nullable(UInt64)", "Distinct voices over these minutes; NULL: not known"),
        Column(
            "voices_usual",
            "Nullable(Float64)",
            "Distinct voices over as many minutes of the day before, on average; NULL: not known",
        ),
        Column("channels", "Nullable(UInt32)", "Distinct channels over these minutes; NULL: not known"),
        Column(
            "channels_usual",
            "Nullable(Float64)",
            "Distinct channels over as many minutes of the day before, on average; NULL: not known",
        ),
        Column("concentration", REAL, "Share of these comments and posts that the one post with most of them has"),
        Column("top_posts", STRINGS, "At most 20 posts that made it, most comments first"),
        Column("top_counts", "Array(UInt64)", "Comments and posts of each of top_posts"),
        Column("top_urls", STRINGS, "Address of each of top_posts; empty: not known"),
        Column("top_authors", STRINGS, "Authors of the first five of these posts, as author:<channel>/<id>"),
        Column("reasons", STRINGS, "Why, in words"),
        Column("evidence", STRING, "SQL that proves it, ready to paste"),
        Column("detector", WORD, "Version of the detector that found it"),
        Column("version", "UInt64", "Minute of as_of and step of its life: the latest state wins"),
        STORED_AT,
    ),
    ("spike_id",),
)

SPIKE_GROUPS: Final = Table(
    "spike_groups",
    "One row per spike that one cause made together with others; the alert agent groups spikes",
    (
        Column("spike_id", STRING, "The spike"),
        Column("group_id", STRING, "Id of the first spike of the cause, in event time"),
        Column("version", "UInt64", "How many spikes of the cause are known: the highest wins"),
        STORED_AT,
    ),
    ("spike_id",),
)

CARRY_OVER: Final = Table(
    "carry_over",
    "One row per message and post that carries it; where it began and what it brought elsewhere says carry_over_v",
    (
        Column("message", STRING, "url:<canonical address>, or post:<post that is quoted>"),
        POST_ID,
        Column("channel", WORD, "Where it was posted"),
        Column("created_at", TIME, "When it was first posted"),
        Column("is_current", "UInt8", "0 where the post does not carry it any more"),
        VERSION,
        STORED_AT,
    ),
    ("message", "post_id"),
)

ALERT_DELIVERIES: Final = Table(
    "alert_deliveries",
    "One row per spike, receiver and state",
    (
        Column("spike_id", STRING, "The spike"),
        Column("receiver", WORD, "Who was told"),
        Column("state", WORD, "opened, grown, resolved"),
        Column("delivered_at", "Nullable(DateTime64(3, 'UTC'))", "NULL: not yet"),
        Column("attempts", "UInt32", "Attempts so far"),
        Column("outcome", STRING, "delivered, or the last failure"),
        Column("reference", STRING, "The receiver's name for the message that later states belong to; empty: none"),
        VERSION,
        STORED_AT,
    ),
    ("spike_id", "receiver", "state"),
)

DEAD_LETTERS: Final = Table(
    "dead_letters",
    "One row per record that could not be taken, by its position in the log",
    (
        *LOG_POSITION,
        Column("reason", STRING, "What is wrong and how to mend it"),
        Column("field", STRING, "Where, dotted; empty: the whole record"),
        Column("key", STRING, "The record's key, as it came"),
        Column("bytes", STRING, "The record's value, as it came"),
        Column("received_at", CLOCK, "When Kafka took it"),
        STORED_AT,
    ),
    ("topic", "partition", "offset"),
    version="stored_at",
)

SOURCE_MARKS: Final = Table(
    "source_marks",
    "One row per source partition: how far its event time has come",
    (
        Column("partition", "UInt32", "Source partition"),
        Column("watermark", TIME, "No event older than this is expected any more"),
        Column("idle", "UInt8", "1 where nothing has come for 30 s"),
        STORED_AT,
    ),
    ("partition",),
    version="stored_at",
)

ROW_SETTINGS: Final = Table(
    "row_settings",
    "One row per setting that stored rows follow from: all workers of this database and recount need the same values",
    (
        Column("setting", WORD, "The variable ENGAGEMENT_..., or code: what the program itself makes of events"),
        Column("value", STRING, "The value; of a file a digest of what the file says"),
        Column("adopted_by", STRING, "The command that brought the value, and the host that it ran on"),
        Column("adopted_at", CLOCK, "When the value was brought", "now64(3)"),
        Column("version", "UInt64", "How often the setting was adopted: the highest wins"),
    ),
    ("setting",),
)

RETIRED_POSTS: Final = Table(
    "retired_posts",
    "One row per post that retention has looked at: marked, kept (an event came meanwhile), going or gone",
    (
        POST_ID,
        Column("as_of", MINUTE_TIME, "as_of of the post's last row"),
        Column("state", WORD, "marked, kept, going or gone"),
        Column(
            "version",
            "UInt64",
            "When the state was written, milliseconds since 1970: the latest wins",
            "toUnixTimestamp64Milli(now64(3))",
        ),
    ),
    ("post_id",),
)

RETENTION_FLOORS: Final = Table(
    "retention_floors",
    "One row per kind of rows that retention deletes: rows from before floor may be gone",
    (
        Column("kind", WORD, "posts, conversations or history"),
        Column("floor", MINUTE_TIME, "Minutes before it may lack rows: posts as of then, minutes of conversations"),
        STORED_AT,
    ),
    ("kind",),
    version="floor",
)

ERASURES: Final = Table(
    "erasures",
    "One row per step of an erasure (engagement forget), without names: the record of what was erased and when",
    (
        Column("epoch", "UInt64", "Steps are numbered from 1 on; workers empty their memory at each"),
        Column("step", WORD, "refuse, fold, count, roll; then done, or stale where a worker hung meanwhile; allow"),
        Column("people", "UInt64", "Accounts that were named to the command"),
        Column("posts", "UInt64", "Posts that left as a whole so far"),
        Column("events", "UInt64", "Events that became tombstones or left with their posts so far"),
        Column("erased_by", STRING, "The command and the host that it ran on"),
        Column("recorded_at", CLOCK, "When the step was recorded", "now64(3)"),
    ),
    ("epoch",),
    version="recorded_at",
)

ERASED_HASHES: Final = Table(
    "erased_hashes",
    "What events may not bring back, as hashes under ENGAGEMENT_ERASURE_KEY: who was erased is not to be read here",
    (
        Column("kind", WORD, "actor, mention, post or id; check: of a fixed text, by which another key is noticed"),
        Column("hash", "UInt64", "SipHash-2-4 under a key that is made of ENGAGEMENT_ERASURE_KEY"),
        Column("is_erased", "UInt8", "0 once events of it are let in again"),
        Column("version", "UInt64", "The epoch in which that was said: the highest wins"),
    ),
    ("kind", "hash"),
)

ERASURE_ACKS: Final = Table(
    "erasure_acks",
    "One row per agent and partition: the step of an erasure that its owner has taken up",
    (
        Column("agent", WORD, "engagement or conversations"),
        Column("partition", "UInt32", "Partition of its topics"),
        Column("epoch", "UInt64", "Every row that the owner stores from now on knows of this step"),
        STORED_AT,
    ),
    ("agent", "partition"),
    version="epoch",
)

TABLES: Final = (
    EVENTS,
    KNOWN_POSTS,
    POSTS,
    POSTS_ACTIVE,
    POST_MINUTES,
    POST_METRICS,
    POST_METRICS_ACTIVE,
    POST_HISTORY,
    FORECAST_VERSIONS,
    FORECAST_HABITS,
    CONVERSATION_POSTS,
    CONVERSATION_MINUTES,
    CONVERSATION_CLOSED,
    CONVERSATION_MARKS,
    CONVERSATION_DAYS,
    CONVERSATION_DAY_MARKS,
    CONVERSATION_SPIKES,
    SPIKE_GROUPS,
    CARRY_OVER,
    ALERT_DELIVERIES,
    DEAD_LETTERS,
    SOURCE_MARKS,
    ROW_SETTINGS,
    RETIRED_POSTS,
    RETENTION_FLOORS,
    ERASURES,
    ERASED_HASHES,
    ERASURE_ACKS,
)

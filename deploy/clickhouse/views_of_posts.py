"""Views of posts: their metrics as of now, as they were shown earlier, and as of any time."""

from collections.abc import Iterator
from typing import Final

from deploy.clickhouse.drafting import (
    HIDDEN,
    NOW,
    REAL_OR_NULL,
    SHOWN_AT,
    TEXT_OR_NULL,
    Shown,
    View,
    any_count,
    indent,
    ratio_or_null,
    shown_column,
    time_parameter,
    view,
    weighted,
)
from deploy.clickhouse.spread.own_forecast import forecast_basis, own_columns
from deploy.clickhouse.spread.posts_with_facts import (
    ACTIVE,
    ACTIVE_FACTS,
    ALL_FACTS,
    LONGEST_LOOK_BACK,
    POST_COLUMNS,
    with_facts,
)
from deploy.clickhouse.spread.spread_now import next_hour_now, reproduction_as_of, spread_columns_now
from schemas.metrics import HOT_HALF_LIFE, MEASURE_KINDS, MEASURES, TREES, WEIGHT_SETS, WINDOWS, in_words
from schemas.tables import POST_HISTORY, POST_METRICS, Column

AT: Final = f"toStartOfMinute({time_parameter('t')} + 59)"

_WRITTEN: Final[Shown] = (Column("stored_at", "DateTime64(3, 'UTC')", "When the row was written"), "m.stored_at")

_OF_NOW: Final = ("reproduction", "forecast_", "spread_", "hot_")
"""How the names of columns begin that say little without a time, or that post_metrics_v computes as of now."""


def post_metrics_view() -> View:
    """Shows post_metrics with windows, R_t and the forecast of the next hour as of now: windows from the panes of the
    last two days, the others from the stored state of the spread."""
    comment = (
        "One row per post: its totals, trees and thread as last stored, forecasts of the end as of spread_as_of, "
        "windows, R_t and the next hour as of now. Reads all posts: post_metrics_active_v those of the last two days"
    )
    return _now_view("post_metrics_v", comment, "{database}.post_metrics AS m FINAL", ALL_FACTS)


def post_metrics_active_view() -> View:
    """Shows the rows of post_metrics_v of active posts; reads nothing of other posts."""
    comment = (
        "post_metrics_v of active posts, those that had an event in the last two days: however many posts there are, "
        "this costs what the active ones do. All other posts have zeros in every window"
    )
    active = f"(\n    SELECT *\n    FROM {{database}}.post_metrics_active FINAL\n    WHERE {ACTIVE}\n) AS m"
    return _now_view("post_metrics_active_v", comment, active, ACTIVE_FACTS, are_few=True)


def _now_view(name: str, comment: str, metrics: str, facts: str, *, are_few: bool = False) -> View:
    """Writes a view of posts as of now: `metrics`, the rows of post_metrics AS m, and `facts`, the query of facts."""
    shown = _spread_now(metric_columns(NOW, windows=False))
    half_life = f"hot_{HOT_HALF_LIFE[0]}"
    at = next(number for number, (column, _) in enumerate(shown) if column.name == half_life) + 1
    hot_now = f"if(isNaN(m.{half_life}), NULL, exp2(m.{half_life} - toUnixTimestamp({NOW}) / {HOT_HALF_LIFE[1] * 60}))"
    shown.insert(
        at, (Column(f"{half_life}_now", REAL_OR_NULL, "Hot score as of now; NULL without engagement"), hot_now)
    )
    shown += [*window_columns("now"), (SHOWN_AT, NOW)]
    shown += _facts("m")
    shown.append(
        (
            Column("stored_seconds_ago", "Float64", "Seconds since the row was written"),
            "dateDiff('millisecond', m.stored_at, now64(3, 'UTC')) / 1000",
        )
    )
    tail = f"""\
FROM
(
{indent(with_facts(metrics, facts, are_few=are_few))}
) AS m
LEFT ANY JOIN
(
{indent(window_sums(NOW))}
) AS w ON w.post_id = m.post_id"""
    return view(name, comment, shown, tail)


def post_forecasts_view() -> View:
    """Shows the columns of post_metrics_v about how a post spreads and what is foreseen, which need no windows."""
    comment = (
        "One row per post: R_t and the next hour as of now, forecasts of the end as of spread_as_of, and its facts. "
        "What post_metrics_v says of it, without windows, trees and thread, in less time"
    )
    names, begun = ("post_id", "as_of", "shares", "spread_as_of", "spread_reason"), ("reproduction", "forecast_")
    columns = metric_columns(NOW, windows=False)
    stored = [each for each in columns if each[0].name in names or each[0].name.startswith(begun)]
    shown = [*_spread_now(stored), (SHOWN_AT, NOW), *_facts("m")]
    rows = with_facts(f"{{database}}.{POST_METRICS.name} AS m FINAL", ALL_FACTS, are_few=False)
    return view("post_forecasts_v", comment, shown, f"FROM\n(\n{indent(rows)}\n) AS m")


def _spread_now(stored: list[Shown]) -> list[Shown]:
    """Returns the columns with those about the spread as of now and by a channel's own parameters, and more of them."""
    of_now = spread_columns_now() | own_columns()
    shown = [of_now.get(column.name, (column, value)) for column, value in stored]
    return [*shown, *forecast_basis(), reproduction_as_of(), next_hour_now()]


def _facts(of: str) -> list[Shown]:
    """Shows the facts of posts, columns of the query `of`, and when the row was written."""
    return [*((column, f"{of}.{column.name}") for column, _ in POST_COLUMNS), _WRITTEN]


def post_totals_view() -> View:
    """Shows the columns of post_metrics_v that need neither windows nor forecasts."""
    comment = (
        "One row per post: its totals, trees and thread as last stored, and its facts. What post_metrics_v says of it, "
        "without windows, R_t and forecasts, at less than half of the cost: ask this one about all posts"
    )
    shown = [
        (column, value)
        for column, value in metric_columns(NOW, windows=False)
        if not column.name.startswith(_OF_NOW) or column.name == "spread_reason"
    ]
    shown += _facts("p")
    tail = f"""\
FROM {{database}}.{POST_METRICS.name} AS m FINAL
LEFT ANY JOIN
(
{indent(ALL_FACTS)}
) AS p ON p.post_id = m.post_id"""
    return view("post_totals_v", comment, shown, tail)


def post_history_view() -> View:
    """Shows post_history with scores. A step that is not over yet is shown as of now: nothing has come since then."""
    at = f"least(m.as_of, {NOW})"
    shown: list[Shown] = []
    for column in POST_HISTORY.columns:
        if column.name in HIDDEN:
            continue
        shown.append((column, at) if column.name == "as_of" else shown_column(column, "m"))
        shown += _derived(column.name, at)
        if column.name == "actors":
            scores = ((POST_METRICS[f"score_{name}"], weights) for name, weights in WEIGHT_SETS.items())
            shown += [(score, weighted(weights, "m.{}")) for score, weights in scores]
    return view("post_history_v", POST_HISTORY.comment, shown, "FROM {database}.post_history AS m FINAL")


def metrics_at_view() -> View:
    """Shows counts, windows and scores as of any time, computed from the panes; a view with the parameter `t`."""
    shown: list[Shown] = [
        *_at_columns(),
        *((Column(m, "Int64", f"Net {m} before t: added less taken back by then"), f"w.{m}_total") for m in MEASURES),
    ]
    for name, weights in WEIGHT_SETS.items():
        shown.append((POST_METRICS[f"score_{name}"], weighted(weights, "w.{}_total")))
    shown += window_columns("t")
    tail = f"FROM\n(\n{indent(window_sums(AT, totals=True))}\n) AS w"
    comment = (
        f"One row per post that had a {in_words(MEASURE_KINDS, 'or')} before t. Reads all panes before t, for totals: "
        "post_metrics_active_at those of two days. SELECT * FROM post_metrics_at(t = '2026-01-01T00:00:00Z')"
    )
    return view("post_metrics_at", comment, shown, tail, typed=False)


def metrics_active_at_view() -> View:
    """Shows windows as of any time of the posts that were active then; a view with the parameter `t`."""
    comment = (
        f"One row per post that had a {in_words(MEASURE_KINDS, 'or')} in the two days before t: its windows as of t. "
        "SELECT * FROM post_metrics_active_at(t = '2026-01-01T00:00:00Z')"
    )
    tail = f"FROM\n(\n{indent(window_sums(AT))}\n) AS w"
    return view("post_metrics_active_at", comment, [*_at_columns(), *window_columns("t")], tail, typed=False)


def _at_columns() -> list[Shown]:
    at = Column("windows_at", "DateTime('UTC')", "t, or the end of the minute that t is in")
    return [(POST_METRICS["post_id"], "w.post_id"), (at, AT)]


def metric_columns(now: str, *, windows: bool = True) -> list[Shown]:
    """Shows the columns of post_metrics AS m, and the columns computed from them as of `now`.

    Columns with a window are shown only with `windows`.
    """
    shown: list[Shown] = []
    for column in POST_METRICS.columns:
        if column.name not in HIDDEN and (windows or column.window is None):
            shown.append(shown_column(column, "m"))
            shown += _derived(column.name, now)
    return shown


def window_sums(at: str, *, totals: bool = False) -> str:
    """Writes the query of a post's net counts: two successive windows of each length, back from `at`.

    With `totals` it also counts all time.
    """
    sums = []
    for measure in MEASURES:
        net = f"toInt64({measure}) - {measure}_retracted"
        if totals:
            sums.append(f"sum({net}) AS {measure}_total")
        for window, minutes in WINDOWS.items():
            w = minutes * 60
            sums.append(f"sumIf({net}, age <= {w}) AS {measure}_{window}_new")
            sums.append(f"sumIf({net}, age > {w} AND age <= {2 * w}) AS {measure}_{window}_old")
    lines = ",\n    ".join(sums)
    # A condition on the sorting key leaves rows out before FINAL chooses among versions, and reads the days alone.
    since = (
        "" if totals else f"minute >= toDateTime(greatest(toUnixTimestamp({at}) - {LONGEST_LOOK_BACK}, 0), 'UTC') AND "
    )
    return f"""\
WITH toUnixTimestamp({at}) - toUnixTimestamp(minute) AS age
SELECT
    post_id,
    {lines}
FROM {{database}}.post_minutes FINAL
PREWHERE {since}minute < {at}
WHERE {any_count()}
GROUP BY post_id"""


def window_columns(moment: str) -> Iterator[Shown]:
    """Yields the columns of all windows; `moment` is the time that they look back from, in words."""
    for name, weights in WEIGHT_SETS.items():
        for window in WINDOWS:
            yield _windowed(f"score_{name}_{window}", moment), weighted(weights, f"ifNull(w.{{}}_{window}_new, 0)")
    for measure in MEASURES:
        for window, minutes in WINDOWS.items():
            new, old = (f"ifNull(w.{measure}_{window}_{part}, 0)" for part in ("new", "old"))
            yield _windowed(f"{measure}_{window}", moment), new
            yield _windowed(f"{measure}_velocity_{window}", moment), f"{new} / {minutes}"
            yield _windowed(f"{measure}_acceleration_{window}", moment), f"({new} - {old}) / {minutes**2}"
            z = f"if({new} + {old} > 0, ({new} - {old}) / sqrt({new} + {old}), NULL)"
            yield _windowed(f"{measure}_z_{window}", moment), z
    for window, minutes in WINDOWS.items():
        new, old = (
            "(" + " + ".join(f"ifNull(w.{measure}_{window}_{part}, 0)" for measure in MEASURES) + ")"
            for part in ("new", "old")
        )
        falls = f"{new} > 0 AND {old} > {new}"
        yield (
            _windowed(f"rate_half_life_{window}", moment),
            f"if({falls}, {minutes} * ln(2) / ln({old} / {new}), NULL)",
        )


def _derived(name: str, now: str) -> Iterator[Shown]:
    """Yields the columns that are computed from the column `name`, as of `now`."""
    tree, _, part = name.partition("_")
    if tree in TREES and part == "waiting":
        flat = "no event of this tree names a parent: all hang under the post, so its shape says little"
        yield (
            Column(
                f"{tree}_note", TEXT_OR_NULL, f"Why the shape of the tree says little or nothing; {tree}_parents_known"
            ),
            f"multiIf(m.tree_truncated, 'too many events: not known', "
            f"m.{tree}_parents_known = 0 AND m.{tree}_size > 1, '{flat}', NULL)",
        )
    if tree in TREES and part == "levels":
        levels = f"m.{name}"
        yield (
            Column(
                f"{tree}_generations",
                "Array(Nullable(Float64))",
                f"Reproduction per generation, level g + 1 / level g of {name}, g = 1, 2, ...; NULL below none",
            ),
            f"arrayMap((now, next) -> if(now > 0, next / now, NULL), arrayPopBack({levels}), arrayPopFront({levels}))",
        )
    if name == "audience_turns":
        yield (
            Column(
                "brand_ratio", REAL_OR_NULL, "brand_turns / audience_turns; NULL without audience, see thread_reason"
            ),
            f"if(m.thread_reason = 0, {ratio_or_null('m.brand_turns', 'm.audience_turns')}, NULL)",
        )
    if name == "oldest_unanswered_at":
        waits = f"m.thread_reason = 0 AND m.{name} > toDateTime(0, 'UTC')"
        moment = "now" if now == NOW else "as_of"
        yield (
            Column(
                "oldest_unanswered_minutes",
                "Nullable(Int64)",
                f"Minutes from oldest_unanswered_at to {moment}; NULL where none waits, see thread_reason",
            ),
            f"if({waits}, dateDiff('minute', m.{name}, {now}), NULL)",
        )


def _windowed(name: str, moment: str) -> Column:
    column, (shown, _) = POST_METRICS[name], shown_column(POST_METRICS[name])
    return Column(name, shown.type, column.comment_in_view(moment))

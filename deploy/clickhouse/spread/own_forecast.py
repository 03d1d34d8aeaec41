"""The forecast of final shares by the parameters that a channel's own posts have taught, computed by views.

post_metrics has the forecast by the prior. A version of a channel's own parameters holds from an event time on
(forecast_versions), so a view takes the newest version that holds at the row's spread_as_of and computes what
processors/virality/forecast.py computes, from the state that the row has of the spread. Stored rows stay a function of
the post's events alone, and a version that is learned late, or again, needs no row to be written.
"""

from typing import Final

from deploy.clickhouse.drafting import TEXT_OR_NULL, Shown, shown_column
from schemas.spread import FITTED_AGES, FURTHEST_FEATURE, KERNEL, NEXT_PRIOR, PARAMETER_WIDTHS, PRIOR_SCALE
from schemas.tables import POST_METRICS, Column

_ALL: Final = sum(PARAMETER_WIDTHS.values())


def _of(name: str) -> str:
    """Writes the parameters of this name, an array."""
    start = 1
    for other, width in PARAMETER_WIDTHS.items():
        if other == name:
            return f"arraySlice(own, {start}, {width})"
        start += width
    raise KeyError(name)


def _at(name: str, place: int = 1) -> str:
    """Writes one parameter."""
    start = 1
    for other, width in PARAMETER_WIDTHS.items():
        if other == name:
            return f"own[{start + place - 1}]"
        start += width
    raise KeyError(name)


_PRODUCTS: Final = (
    "arrayFlatten(arrayMap((x, number) -> arrayMap(y -> x * y, arraySlice(scaled, number)), scaled, "
    "arrayEnumerate(scaled)))"
)
_REST: Final = " + ".join(f"m.spread_rest_{number}" for number in range(1, len(KERNEL) + 1))
_AGE: Final = "ifNull(greatest(dateDiff('minute', toStartOfMinute(p.created_at), m.spread_as_of), 1), 1)"
_TURN: Final = "2 * pi() * (toUnixTimestamp(m.spread_as_of) % 86400) / 86400"
_OWN: Final = (
    "arrayMap((x, y) -> x * (1 - own_part) + y * own_part, "
    f"if(has_own, c.here, arrayWithConstant({_ALL}, 1.)), if(has_own, c.ahead, arrayWithConstant({_ALL}, 1.)))"
)
_DOUBLED: Final = f"(coming * {_at('double')})"
_SCALED: Final = (
    f"arrayMap((x, centre, width) -> least(greatest((x - centre) / width, -{FURTHEST_FEATURE}), {FURTHEST_FEATURE}), "
    "[log1p(toFloat64(m.shares)), log(greatest(own_rest, 1e-12)), log(own_r), m.spread_lag, m.spread_log_lag], "
    f"{_of('centre')}, {_of('scale')})"
)
_LOG_A: Final = (
    f"least(greatest(arrayDotProduct(arrayConcat([1.], scaled, {_PRODUCTS}, [sin({_TURN}), cos({_TURN}), "
    f"ifNull(h.habit, 0)]), {_of('correction')}), {_at('bounds')}), {_at('bounds', 2)})"
)


def _ends(coming: str, low: str, high: str) -> str:
    """Writes the shares to come and the ends of their interval."""
    outer = (f"greatest(({coming} + 1) * exp({_at(end)} + {_at(end, 2)} * scaled[1]) - 1, 0)" for end in (low, high))
    return f"{coming}, least({next(outer)}, {coming}), greatest({next(outer)}, {coming})"


OWN_GIVEN: Final = (
    ("has_own", "notEmpty(c.here) AND ifNull(m.spread_lag > 0, 0)"),
    ("own_finished", "ifNull(c.finished, 0)"),
    ("own_from", "greatest(ifNull(c.age, 1), 1)"),
    ("own_next", "ifNull(c.next_age, 1)"),
    (
        "own_part",
        f"if(has_own AND own_next > own_from, "
        f"least(greatest(log({_AGE} / own_from) / log(own_next / own_from), 0), 1), 0)",
    ),
    ("own_rest", _REST),
    ("own_r", f"m.spread_shape / (m.spread_rate - {NEXT_PRIOR[1] - 1 / PRIOR_SCALE})"),
    (
        "own_coming",
        f"arrayMap(own -> arrayMap(scaled -> arrayMap(coming -> [{_ends('coming', 'low', 'high')}, "
        f"{_ends(_DOUBLED, 'double_low', 'double_high')}], [own_r * own_rest * exp({_LOG_A})])[1], "
        f"[{_SCALED}])[1], [{_OWN}])[1]",
    ),
)
"""Names and SQL that the columns use. `own_coming`: the shares to come and the ends of their interval, in the end and
at double the age. `own`: the parameters at the post's age. Terms, bounds and ends are those of
processors/virality/forecast.py. A lambda over a single value gives the value a name. The SQL of any other name is
planned again wherever the name stands: half of the time that a query for one post took."""


def own_joins(facts: str = "") -> str:
    """Writes the joins of post_metrics AS m and posts AS p: with the version that holds, c, and a habit, h. Where the
    query `facts` of these posts is given, only habits of their authors are joined: there are many more authors."""
    only = f"\n    WHERE author_id = '' OR author_id IN (SELECT author_id FROM ({facts}))" if facts else ""
    ages = ", ".join(f"{age:g}" for age in FITTED_AGES)
    step = f"toUInt8(greatest(arrayCount(a -> a <= {_AGE}, [{ages}]), 1))"
    return f"""\
ASOF LEFT JOIN
(
    SELECT toString(channel) AS channel, holds_from, step, age, next_age, finished, here, ahead
    FROM {{database}}.forecast_versions FINAL
) AS c ON c.channel = ifNull(p.channel, '') AND c.step = {step} AND c.holds_from <= m.spread_as_of
ASOF LEFT JOIN
(
    SELECT toString(channel) AS channel, author_id, holds_from, habit
    FROM {{database}}.forecast_habits FINAL{only}
) AS h
ON h.channel = ifNull(p.channel, '') AND h.author_id = ifNull(p.author_id, '') AND h.holds_from <= m.spread_as_of"""


def own_columns() -> dict[str, Shown]:
    """Shows the forecasts of post_metrics, by a channel's own parameters where there are any, by name."""
    shown = {}
    names = [
        f"{name}{end}" for name in ("forecast_shares", "forecast_shares_double_age") for end in ("", "_low", "_high")
    ]
    for number, name in enumerate(names, 1):
        column, stored = shown_column(POST_METRICS[name], "m")
        shown[name] = column, f"if(has_own, m.shares + own_coming[{number}], {stored})"
    return shown


def forecast_basis() -> tuple[Shown, Shown]:
    """Shows on what a forecast rests, in words and as a number of posts."""
    said = (
        "What the forecast of final shares rests on: 'prior', parameters of many networks; 'prior for its kind', those "
        "of the kind of network that the channel's posts show at an age of a day; 'own', those learned from finished "
        "posts of the channel; NULL: see spread_reason"
    )
    posts = (
        "Posts of the channel that had finished when these parameters were learned; 0: prior; NULL: see spread_reason"
    )
    is_unknown = "isNaN(m.forecast_shares)"
    return (
        (
            Column("forecast_basis", TEXT_OR_NULL, said),
            f"multiIf({is_unknown}, NULL, NOT has_own, 'prior', own_finished = 0, 'prior for its kind', "
            "concat('own, ', toString(own_finished), ' posts'))",
        ),
        (
            Column("forecast_basis_posts", "Nullable(UInt64)", posts),
            f"if({is_unknown}, NULL, if(has_own, own_finished, 0))",
        ),
    )

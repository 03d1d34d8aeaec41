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
_FEATURES: Final = PARAMETER_WIDTHS["centre"]


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


_PRODUCTS: Final = ", ".join(
    f"own_scaled[{i}] * own_scaled[{j}]" for i in range(1, _FEATURES + 1) for j in range(i, _FEATURES + 1)
)
_REST: Final = " + ".join(f"m.spread_rest_{number}" for number in range(1, len(KERNEL) + 1))
_AGE: Final = "greatest(dateDiff('minute', toStartOfMinute(p.created_at), m.spread_as_of), 1)"
_TURN: Final = "2 * pi() * (toUnixTimestamp(m.spread_as_of) % 86400) / 86400"

OWN_GIVEN: Final = (
    ("has_own", "notEmpty(c.here) AND ifNull(m.spread_lag > 0, 0)"),
    ("own_age", f"toFloat64(ifNull({_AGE}, 1))"),
    ("own_from", "greatest(ifNull(c.age, 1), 1)"),
    ("own_next", "ifNull(c.next_age, 1)"),
    (
        "own_part",
        "if(has_own AND own_next > own_from, "
        "least(greatest(log(own_age / own_from) / log(own_next / own_from), 0), 1), 0)",
    ),
    (
        "own",
        "arrayMap((x, y) -> x * (1 - own_part) + y * own_part, "
        f"if(has_own, c.here, arrayWithConstant({_ALL}, 1.)), if(has_own, c.ahead, arrayWithConstant({_ALL}, 1.)))",
    ),
    ("own_rest", _REST),
    ("own_r", f"m.spread_shape / (m.spread_rate - {NEXT_PRIOR[1] - 1 / PRIOR_SCALE})"),
    (
        "own_scaled",
        f"arrayMap((x, centre, width) -> least(greatest((x - centre) / width, -{FURTHEST_FEATURE}), "
        f"{FURTHEST_FEATURE}), [log1p(toFloat64(m.shares)), log(greatest(own_rest, 1e-12)), log(own_r), m.spread_lag, "
        f"m.spread_log_lag], {_of('centre')}, {_of('scale')})",
    ),
    (
        "own_log_a",
        f"least(greatest(arrayDotProduct(arrayConcat([1.], own_scaled, [{_PRODUCTS}, sin({_TURN}), cos({_TURN}), "
        f"ifNull(h.habit, 0)]), {_of('correction')}), {_at('bounds')}), {_at('bounds', 2)})",
    ),
    ("own_coming", "own_r * own_rest * exp(own_log_a)"),
    ("own_double", f"own_coming * {_at('double')}"),
)
"""Names and SQL that the columns use. `own`: the parameters at the post's age; terms, bounds and ends as in
processors/virality/forecast.py."""


def own_joins() -> str:
    """Writes the joins of post_metrics AS m and posts AS p: with the version that holds, c, and a habit, h."""
    ages = ", ".join(f"{age:g}" for age in FITTED_AGES)
    step = f"toUInt8(greatest(arrayCount(a -> a <= ifNull({_AGE}, 1), [{ages}]), 1))"
    return f"""\
ASOF LEFT JOIN
(
    SELECT toString(channel) AS channel, holds_from, step, age, next_age, finished, here, ahead
    FROM {{database}}.forecast_versions FINAL
) AS c ON c.channel = ifNull(p.channel, '') AND c.step = {step} AND c.holds_from <= m.spread_as_of
ASOF LEFT JOIN
(
    SELECT toString(channel) AS channel, author_id, holds_from, habit
    FROM {{database}}.forecast_habits FINAL
) AS h
ON h.channel = ifNull(p.channel, '') AND h.author_id = ifNull(p.author_id, '') AND h.holds_from <= m.spread_as_of"""


def own_columns() -> dict[str, Shown]:
    """Shows the forecasts of post_metrics, by a channel's own parameters where there are any, by name."""
    shown = {}
    for name, coming in (("forecast_shares", "own_coming"), ("forecast_shares_double_age", "own_double")):
        ends = ("low", "high") if coming == "own_coming" else ("double_low", "double_high")
        values = {name: f"m.shares + {coming}"}
        for end, bound, suffix in zip(ends, ("least", "greatest"), ("low", "high"), strict=True):
            log = f"{_at(end)} + {_at(end, 2)} * own_scaled[1]"
            outer = f"m.shares + greatest(({coming} + 1) * exp({log}) - 1, 0)"
            values[f"{name}_{suffix}"] = f"{bound}({outer}, m.shares + {coming})"
        for column_name, value in values.items():
            column, stored = shown_column(POST_METRICS[column_name], "m")
            shown[column_name] = column, f"if(has_own, {value}, {stored})"
    return shown


def forecast_basis() -> tuple[Shown, Shown]:
    """Shows on what a forecast rests, in words and as a number of posts."""
    said = (
        "What the forecast of final shares rests on: 'prior', parameters of many networks, or 'own', those "
        "learned from finished posts of the channel; NULL: see spread_reason"
    )
    posts = (
        "Posts of the channel that had finished when these parameters were learned; 0: prior; NULL: see spread_reason"
    )
    is_unknown = "isNaN(m.forecast_shares)"
    return (
        (
            Column("forecast_basis", TEXT_OR_NULL, said),
            f"if({is_unknown}, NULL, if(has_own, concat('own, ', toString(ifNull(c.finished, 0)), ' posts'), 'prior'))",
        ),
        (
            Column("forecast_basis_posts", "Nullable(UInt64)", posts),
            f"if({is_unknown}, NULL, if(has_own, ifNull(c.finished, 0), 0))",
        ),
    )

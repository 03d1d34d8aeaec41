"""R_t and the forecast of the next hour as of now, from the state that post_metrics has of a post as of `spread_as_of`.

Without a new event the state only decays: each `spread_rest_<k>` as e^(-t / tau_k). So the forecast is known for any
later time, and R_t from the time on at which all of its window lies behind `spread_as_of`; until then R_t is shown as
stored. A row of an older fold version has no state: it is shown as stored, without a forecast of the next hour.
"""

from dataclasses import replace
from math import log
from typing import Final

from deploy.clickhouse.drafting import NOW, Shown, shown_column
from schemas.spread import (
    FADED,
    GENERATIONS,
    KERNEL,
    LEAST_EXPOSURE,
    LEAST_WINDOW,
    MOST_NEXT,
    MOST_WINDOW,
    PRIOR_SCALE,
    PRIOR_SHAPE,
    SPREAD_REASONS,
    TAIL,
    arrivals,
)
from schemas.tables import POST_METRICS, Column


def _sum(term: str) -> str:
    """Writes the sum over the kernel's components of `term`, with their number {k} and {tau} in minutes."""
    return " + ".join(term.format(k=k, tau=seconds / 60) for k, (seconds, _) in enumerate(KERNEL, 1))


_AGE: Final = f"dateDiff('minute', toStartOfMinute(p.created_at), {NOW})"

GIVEN: Final = (
    # The sum is NaN for a post without shares.
    ("has_state", "m.spread_rest_1 + m.spread_rest_7 > 0"),
    ("since", f"greatest(dateDiff('minute', m.spread_as_of, {NOW}), 0)"),
    ("r_window", f"least(greatest({_AGE} / 2, {LEAST_WINDOW}), {MOST_WINDOW})"),
    ("is_silent", "ifNull(has_state AND since >= r_window, 0)"),
    ("due_in_window", _sum("m.spread_rest_{k} * (exp((r_window - since) / {tau}) - exp(-since / {tau}))")),
    ("due_since", _sum("m.spread_rest_{k} * (1 - exp(-since / {tau}))")),
    ("r_next", f"least(m.spread_shape / (m.spread_rate + due_since), {MOST_NEXT})"),
)
"""Names and SQL that the columns use. `since`: minutes since `spread_as_of`. `is_silent`: whether all of the window
of R_t lies behind `spread_as_of`, so that no share came in it. `r_next`: R of the next hour, which falls by the shares
that were due since `spread_as_of` and did not come."""


def spread_columns_now() -> dict[str, Shown]:
    """Shows R_t and its reason of post_metrics AS m, with facts of posts, by name."""
    # Gamma with shape 1 is the exponential distribution, whose quantiles need no special function.
    mean = f"{PRIOR_SHAPE} / ({1 / PRIOR_SCALE} + due_in_window)"
    quantiles = {"reproduction": 1.0, "reproduction_low": -log(1 - TAIL), "reproduction_high": -log(TAIL)}
    shown = {}
    for name, factor in quantiles.items():
        column, stored = shown_column(POST_METRICS[name], "m")
        now = f"if(due_in_window < {LEAST_EXPOSURE}, NULL, {factor} * {mean})"
        column = replace(column, meaning=f"{column.meaning}; as of reproduction_as_of")
        shown[name] = column, f"if(is_silent, {now}, {stored})"
    reason, stored = shown_column(POST_METRICS["spread_reason"], "m")
    now = f"if(due_in_window < {LEAST_EXPOSURE}, '{SPREAD_REASONS[FADED - 1]}', NULL)"
    return shown | {"spread_reason": (reason, f"if(is_silent, {now}, {stored})")}


def reproduction_as_of() -> Shown:
    """Shows the time at which R_t holds."""
    said = "When R_t holds: spread_as_of, or now (windows_at) once its whole window is later than that"
    return Column("reproduction_as_of", "DateTime('UTC')", said), f"if(is_silent, {NOW}, m.spread_as_of)"


def next_hour_now() -> Shown:
    """Shows the forecast of the next hour, a sum over generations: of R^g times the shares of generation g at R = 1."""
    # As arrays: the server needs a tenth of a second to plan a formula of 112 terms.
    rests = ", ".join(f"m.spread_rest_{k} * exp(-since / {seconds / 60})" for k, (seconds, _) in enumerate(KERNEL, 1))
    by_generation = [list(chances) for chances in zip(*arrivals(), strict=True)]
    powers = f"arrayMap(g -> pow(r_next, g), range(1, {GENERATIONS + 1}))"
    coming = f"arrayDotProduct(arrayMap(chances -> arrayDotProduct(chances, [{rests}]), {by_generation}), {powers})"
    column, _ = shown_column(POST_METRICS["forecast_shares_next_1h"], "m")
    return column, f"if(has_state, {coming}, NULL)"

"""The columns of post_metrics about how a post spreads: R_t, forecasts, half-lives. Pure."""

from typing import Final

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.panes import PostPanes
from processors.virality import clock
from processors.virality.forecast import Forecast, forecast, reproduce
from processors.virality.parameters import ForecastParameters
from processors.virality.spread import FIELDS, Lookups, spread_of

KNOWN: Final = 0
NO_POST: Final = 1
NO_SHARES: Final = 2
"""Values of `spread_reason`."""

_FORECASTS: Final = (
    "forecast_shares",
    "forecast_shares_low",
    "forecast_shares_high",
    "forecast_shares_double_age",
    "forecast_shares_double_age_low",
    "forecast_shares_double_age_high",
)
"""Columns in the order of `Forecast`."""


def spread_columns(
    posts: PostPanes,
    created: Array,
    as_of: Array,
    parameters: ForecastParameters,
    lookups: Lookups,
    habits: Array | None = None,
) -> dict[str, Array]:
    """Returns the columns by name, one value per post; NaN where unknown, which `spread_reason` explains.

    `created`: minute of the post itself, clock.NO_MINUTE where its event is missing. `as_of`: the minute since 1970 at
    which the row holds, such as `clock.spread_as_of` returns. `habits`: those of the posts' authors, 0 where not known.
    Takes about 2 us a post and 40 to 150 ns a pane.
    """
    created, as_of = created.astype(np.int64), as_of.astype(np.int64)
    spread = spread_of(posts, created, as_of, lookups)
    has_post = created != clock.NO_MINUTE
    known = has_post & (spread[:, 0] > 0)
    columns: dict[str, Array] = {"spread_as_of": (as_of * 60).astype(np.uint32)}
    chosen = spread[known]
    r = reproduce(chosen)
    age = np.maximum(as_of - created, 1)[known].astype(np.float64)
    predicted: Forecast = forecast(chosen, age, parameters, as_of[known], None if habits is None else habits[known])
    for name, values in zip(
        ("reproduction", "reproduction_low", "reproduction_high", *_FORECASTS), (*r, *predicted), strict=True
    ):
        columns[name] = np.full(len(created), np.nan)
        columns[name][known] = values
    for name in ("half_life_shares", "half_life_engagement"):
        columns[name] = spread[:, FIELDS.index(name)].copy()
    columns["spread_reason"] = np.where(known, KNOWN, np.where(has_post, NO_SHARES, NO_POST)).astype(np.uint8)
    return columns

"""The columns of post_metrics about how a post spreads: R_t, forecasts, half-lives, and the state from which views
compute R_t and the forecast of the next hour as of now. Pure."""

from typing import Final

import numpy as np

from processors.columnar.arrays import Array
from processors.columnar.panes import PostPanes
from processors.virality import clock
from processors.virality.forecast import Forecast, forecast, lag_features, reproduce
from processors.virality.next_hour import posterior, shares_of_next_hour
from processors.virality.parameters import ForecastParameters
from processors.virality.reproduction import exposure
from processors.virality.spread import FIELDS, FIRST_PART, Lookups, spread_of
from schemas.spread import FADED, LEAST_EXPOSURE

KNOWN: Final = 0
NO_POST: Final = 1
NO_SHARES: Final = 2
TOO_FEW: Final = 4
"""Values of `spread_reason`, beside FADED: the places in SPREAD_REASONS, counted from 1."""

_FORECASTS: Final = (
    "forecast_shares",
    "forecast_shares_low",
    "forecast_shares_high",
    "forecast_shares_double_age",
    "forecast_shares_double_age_low",
    "forecast_shares_double_age_high",
)
"""Columns in the order of `Forecast`."""

_REPRODUCTION: Final = ("reproduction", "reproduction_low", "reproduction_high")


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
    Takes about 3 us a post and 60 to 250 ns a pane.
    """
    created, as_of = created.astype(np.int64), as_of.astype(np.int64)
    spread = spread_of(posts, created, as_of, lookups)
    has_post = created != clock.NO_MINUTE
    known = has_post & (spread[:, 0] > 0)
    columns: dict[str, Array] = {"spread_as_of": (as_of * 60).astype(np.uint32)}
    chosen = spread[known]
    age = np.maximum(as_of - created, 1)[known].astype(np.float64)
    predicted: Forecast = forecast(chosen, age, parameters, as_of[known], None if habits is None else habits[known])
    found = dict(zip(_FORECASTS, predicted, strict=True))
    found["forecast_shares_next_1h"] = shares_of_next_hour(chosen)
    found["spread_shape"], found["spread_rate"] = posterior(chosen)
    found |= {f"spread_{FIELDS[place]}": chosen[:, place] for place in range(FIRST_PART, len(FIELDS))}
    found["spread_lag"], found["spread_log_lag"] = lag_features(chosen, age).T
    untold = _untold(chosen)
    found |= {
        name: np.where(untold, np.nan, values) for name, values in zip(_REPRODUCTION, reproduce(chosen), strict=True)
    }
    for name, values in found.items():
        columns[name] = np.full(len(created), np.nan)
        columns[name][known] = values
    for name in ("half_life_shares", "half_life_engagement", "life_engagement"):
        columns[name] = spread[:, FIELDS.index(name)].copy()
    columns["spread_reason"] = np.where(has_post, NO_SHARES, NO_POST).astype(np.uint8)
    columns["spread_reason"][known] = untold
    return columns


def _untold(spread: Array) -> Array:
    """Returns why the window of R_t tells too little, a code per post: fewer shares due than LEAST_EXPOSURE, and none
    came (FADED) or some did (TOO_FEW); else KNOWN."""
    s = dict(zip(FIELDS, spread.T, strict=True))
    due = exposure(s["shares"], s["rest"], s["nodes_before"], s["rest_before"])
    came = s["shares"] > s["shares_before"]
    untold: Array = np.where(due >= LEAST_EXPOSURE, KNOWN, np.where(came, TOO_FEW, FADED))
    return untold

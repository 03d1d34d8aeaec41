"""The prior of the forecast: fits the shipped parameters, or judges them on networks that they were not fitted on.

    python benchmarks/forecast_prior.py cascades.ndjson.gz posts.csv [--write]

With --write the parameters go to processors/virality/forecast.json first. Prints, per network that was held out, median
absolute error, median bias and coverage at 10 minutes, 1 hour and 6 hours.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from processors.virality.fit.backtest import backtest
from processors.virality.fit.history import read_cascades
from processors.virality.fit.networks import network
from processors.virality.fit.prior import HELD_OUT, LEARNED, LEAST_RECORDED, fit_prior, least_shares
from processors.virality.parameters import SHIPPED_PATH, dump_parameters, load_parameters
from processors.virality.spread import Lookups

AGES = (10, 60, 360)
JUDGED_POSTS = 600


def main() -> int:
    """Fits and judges."""
    events, posts = sys.argv[1:3]
    recorded = read_cascades((events,), Path(posts), print)
    if "--write" in sys.argv:
        facts = {
            "networks": [plan.name for plan in LEARNED],
            "least_shares": LEAST_RECORDED,
            "said": "networks made from a recorded one (2011 to 2016) and from simulated processes",
        }
        prior = fit_prior(recorded, LEARNED, datetime.now(UTC).date().isoformat(), facts)
        SHIPPED_PATH.write_text(dump_parameters(prior))
    prior, lookups = load_parameters(), Lookups()
    print(f"{'held out':<42}" + "".join(f"{age:>8} min: error, bias, held" for age in AGES))
    pooled: dict[int, list[np.ndarray]] = {age: [] for age in AGES}
    for number, plan in enumerate(HELD_OUT):
        made = network(plan, recorded, JUDGED_POSTS, 1000 + number)
        line = f"{plan.name:<42}"
        for one in backtest(made, AGES, least_shares(plan), prior, lookups):
            error = one.forecast / one.truth - 1
            held = (one.low <= one.truth) & (one.truth <= one.high)
            pooled[one.age].append(np.array([np.abs(error), error, held]))
            line += f"{np.median(np.abs(error)):>18.0%} {np.median(error):>+5.0%} {held.mean():>5.0%}"
        print(line)
    line = f"{'all':<42}"
    for parts in pooled.values():
        size, error, held = np.hstack(parts)
        line += f"{np.median(size):>18.0%} {np.median(error):>+5.0%} {held.mean():>5.0%}"
    print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())

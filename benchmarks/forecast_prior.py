"""The prior of the forecast: fits the shipped parameters, or judges them on networks that they were not fitted on.

    python benchmarks/forecast_prior.py cascades.ndjson.gz posts.csv [--write]

With --write the parameters go to processors/virality/forecast.json first. Prints, per network that was held out, median
absolute error, median bias and coverage at 10 minutes, 1 hour and 6 hours.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from processors.virality.fit.backtest import AgeQuality, backtest
from processors.virality.fit.cascades import Cascades
from processors.virality.fit.history import read_cascades
from processors.virality.fit.progressive import backtest_prior
from processors.virality.parameters import SHIPPED_PATH, dump_parameters, load_parameters
from processors.virality.prior.fitting import HELD_OUT, LEARNED, LEAST_RECORDED, NETWORK_KINDS, fit_prior, least_shares
from processors.virality.prior.networks import NetworkPlan, network
from processors.virality.spread import Lookups

AGES = (10, 60, 360)
JUDGED_POSTS = 600
FIRST_SEED = 1_000


def main() -> int:
    """Fits and judges."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events")
    parser.add_argument("posts", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    recorded = read_cascades((options.events,), options.posts, print)
    if options.write:
        facts = {
            "networks": [plan.name for plan in LEARNED],
            "kinds": {name: [plan.name for plan in plans] for name, plans in NETWORK_KINDS.items()},
            "least_shares": LEAST_RECORDED,
            "said": "networks made from a recorded one (2011 to 2016) and from simulated processes",
        }
        prior = fit_prior(recorded, datetime.now(UTC).date().isoformat(), facts)
        SHIPPED_PATH.write_text(dump_parameters(prior))
    prior = load_parameters()
    made = {plan: network(plan, recorded, JUDGED_POSTS, seed) for seed, plan in enumerate(HELD_OUT, FIRST_SEED)}
    print_table("by the prior alone", made, lambda *given: backtest(*given, prior, Lookups()))
    print_table("by the kind that posts a day old show", made, lambda *given: backtest_prior(*given, prior, Lookups()))
    return 0


def print_table(
    title: str,
    made: dict[NetworkPlan, Cascades],
    judged: Callable[[Cascades, Sequence[int], int], list[AgeQuality]],
) -> None:
    """Prints a line per network that was held out, and one of all."""
    print(f"{title:<52}" + "".join(f"{age:>8} min: error, bias, held" for age in AGES))
    pooled: dict[int, list[np.ndarray]] = {age: [] for age in AGES}
    for plan, cascades in made.items():
        line = f"{plan.name:<52}"
        for one in judged(cascades, AGES, least_shares(plan)):
            error = one.forecast / one.truth - 1
            held = (one.low <= one.truth) & (one.truth <= one.high)
            pooled[one.age].append(np.array([np.abs(error), error, held]))
            line += f"{np.median(np.abs(error)):>18.0%} {np.median(error):>+5.0%} {held.mean():>5.0%}"
        print(line)
    line = f"{'all':<52}"
    for parts in pooled.values():
        size, error, held = np.hstack(parts)
        line += f"{np.median(size):>18.0%} {np.median(error):>+5.0%} {held.mean():>5.0%}"
    print(line)


if __name__ == "__main__":
    sys.exit(main())

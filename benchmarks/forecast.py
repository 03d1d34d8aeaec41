"""The cost of R_t, forecast and half-lives when the row of a post is written.

    python benchmarks/forecast.py

Prints CPU time of one process, the least of five runs. The walk is bound by memory: panes of a post that grew among
others lie apart.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from processors.engagement.fold.columns import Identities
from processors.engagement.fold.fold import Fold
from processors.virality.columns import spread_columns
from processors.virality.forecast import forecast, reproduce
from processors.virality.parameters import load_parameters
from processors.virality.spread import Lookups, spread_of

START = 29_500_000
"""A minute in 2026."""

CASES = ((20_000, 10, 600), (2_000, 200, 3_000), (1, 200_000, 500_000))
"""(posts, shares of each, minutes over which they come)"""


def main() -> int:
    """Prints all figures."""
    print("  posts   shares    order  walk, ns a pane  R_t and forecast, us a post  all, us a post")
    for posts, shares, span in CASES:
        for late in (False, True):
            walk, say, whole = measure(posts, shares, span, late)
            order = "none" if late else "rising"
            print(f"{posts:>7,} {shares:>8,} {order:>8} {walk:>16.1f} {say:>28.2f} {whole:>15.2f}")
    return 0


def measure(posts: int, shares: int, span: int, late: bool) -> tuple[float, float, float]:
    """Measures nanoseconds a pane for the walk, and microseconds a post for R_t and forecast, and for all columns."""
    lookups, parameters, fold = Lookups(), load_parameters(), filled(posts, posts * shares, span, late)
    rows, created, as_of = np.arange(posts), np.full(posts, START), np.full(posts, START + span)
    panes = fold.tables.post_panes(rows)
    habits = np.zeros(posts)
    spread, age = spread_of(panes, created, as_of, lookups), np.full(posts, float(span))
    walk = least(lambda: spread_of(panes, created, as_of, lookups))
    say = least(lambda: (reproduce(spread), forecast(spread, age, parameters, as_of, habits)))
    whole = least(lambda: spread_columns(panes, created, as_of, parameters, lookups, habits))
    return walk / len(fold.panes_of(rows)) * 1e9, say / posts * 1e6, whole / posts * 1e6


def filled(posts: int, shares: int, span: int, late: bool) -> Fold:
    """Returns a fold of posts with shares at random minutes, in their order or in none."""
    rng = np.random.default_rng(0)
    minutes = START + rng.integers(0, span, shares)
    if not late:
        minutes.sort()
    fold = Fold()
    rows = fold.add([str(number) for number in range(posts)], np.zeros(posts, np.uint16))
    nothing = np.zeros(shares, np.uint64)
    values = dict.fromkeys(Identities._fields, nothing) | {
        "keys": rng.integers(1, 2**63, shares).astype(np.uint64),
        "actors": rng.integers(1, 2**63, shares).astype(np.uint64),
        "minutes": minutes.astype(np.uint32),
        "checks": nothing.astype(np.uint32),
        "measures": np.ones(shares, np.int8),
        "actions": np.zeros(shares, np.int8),
    }
    fold.add_events(rows[rng.integers(0, posts, shares)], Identities(**values))
    return fold


def least(work: Callable[[], object]) -> float:
    costs = []
    for _ in range(5):
        before = time.process_time()
        work()
        costs.append(time.process_time() - before)
    return min(costs)


if __name__ == "__main__":
    sys.exit(main())

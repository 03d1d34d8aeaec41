"""What R_t, forecast and half-lives of a post cost when its row is written.

    python benchmarks/forecast.py

CPU of one process, least of five. The walk is bound by memory: panes of a post that grew among others lie apart.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from processors.engagement.columns import Identities
from processors.engagement.fold import Fold
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
    lookups, parameters = Lookups(), load_parameters()
    print(
        f"{'posts':>7} {'shares':>8} {'order':>9} {'walk, ns a pane':>16} {'R_t and forecast, us a post':>28} {'all':>9}"
    )
    for posts, shares, span in CASES:
        for late in (False, True):
            fold = filled(posts, posts * shares, span, late)
            rows, created, as_of = np.arange(posts), np.full(posts, START), np.full(posts, START + span)
            tables: Any = fold._tables
            panes = len(fold.panes_of(rows))
            walk = least(lambda: spread_of(tables, rows, created, as_of, lookups))
            spread = spread_of(tables, rows, created, as_of, lookups)
            age = np.full(posts, float(span))
            say = least(lambda: forecast(spread, age, reproduce(spread).value, parameters))
            whole = least(lambda: spread_columns(tables, rows, created, as_of, parameters, lookups))
            order = "late" if late else "in order"
            print(
                f"{posts:>7,} {shares:>8,} {order:>9} {walk / panes * 1e9:>16.1f} {say / posts * 1e6:>28.2f} "
                f"{whole / posts * 1e6:>9.2f}"
            )
    return 0


def filled(posts: int, shares: int, span: int, late: bool) -> Fold:
    """Posts with shares at random minutes, in their order or in none."""
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
    fold.take(rows[rng.integers(0, posts, shares)], Identities(**values))
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

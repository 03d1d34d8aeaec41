"""The time and the memory of a fit of the forecast to many finished posts, as `engagement forecast fit` does it.

    python benchmarks/forecast_fit.py cascades.ndjson.gz posts.csv [--posts 100000]

The posts are copies of recorded ones, each with another 2 to 15 % of the shares, so that they are as many and as small
as those of a busy channel. Prints seconds by the clock and of CPU, and how far the memory of the process grew. Exit 1
beyond 30 seconds.
"""

import argparse
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from processors.virality.fit.backtest import samples_of
from processors.virality.fit.cascades import Cascades
from processors.virality.fit.fitting import fit
from processors.virality.fit.history import read_cascades
from processors.virality.spread import Lookups

MOST_SECONDS: Final = 30.0
LEAST_SHARES: Final = 5
PARTS: Final = (0.02, 0.15)
SEED: Final = 1


def main() -> int:
    """Fits, and prints what it cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events")
    parser.add_argument("created", type=Path)
    parser.add_argument("--posts", type=int, default=100_000)
    options = parser.parse_args()
    recorded = read_cascades((options.events,), options.created, print)
    many = copies(recorded, -(-options.posts // len(recorded.post_ids)))
    lookups, chosen = Lookups(), many.final >= LEAST_SHARES
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    samples = samples_of(many, chosen, lookups, thin=False)
    fit(samples, datetime.now(UTC).date().isoformat(), {}, many.authors)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    grown = (after.ru_maxrss - before.ru_maxrss) / 1024
    kept = seconds <= MOST_SECONDS
    print(
        f"{int(chosen.sum()):,} of {len(chosen):,} posts have {LEAST_SHARES} shares; {len(many.post):,} shares: "
        f"{seconds:.1f} s by the clock ({'kept' if kept else 'NOT kept'}), {cpu:.1f} s of CPU, {grown:,.0f} MiB more"
    )
    return int(not kept)


def copies(recorded: Cascades, number: int) -> Cascades:
    """Returns so many copies of each post, each with other shares."""
    rng, posts = np.random.default_rng(SEED), len(recorded.post_ids)
    kept = [rng.random(len(recorded.post)) < rng.uniform(*PARTS) for _ in range(number)]
    return Cascades(
        post_ids=[f"{name}-{copy}" for copy in range(number) for name in recorded.post_ids],
        authors=recorded.authors * number,
        made=np.tile(recorded.made, number),
        observed=np.tile(recorded.observed, number),
        post=np.concatenate([recorded.post[some] + copy * posts for copy, some in enumerate(kept)]),
        lag=np.concatenate([recorded.lag[some] for some in kept]),
        gone=np.concatenate([recorded.gone[some] for some in kept]),
        shares=np.concatenate([recorded.shares[some] for some in kept]),
    )


if __name__ == "__main__":
    sys.exit(main())

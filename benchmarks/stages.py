"""CPU of each stage of the engagement job by itself, us an event, and of decoding beside the plainest way to validate.

    python benchmarks/stages.py [--events 200000] [--posts 20000] [--repeat 3]

Stages work on runs of 5,000 events as the job does, rows are made once per 200,000; the best of the repeats is
printed. The plain way is one pydantic call, TypeAdapter(list[Event]).validate_json, for the joined run: it names no
dead letter, makes no columns and fails as a whole.
"""

import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click
import numpy as np
from pydantic import TypeAdapter

from pipeline.observability.metrics import WorkerMetrics
from processors.columnar.hashing import Hasher
from processors.columnar.partitioning import partitions_of
from processors.engagement.decoding import DecodedEvents, DecodingPolicy, decode_events
from processors.engagement.fold.columns import identify
from processors.engagement.fold.fold import Fold
from processors.engagement.outcomes import count_unknown_fields
from processors.engagement.rows import post_rows
from processors.runtime.records import Run
from schemas.events import Event

RUN = 5_000
NOW_MS = 1_780_000_000_000
Result = TypeVar("Result")


@dataclass(frozen=True)
class Record:
    offset: int
    key: bytes
    value: bytes
    timestamp: int = NOW_MS


@click.command()
@click.option("--events", default=200_000, show_default=True)
@click.option("--posts", default=20_000, show_default=True, help="Posts, some far more popular than others.")
@click.option("--repeat", default=3, show_default=True)
def main(events: int, posts: int, repeat: int) -> None:
    """Prints the table."""
    runs = make_runs(events, posts)
    size = sum(len(record.value) for run in runs for record in run.records) / events
    print(f"{events:,} likes of {posts:,} posts, {size:.0f} bytes each; CPU us an event")
    found: dict[str, float] = {}
    for _ in range(repeat):
        for name, cost in once(runs, events).items():
            found[name] = min(cost, found.get(name, cost))
    for name, cost in found.items():
        print(f"  {name:<28}{cost:6.2f}")
    print(f"  decode / plain validation   {found['decode'] / found['plain validation']:6.2f} x")


def once(runs: Sequence[Run], count: int) -> dict[str, float]:
    """Stage -> CPU us an event."""
    costs: dict[str, float] = {}

    def timed(name: str, work: Callable[..., Result], *arguments: Any) -> Result:
        before = time.process_time()
        result = work(*arguments)
        costs[name] = costs.get(name, 0.0) + (time.process_time() - before) / count * 1e6
        return result

    plain = TypeAdapter(list[Event]).validator.validate_json
    metrics, fold, hasher, taken = WorkerMetrics(), Fold(), Hasher("0123456789abcdef"), []
    for run in runs:
        timed(
            "plain validation", lambda run=run: plain(b"[" + b",".join(record.value for record in run.records) + b"]")
        )
        decoded: DecodedEvents = timed("decode", decode_events, [run], DecodingPolicy())
        timed("count unknown fields", count_unknown_fields, metrics, [run])
        events = timed("hash", identify, decoded.events, hasher)
        posts = timed("find posts", _posts, fold, decoded.events.post_id)
        taken.append(timed("fold", fold.add_events, posts, events))
    panes = np.unique(np.concatenate([part.panes for part in taken]))
    owners = np.unique(np.concatenate([part.posts for part in taken]))
    timed("rows of post_minutes", post_rows.of_panes, fold, panes)
    timed("rows of post_metrics", post_rows.of_posts, fold, owners)
    return costs


def make_runs(events: int, posts: int) -> list[Run]:
    """Likes as a network's firehose has them."""
    rng = random.Random(1)
    runs = []
    for start in range(0, events, RUN):
        records = []
        for number in range(start, min(start + RUN, events)):
            post_id = f"at://did:plc:{int(rng.paretovariate(0.3)) % posts:020}/post"
            actor = f"did:plc:{rng.randrange(10**6):010}"
            minute = number * 120 // events
            value = {
                "event_id": f"{actor}/like/{number:09}",
                "kind": "like",
                "post_id": post_id,
                "actor_id": actor,
                "occurred_at": f"2026-03-01T{10 + minute // 60:02}:{minute % 60:02}:{rng.randrange(60):02}.123456Z",
                "channel": "bluesky",
            }
            records.append(Record(number, post_id.encode(), json.dumps(value).encode()))
        runs.append(Run("engagement.likes", "like", 0, records))
    return runs


def _posts(fold: Fold, post_ids: list[str]) -> Any:
    found = fold.find(post_ids)
    missing = list(dict.fromkeys(post_ids[number] for number in np.flatnonzero(found < 0).tolist()))
    if missing:
        fold.add(missing, partitions_of(missing, 12))
        found = fold.find(post_ids)
    return found


if __name__ == "__main__":
    sys.exit(main())

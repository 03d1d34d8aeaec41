"""Memory of a worker while events come at a fixed rate for a long time: new posts all the time, on one machine.

    python benchmarks/soak.py [--rate 3000] [--minutes 30] [--memory-mb 256]

Starts a worker and a producer as processes of their own, on the Kafka and ClickHouse of ENGAGEMENT_KAFKA and
ENGAGEMENT_CLICKHOUSE or, where these are not set, on a stack of its own in a temporary folder. Prints what the worker
takes (RSS) and what its gauges say of it, minute by minute. Exit 1 where the worker is not flat: where its highest RSS
of the last third is more than 3 % above that of the third before. Everything that it starts or makes is gone when it
ends.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import psutil
from freshness import SHARES, child, on_a_stack, read, ready, remove, stamp

from pipeline.clickhouse.migrations import migrate
from pipeline.kafka.publisher import open_publisher
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import load_settings

FLAT_SHARE: Final = 0.03
SAMPLE_SECONDS: Final = 2.0
ROW_SECONDS: Final = 60.0
TICK_SECONDS: Final = 0.05

NEW_POSTS: Final = 0.02
"""Share of events that are new posts ..."""

YOUNG_POSTS: Final = 5_000
"""... and most others are about some of the newest, exponentially distributed with this mean ..."""

OLD: Final = 0.02
"""... but this share, which is about any post there has been."""

ACTORS: Final = 1_000_000
TAGS: Final = 500
RARE_TAGS: Final = 0.1
"""Share of posts with a hashtag that no other post has."""

PART: Final = re.compile(r'engagement_memory_bytes{part="(\w+)"}')
PARTS: Final = ("posts", "known_posts", "cells", "closed_minutes", "series")


def main() -> None:
    on_a_stack(arguments(), produce, soak)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=3_000, help="events a second")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--memory-mb", type=int, default=256, help="ENGAGEMENT_MEMORY_MB of the worker")
    parser.add_argument("--produce", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def soak(options: argparse.Namespace) -> bool:
    """Prints a row a minute; whether the worker ended flat."""
    name = f"soak{time.time_ns() // 1_000_000}"
    os.environ["ENGAGEMENT_TOPIC_PREFIX"] = name
    os.environ["ENGAGEMENT_CLICKHOUSE"] = f"{os.environ['ENGAGEMENT_CLICKHOUSE'].rpartition('/')[0]}/{name}"
    os.environ["ENGAGEMENT_METRICS_PORT"] = "0"
    os.environ["ENGAGEMENT_MEMORY_MB"] = str(options.memory_mb)
    settings = load_settings()
    with ExitStack() as after:
        after.callback(remove, settings)
        ensure_topics(settings)
        migrate(settings)
        log = after.enter_context(tempfile.NamedTemporaryFile("w+"))
        worker = after.enter_context(child(["-c", "from pipeline.cli import main; main(['work'])"], stderr=log))
        status = ready(worker, Path(log.name))
        process = psutil.Process(worker.pid)
        base = rss_of(process)
        print(f"{options.rate:,} events/s, ENGAGEMENT_MEMORY_MB={options.memory_mb}; at rest {base:.0f} MB", flush=True)
        command = [__file__, "--produce", f"--rate={options.rate}", f"--minutes={options.minutes}"]
        producer = after.enter_context(child(command, stdout=subprocess.PIPE))
        samples = watch(process, producer, status, options.minutes * 60)
        sent = float(producer.stdout.readline())
    return tell(samples, sent, options)


def watch(
    worker: psutil.Process, producer: "subprocess.Popen[bytes]", status: str, seconds: float
) -> list[tuple[float, float]]:
    """Seconds since the start and RSS, each few seconds until the producer ends; prints a row a minute."""
    print(" ".join(f"{title:>9}" for title in ("min", "RSS", "highest", "lag", "events", *PARTS)), flush=True)
    started = time.monotonic()
    samples: list[tuple[float, float]] = []
    highest, shown = 0.0, 0.0
    while (at := time.monotonic() - started) < seconds and producer.poll() is None:
        samples.append((at, rss_of(worker)))
        highest = max(highest, samples[-1][1])
        if at - shown >= ROW_SECONDS:
            tell_row(at, samples[-1][1], highest, read(status))
            highest, shown = 0.0, at
        time.sleep(SAMPLE_SECONDS)
    return samples


def tell_row(at: float, rss: float, highest: float, figures: dict[str, float]) -> None:
    parts = {found[1]: value for name, value in figures.items() if (found := PART.fullmatch(name))}
    lag = sum(value for name, value in figures.items() if name.startswith("engagement_consumer_lag"))
    events = sum(value for name, value in figures.items() if name.startswith("engagement_events_total"))
    numbers = (at / 60, rss, highest, lag, events, *(parts.get(part, 0.0) / 2**20 for part in PARTS))
    print(" ".join(f"{number:9,.0f}" for number in numbers), flush=True)


def tell(samples: list[tuple[float, float]], sent: float, options: argparse.Namespace) -> bool:
    """Whether the last third is no higher than the one before, and as many events came as were meant to."""
    third = samples[-1][0] / 3
    middle, last = (max(rss for at, rss in samples if start * third <= at <= (start + 1) * third) for start in (1, 2))
    is_flat = last <= (1 + FLAT_SHARE) * middle
    has_come = sent >= 0.95 * options.rate
    print(f"{sent:,.0f} events/s came: {'as many as meant' if has_come else 'TOO FEW'}")
    said = "flat" if is_flat else "NOT flat"
    print(f"highest RSS of the second third {middle:.0f} MB, of the last {last:.0f} MB: {said}")
    return is_flat and has_come


def rss_of(process: psutil.Process) -> float:
    """Megabytes."""
    return float(process.memory_info().rss) / 2**20


def produce(options: argparse.Namespace) -> None:
    """Sends events at the rate, of posts that come as it goes; prints how many a second."""
    settings = load_settings()
    rng = random.Random(1)
    topics = {kind: settings.topics.of(kind) for kind in ("post", *SHARES)}
    kinds, shares = list(SHARES), list(SHARES.values())
    posts = sent = 0
    started = time.monotonic()
    with open_publisher(settings) as publisher:
        while (at := time.monotonic() - started) < options.minutes * 60:
            due, now = int(at * options.rate), stamp()
            many = rng.choices(kinds, shares, k=max(due - sent, 0))
            for number, chosen in enumerate(many, sent):
                kind, post = chosen, 0
                if not posts or rng.random() < NEW_POSTS:
                    kind, post, posts = "post", posts, posts + 1
                elif rng.random() < OLD:
                    post = rng.randrange(posts)
                else:
                    post = max(0, posts - 1 - int(rng.expovariate(1 / YOUNG_POSTS)))
                tags = f'"hashtags": [{tags_of(post, rng)}], ' if kind == "post" else ""
                event = (
                    f'{{"event_id": "event-{number}", "kind": "{kind}", "post_id": "post-{post}", '
                    f'"actor_id": "actor-{rng.randrange(ACTORS)}", "channel": "bluesky", {tags}"occurred_at": "'
                )
                publisher.send(topics[kind], f"post-{post}".encode(), event.encode() + now)
            sent = max(sent, due)
            time.sleep(TICK_SECONDS)
        print(sent / (time.monotonic() - started), flush=True)


def tags_of(post: int, rng: random.Random) -> str:
    return f'"rare{post}"' if rng.random() < RARE_TAGS else f'"tag{post % TAGS}"'


if __name__ == "__main__":
    sys.exit(main())

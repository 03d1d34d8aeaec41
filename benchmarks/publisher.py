"""What the publisher costs: its rate against a bare kafka-python send loop, in the same run, on a running stack.

    eval "$(engagement stack up)"; python benchmarks/publisher.py --records 200000

Both send the same records, wait for every ack, and take turns so that the machine's moods hit both. Two bare loops:
kafka-python's own defaults with the key (its partitioner hashes it in Python), and the publisher's connection options.
Exit 1 below 0.8.
"""

import json
import statistics
import sys
import time
import uuid
from collections.abc import Callable

import click
from kafka import KafkaProducer

from pipeline.kafka.client import BATCH_BYTES, LINGER_MS, open_admin
from pipeline.kafka.publisher import open_publisher
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import Settings, load_settings

PROMISE = 0.8
Record = tuple[bytes, bytes]


@click.command()
@click.option("--records", default=100_000, show_default=True, help="Records in each of the runs.")
@click.option("--rounds", default=3, show_default=True, help="Turns of each loop; the median counts.")
@click.option("--posts", default=10_000, show_default=True, help="Distinct keys.")
@click.option("--compression", default="lz4", show_default=True, type=click.Choice(["lz4", "none"]))
def main(records: int, rounds: int, posts: int, compression: str) -> None:
    """Prints records per wall second of each loop, and the ratios."""
    settings = load_settings().model_copy(
        update={"topic_prefix": f"bench-{uuid.uuid4().hex[:8]}", "producer_compression": compression}
    )
    ensure_topics(settings)
    sample = [record(number, posts) for number in range(records)]
    loops: dict[str, Callable[[Settings, list[Record]], float]] = {
        "publisher": run_publisher,
        "bare, defaults": run_bare,
        "bare, same options": run_bare_alike,
    }
    rates: dict[str, list[float]] = {name: [] for name in loops}
    try:
        for _ in range(rounds):
            for name, loop in loops.items():
                rates[name].append(records / loop(settings, sample))
    finally:
        with open_admin(settings) as admin:
            admin.delete_topics([*settings.topics.sources])
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, rate in medians.items():
        print(f"{name:20} {rate:10,.0f} records/s   ratio of publisher {medians['publisher'] / rate:.2f}")
    sys.exit(medians["publisher"] / medians["bare, defaults"] < PROMISE)


def record(number: int, posts: int) -> Record:
    """A like of some 200 bytes."""
    post = f"post-{number * 7919 % posts:08d}"
    event = {
        "event_id": f"like-{number:012d}",
        "kind": "like",
        "post_id": post,
        "actor_id": f"actor-{number * 31 % 100_003:08d}",
        "occurred_at": "2026-01-01T00:00:00.000000Z",
        "channel": "bluesky",
        "parent_id": None,
    }
    return post.encode(), json.dumps(event, separators=(",", ":")).encode()


def run_publisher(settings: Settings, sample: list[Record]) -> float:
    topic = settings.topics.of("like")
    with open_publisher(settings) as publisher:
        started = time.perf_counter()
        for key, value in sample:
            publisher.send(topic, key, value)
        publisher.flush()
        return time.perf_counter() - started


def run_bare(settings: Settings, sample: list[Record]) -> float:
    return _run_bare(KafkaProducer(bootstrap_servers=settings.bootstrap), settings, sample)


def run_bare_alike(settings: Settings, sample: list[Record]) -> float:
    compression = None if settings.producer_compression == "none" else settings.producer_compression
    return _run_bare(
        KafkaProducer(
            bootstrap_servers=settings.bootstrap,
            compression_type=compression,
            linger_ms=LINGER_MS,
            batch_size=BATCH_BYTES,
            metrics_enabled=False,
        ),
        settings,
        sample,
    )


def _run_bare(producer: KafkaProducer, settings: Settings, sample: list[Record]) -> float:
    topic = settings.topics.of("like")
    producer.partitions_for(topic)
    started = time.perf_counter()
    for key, value in sample:
        producer.send(topic, key=key, value=value)
    producer.flush()
    spent = time.perf_counter() - started
    producer.close()
    return spent


if __name__ == "__main__":
    main()

"""From an event's sending until `post_metrics_v` shows it, while events come at a fixed rate, all on one machine.

    python benchmarks/freshness.py [--rate 10000] [--seconds 30] [--find-highest]

Starts a worker and a producer as processes of their own, on the Kafka and ClickHouse of ENGAGEMENT_KAFKA and
ENGAGEMENT_CLICKHOUSE or, where these are not set, on a stack of its own in a temporary folder. A probe is a like of an
actor whom nobody knows; its latency is the wall time from the call that sends it until a query shows it. Exit 1 where
the 99th percentile is above 2 s. Everything that it starts or makes is gone when it ends.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import IO, Final

import numpy as np
import psutil

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.embedded.stack import Stack
from pipeline.kafka.client import open_admin
from pipeline.kafka.publisher import open_publisher
from pipeline.kafka.topics import ensure_topics, topic_specs
from pipeline.observability.metrics import BATCH_STEPS
from pipeline.settings import Settings, load_settings
from schemas.events import isoformat

PROMISE_SECONDS: Final = 2.0
RATES: Final = (10_000, 12_500, 15_000, 17_500, 20_000, 25_000, 30_000, 40_000, 50_000)
START_SECONDS: Final = 60.0
WARM_UP_SECONDS: Final = 10
TICK_SECONDS: Final = 0.01
PROBE_SECONDS: Final = 0.05
POLL_SECONDS: Final = 0.1
LOST_SECONDS: Final = 20.0
"""A probe that is not seen for so long is given up, and counts as this old."""

PROBED_POSTS: Final = 300
SHARES: Final = {"like": 0.80, "share": 0.10, "comment": 0.10}
SERVER_COUNTS: Final = {"inserts": "InsertQuery", "rows": "InsertedRows", "merges": "Merge", "merged": "MergedRows"}


def main() -> None:
    on_a_stack(arguments(), produce, find)


def on_a_stack(
    options: argparse.Namespace,
    produce: Callable[[argparse.Namespace], None],
    measure: Callable[[argparse.Namespace], bool],
) -> None:
    """Measures, or is the producer that it starts as a process of its own; exit 1 where a promise is not kept."""
    if options.produce:
        produce(options)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with stack():
        kept = measure(options)
    sys.exit(not kept)


def find(options: argparse.Namespace) -> bool:
    """Measures one rate, or climbs while the promise is kept; whether it was once."""
    rates = RATES if options.find_highest else (options.rate,)
    highest = 0
    for rate in rates:
        if not keeps(rate, options):
            break
        highest = rate
    if options.find_highest:
        print(f"highest rate with p99 <= {PROMISE_SECONDS:g} s: {highest:,} events/s")
    return bool(highest)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=10_000, help="events a second")
    parser.add_argument("--seconds", type=int, default=30, help="how long is measured, after 10 s of warming up")
    parser.add_argument("--posts", type=int, default=20_000, help="posts that the events are about, by Zipf's law")
    parser.add_argument("--find-highest", action="store_true", help="climb until the promise breaks")
    parser.add_argument("--produce", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


@contextmanager
def stack() -> Iterator[None]:
    """The Kafka and ClickHouse of the environment, else a stack of our own."""
    if "ENGAGEMENT_KAFKA" in os.environ and "ENGAGEMENT_CLICKHOUSE" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="engagement-freshness-") as folder:
        ours = Stack(folder)
        try:
            os.environ.update(ours.up().environment())
            yield
        finally:
            ours.down()


def move_to(name: str) -> None:
    """Topics and a database of that name are what the settings say from now on."""
    os.environ["ENGAGEMENT_TOPIC_PREFIX"] = name
    os.environ["ENGAGEMENT_CLICKHOUSE"] = f"{os.environ['ENGAGEMENT_CLICKHOUSE'].rpartition('/')[0]}/{name}"
    os.environ["ENGAGEMENT_METRICS_PORT"] = "0"


def keeps(rate: int, options: argparse.Namespace) -> bool:
    """Measures one rate, on topics and a database of its own; prints what came of it. True: the promise is kept."""
    move_to(f"fresh{time.time_ns() // 1_000_000}")
    settings = load_settings()
    with ExitStack() as after:
        after.callback(remove, settings)
        ensure_topics(settings)
        migrate(settings)
        log = after.enter_context(tempfile.NamedTemporaryFile("w+"))
        command = [__file__, "--produce", f"--rate={rate}", f"--seconds={options.seconds}", f"--posts={options.posts}"]
        producer = after.enter_context(child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        worker = after.enter_context(child(["-c", "from pipeline.cli import main; main(['work'])"], stderr=log))
        producer.stdout.readline()  # its events are made
        status = ready(worker, Path(log.name))
        store = after.enter_context(ClickHouse(settings))
        producer.stdin.write(b"go\n")
        producer.stdin.flush()
        time.sleep(WARM_UP_SECONDS)
        parts = {**servers(settings), "worker": worker.pid, "producer": producer.pid, "probes": os.getpid()}
        before = cpu(parts), server_counts(store), read(status)
        started = time.monotonic()
        seconds, queries = probe(settings, store, options.seconds)
        took = time.monotonic() - started
        now = cpu(parts), server_counts(store), read(status)
        sent = float(producer.stdout.readline())
    p50, p99, longest = np.percentile(seconds, (50, 99, 100)).tolist()
    kept = p99 <= PROMISE_SECONDS and sent >= 0.98 * rate
    print(f"{rate:,} events/s ({sent:,.0f} came): {'kept' if kept else 'NOT kept'}")
    print(f"  event to queryable, s     p50 {p50:.2f}   p99 {p99:.2f}   max {longest:.2f}   of {len(seconds)} probes")
    print(f"  a query of the view, ms   {np.median(queries) * 1000:.0f}")
    report(took, *map(grown, before, now))
    return kept


def report(took: float, used: Mapping[str, float], counts: Mapping[str, float], figures: Mapping[str, float]) -> None:
    """Prints what was used and done in these seconds."""
    batches = figures["engagement_batch_events_count"]
    size = figures["engagement_batch_events_sum"] / batches
    steps = {step: figures[f'engagement_step_duration_seconds_sum{{step="{step}"}}'] / batches for step in BATCH_STEPS}
    print("  CPU, % of one core       ", *(f"{part} {spent / took * 100:.0f}  " for part, spent in used.items()))
    print(
        f"  {batches / took:.1f} batches/s of {size:,.0f}, ms ",
        *(f"{step} {s * 1000:.0f}  " for step, s in steps.items()),
    )
    print(
        "  ClickHouse, a second     ", *(f"{what} {count / took:,.1f}  " for what, count in counts.items()), flush=True
    )


def probe(settings: Settings, store: ClickHouse, seconds: float) -> tuple[list[float], list[float]]:
    """Seconds until each probe was seen, and of each query. A post has one probe at a time."""
    waiting: dict[str, tuple[int, float]] = {}
    latencies, queries = [], []
    sent = 0
    with open_publisher(settings) as publisher:
        publisher.send(settings.topics.of("like"), b"warm", head("like", "warm", "warm", "warm") + stamp())
        started = time.time()
        while (now := time.time()) < started + seconds or waiting:
            while started + sent * PROBE_SECONDS <= now < started + seconds:
                post_id = f"probed-{sent % PROBED_POSTS}"
                if post_id not in waiting:
                    event = head("like", f"probe-{sent}", post_id, f"stranger-{sent}") + stamp()
                    waiting[post_id] = (sent // PROBED_POSTS + 1, time.time())
                    publisher.send(settings.topics.of("like"), post_id.encode(), event)
                sent += 1
            asked = time.time()
            names = ", ".join(f"'{post_id}'" for post_id in waiting) or "''"
            found = store.select(f"SELECT post_id, likes FROM post_metrics_v WHERE post_id IN ({names})")
            seen = time.time()
            queries.append(seen - asked)
            shown = dict(zip(*found, strict=True)) if found else {}
            for post_id, (likes, sent_at) in list(waiting.items()):
                if shown.get(post_id, 0) >= likes or seen - sent_at > LOST_SECONDS:
                    latencies.append(seen - sent_at)
                    del waiting[post_id]
            time.sleep(POLL_SECONDS)
    return latencies, queries


def produce(options: argparse.Namespace) -> None:
    """Makes its events, waits for a line, sends them at the rate; prints how many a second."""
    settings = load_settings()
    rng = random.Random(1)
    count = options.rate * (WARM_UP_SECONDS + options.seconds)
    posts = rng.choices(
        range(options.posts), cum_weights=list(accumulate(1 / rank for rank in range(1, options.posts + 1))), k=count
    )
    kinds = rng.choices(list(SHARES), list(SHARES.values()), k=count)
    topics = {kind: settings.topics.of(kind) for kind in SHARES}
    events = [
        (
            topics[kind],
            f"post-{post}".encode(),
            head(kind, f"event-{number}", f"post-{post}", f"actor-{number * 7919 % 100_003}"),
        )
        for number, (post, kind) in enumerate(zip(posts, kinds, strict=True))
    ]
    print("ready", flush=True)
    sys.stdin.readline()
    started, sent = time.monotonic(), 0
    with open_publisher(settings) as publisher:
        while sent < count:
            due = min(count, int((time.monotonic() - started) * options.rate))
            now = stamp()
            for topic, key, value in events[sent:due]:
                publisher.send(topic, key, value + now)
            sent = due
            time.sleep(TICK_SECONDS)
        print(count / (time.monotonic() - started), flush=True)


def head(kind: str, event_id: str, post_id: str, actor_id: str) -> bytes:
    """An event but for its time."""
    return (
        f'{{"event_id": "{event_id}", "kind": "{kind}", "post_id": "{post_id}", "actor_id": "{actor_id}", '
        f'"channel": "bluesky", "url": "https://social.example/{post_id}/{event_id}", "occurred_at": "'
    ).encode()


def stamp() -> bytes:
    return isoformat(datetime.now(UTC)).encode() + b'"}'


@contextmanager
def child(arguments: list[str], stderr: IO[str] | None = None, **pipes: int) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that is gone afterwards."""
    pipes.setdefault("stdout", subprocess.DEVNULL)
    process = subprocess.Popen([sys.executable, *arguments], stderr=stderr, **pipes)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ready(worker: subprocess.Popen[bytes], log: Path) -> str:
    """Waits until the worker says that it is; where its figures are."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and worker.poll() is None:
        if found := re.search(r"status at (http://[^/]+)", log.read_text()):
            try:
                urllib.request.urlopen(f"{found[1]}/readyz", timeout=5).close()
            except OSError:
                pass
            else:
                return f"{found[1]}/metrics"
        time.sleep(0.1)
    sys.exit(f"the worker is not ready; it says:\n{log.read_text()[-3000:]}")


def read(status: str) -> dict[str, float]:
    """Every sample of /metrics."""
    with urllib.request.urlopen(status, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
    }


def servers(settings: Settings) -> dict[str, int]:
    """The processes on this machine that listen where Kafka and ClickHouse are."""
    ports = {int(settings.bootstrap[0].rpartition(":")[2]): "Kafka", settings.clickhouse_url.port: "ClickHouse"}
    listening = (found for found in psutil.net_connections("tcp") if found.status == psutil.CONN_LISTEN and found.pid)
    return {ports[found.laddr.port]: found.pid for found in listening if found.laddr.port in ports}


def cpu(parts: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds so far of each process, and of whatever else this machine does."""
    spent = {part: sum(psutil.Process(pid).cpu_times()[:2]) for part, pid in parts.items()}
    machine = psutil.cpu_times()
    return spent | {"all else": sum(machine) - machine.idle - machine.iowait - sum(spent.values())}


def server_counts(store: ClickHouse) -> dict[str, float]:
    found = dict(zip(*store.select("SELECT event, value FROM system.events"), strict=True))
    return {name: found.get(event, 0) for name, event in SERVER_COUNTS.items()}


def grown(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0) for name, value in now.items()}


def remove(settings: Settings) -> None:
    with open_admin(settings) as admin:
        admin.delete_topics([spec.name for spec in topic_specs(settings)])
    with ClickHouse(settings, database="default") as store:
        store.execute(f"DROP DATABASE IF EXISTS {settings.clickhouse_url.database} SYNC")


if __name__ == "__main__":
    main()

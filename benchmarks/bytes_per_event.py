"""Bytes on disk that an event costs, by table, all parts merged: from a backlog, and while events come live.

    python benchmarks/bytes_per_event.py [--events 100000] [--posts 5000] [--hours 24] [--minutes 1] [--columns 20]

Both runs store the same simulated events, in topics and databases of their own on the Kafka and ClickHouse of
ENGAGEMENT_KAFKA and ENGAGEMENT_CLICKHOUSE or, where these are not set, on a stack of its own. A backlog is all events
at once, stored by `engagement work --until-caught-up`. Live, a worker stores the events of `--minutes` of event time
before it gets the next ones: a row that changes in each minute is then written in each minute, as when the events are
of today. Exit 1 where a promise is not kept.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

from freshness import child, move_to, ready, remove, stack

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.kafka.publisher import open_publisher
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import Settings, load_settings
from schemas.tables import TABLES

PROMISED: Final = {"backlog": 100.0, "live": 120.0}
"""Bytes an event."""

COMMAND: Final = ("-c", "from pipeline.cli import main; main()")
POLL_SECONDS: Final = 0.02
LOST_SECONDS: Final = 120.0
"""Longest time in which a worker has to store what was sent."""

Sent = tuple[float, str, bytes, bytes]
"""An event: its time in seconds since 1970, its kind, its key and the record."""


def main() -> None:
    options = arguments()
    with stack():
        events = simulated(options)
        kept = [measure(run, events, options) for run in options.run or PROMISED]
    sys.exit(not all(kept))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--posts", type=int, default=5_000)
    parser.add_argument("--hours", type=float, default=24.0, help="how long they took")
    parser.add_argument("--minutes", type=int, default=1, help="event time that is stored at once in the live run")
    parser.add_argument("--columns", type=int, default=0, help="print so many of the largest columns, too")
    parser.add_argument("--run", choices=tuple(PROMISED), action="append", help="one of the runs alone")
    return parser.parse_args()


def simulated(options: argparse.Namespace) -> list[Sent]:
    """Returns simulated events, in the order of their times."""
    with tempfile.TemporaryDirectory(prefix="engagement-bytes-") as folder:
        file = Path(folder) / "events.ndjson"
        size = [f"--events={options.events}", f"--posts={options.posts}", f"--hours={options.hours}"]
        wanted = ["simulate", *size, f"--out={file}"]  # they end now, so active posts have a second row
        subprocess.run([sys.executable, *COMMAND, *wanted], check=True, stdout=subprocess.DEVNULL)
        return sorted(parsed(file), key=itemgetter(0))


def parsed(file: Path) -> Iterator[Sent]:
    with file.open("rb") as lines:
        for line in lines:
            event = json.loads(line)
            yield (
                datetime.fromisoformat(event["occurred_at"]).timestamp(),
                event["kind"],
                event["post_id"].encode(),
                line.strip(),
            )


def measure(run: str, events: list[Sent], options: argparse.Namespace) -> bool:
    """Stores the events as the run does, and prints what they cost. True: the promise is kept."""
    move_to(f"bytes{time.time_ns() // 1_000_000}")
    settings = load_settings()
    with ExitStack() as after:
        after.callback(remove, settings)
        ensure_topics(settings)
        migrate(settings)
        store = after.enter_context(ClickHouse(settings))
        if run == "live":
            come_live(settings, store, events, options.minutes)
        else:
            send(settings, events)
            subprocess.run(
                [sys.executable, *COMMAND, "work", "--until-caught-up"], check=True, stderr=subprocess.DEVNULL
            )
        stored = count(store)
        if stored != len(events):
            sys.exit(f"{stored:,} of {len(events):,} events are stored")
        bytes_, rows = merged(store)
        total = sum(bytes_.values()) / stored
        kept = total <= PROMISED[run]
        print(f"{run}: {stored:,} events, {total:.1f} bytes an event ({'kept' if kept else 'NOT kept'})")
        for table in sorted(bytes_, key=lambda table: -bytes_[table]):
            each = bytes_[table] / max(rows[table], 1)
            print(f"  {table:22s} {bytes_[table] / stored:7.2f}   {rows[table] / stored:6.2f} rows of {each:.1f}")
        for table, column, size in columns(store, options.columns):
            print(f"    {table + '.' + column:44s} {size / stored:7.2f}")
        sys.stdout.flush()
    return kept


def come_live(settings: Settings, store: ClickHouse, events: list[Sent], minutes: int) -> None:
    """Has a worker store the events, those of `minutes` at a time."""
    with ExitStack() as after:
        log = after.enter_context(tempfile.NamedTemporaryFile("w+"))
        worker = after.enter_context(child([*COMMAND, "work"], stderr=log))
        ready(worker, Path(log.name))
        sent = 0
        for _, some in groupby(events, key=lambda event: event[0] // (minutes * 60)):
            part = list(some)
            send(settings, part)
            sent += len(part)
            deadline = time.monotonic() + LOST_SECONDS
            while count(store) < sent:
                if worker.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"the worker does not store; it says:\n{Path(log.name).read_text()[-3000:]}")
                time.sleep(POLL_SECONDS)
        time.sleep(2.0)  # rows follow their events


def send(settings: Settings, events: list[Sent]) -> None:
    with open_publisher(settings) as publisher:
        for _, kind, key, record in events:
            publisher.send(settings.topics.of(kind), key, record)


def count(store: ClickHouse) -> int:
    return int(store.select("SELECT count() FROM events")[0][0])


def merged(store: ClickHouse) -> tuple[dict[str, int], dict[str, int]]:
    """Merges every table; returns the bytes on disk and the rows of each."""
    for table in TABLES:
        store.execute(f"OPTIMIZE TABLE {table.name} FINAL")
    names, sizes, rows = store.select(
        "SELECT table, sum(bytes_on_disk), sum(rows) FROM system.parts "
        "WHERE database = currentDatabase() AND active GROUP BY table"
    )
    return dict(zip(names, sizes, strict=True)), dict(zip(names, rows, strict=True))


def columns(store: ClickHouse, most: int) -> Iterator[tuple[str, str, int]]:
    """Yields the largest columns; those of small parts, whose columns share a file, are not known."""
    found = store.select(
        "SELECT table, column, sum(column_bytes_on_disk) AS size FROM system.parts_columns "
        f"WHERE database = currentDatabase() AND active GROUP BY table, column ORDER BY size DESC LIMIT {most}"
    )
    yield from zip(*found, strict=True)


if __name__ == "__main__":
    main()

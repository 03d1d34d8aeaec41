"""How large a deployment has to be: workers, ClickHouse cores and disks, by events a second and days kept.

    python benchmarks/sizing.py [--events 200000] [--posts 10000] [--hours 24] [--rates 1000,10000] [--days 30,365]
    python benchmarks/sizing.py --worker-us 35 --clickhouse-us 14 --disk-bytes 130 --kafka-bytes 140

What an event costs is measured first, as whole_job.py does it, on the Kafka and ClickHouse of ENGAGEMENT_KAFKA and
ENGAGEMENT_CLICKHOUSE: CPU of one worker and of ClickHouse, bytes of all tables once their parts are merged, and bytes
of Kafka's topics on one broker. Where all four are given nothing is measured, and the table is the same again.

The load decides: where each event has a minute of a post for itself (--hours 24) it has rows for itself too, and costs
most; in a burst many events share a row.
"""

import math
import sys
import time
from dataclasses import dataclass
from typing import Final

import click
import whole_job
from kafka import KafkaAdminClient

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from schemas.tables import TABLES

BUSY: Final = 0.5
"""The share of a core that live events may take; the rest is for backlogs, and for the work of one that died."""

FOR_QUERIES: Final = 2
"""Cores of ClickHouse for people and dashboards: queries.py says what each query takes."""

MERGING: Final = 1.5
"""The disk that ClickHouse needs for each merged byte: parts that are not merged, and room for the largest merge."""

KAFKA_DAYS: Final = 7
"""ENGAGEMENT_RETENTION_HOURS of source topics."""


@dataclass(frozen=True)
class EventCost:
    """What an event costs: microseconds of CPU of the worker and of ClickHouse, bytes in ClickHouse, merged, and bytes
    of a replica of Kafka's topics."""

    worker_us: float
    clickhouse_us: float
    disk_bytes: float
    kafka_bytes: float

    def options(self) -> str:
        """Returns the options that print the same table again."""
        return (
            f"--worker-us {self.worker_us:.1f} --clickhouse-us {self.clickhouse_us:.1f} "
            f"--disk-bytes {self.disk_bytes:.0f} --kafka-bytes {self.kafka_bytes:.0f}"
        )


@click.command(help=__doc__)
@click.option("--events", default=200_000)
@click.option("--posts", default=10_000)
@click.option("--hours", default=24.0, help="How long the measured events took.")
@click.option("--rates", default="100,1000,10000,50000", help="Events a second, each a row of the table.")
@click.option("--days", default="30,365", help="Days that ClickHouse keeps, each a column.")
@click.option("--worker-us", type=float)
@click.option("--clickhouse-us", type=float)
@click.option("--disk-bytes", type=float)
@click.option("--kafka-bytes", type=float)
def main(events: int, posts: int, hours: float, rates: str, days: str, **given: float | None) -> None:
    known = {name: value for name, value in given.items() if value is not None}
    if len(known) == len(given):
        cost = EventCost(**known)
    elif known:
        raise click.UsageError("give all four figures, or none of them")
    else:
        cost = measure(events, posts, hours)
        print(f"\nagain: python benchmarks/sizing.py {cost.options()}\n")
    print("\n".join(table(cost, numbers(rates), numbers(days))))


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def table(cost: EventCost, rates: list[int], days: list[int]) -> list[str]:
    """The lines of a table in Markdown."""
    kept = [f"ClickHouse disk, {number} days" for number in days]
    heads = ["events/s", "events a day", "workers", "ClickHouse cores", *kept, f"Kafka disk, {KAFKA_DAYS} days"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for rate in rates:
        a_day = rate * 86_400
        # One worker more than the load needs, because any of them may die.
        workers = math.ceil(rate * cost.worker_us / 1e6 / BUSY) + 1
        cores = math.ceil(rate * cost.clickhouse_us / 1e6 / BUSY) + FOR_QUERIES
        disks = [size(a_day * number * cost.disk_bytes * MERGING) for number in days]
        cells = [f"{rate:,}", f"{a_day / 1e6:,.0f} M", str(workers), str(cores), *disks]
        lines.append(f"| {' | '.join([*cells, size(a_day * KAFKA_DAYS * cost.kafka_bytes)])} |")
    return lines


def size(many: float) -> str:
    """Bytes in GB or TB, two digits."""
    unit, per = ("TB", 1e12) if many >= 1e12 else ("GB", 1e9)
    shown = many / per
    digits = max(0, 1 - math.floor(math.log10(shown)))
    return f"{round(shown, 1 - math.floor(math.log10(shown))):.{digits}f} {unit}"


def measure(events: int, posts: int, hours: float) -> EventCost:
    """Runs one worker over a simulation, in topics and a database of their own, and drops the database."""
    settings = whole_job.begin(f"sizing{int(time.time())}")
    sys.argv = [sys.argv[0], "--events", str(events), "--posts", str(posts), "--repeat", "1"]
    options = whole_job.arguments()
    sent = whole_job.fill(options, hours)
    kafka = kafka_bytes(settings) / sent
    with ClickHouse(settings) as server:
        before = whole_job.server_cpu(server)
        job = whole_job.child("job", options.core, sent)
        by_table = merged_bytes(server)
        used = whole_job.server_cpu(server) - before
        server.execute(f"DROP DATABASE {settings.clickhouse_url.database}")
    print(f"{sent:,} events of {posts:,} posts in {hours:g} hours, CPU of merges included; bytes an event, merged:")
    for name, many in sorted(by_table.items(), key=lambda item: -item[1]):
        print(f"  {name:22s} {many / sent:7.1f}")
    # As precise as they are printed, so that the table can be printed again from them.
    return EventCost(
        round(job["cpu"] / sent * 1e6, 1), round(used / sent, 1), round(sum(by_table.values()) / sent), round(kafka)
    )


def merged_bytes(server: ClickHouse) -> dict[str, int]:
    """Table -> bytes on disk, after all parts of a partition were merged into one."""
    for each in TABLES:
        server.execute(f"OPTIMIZE TABLE {each.name} FINAL")
    found = server.select(
        "SELECT table, sum(bytes_on_disk) FROM system.parts WHERE database = currentDatabase() AND active "
        "AND table NOT LIKE 'schema_%' GROUP BY table"
    )
    return dict(zip(*found, strict=True))


def kafka_bytes(settings: Settings) -> int:
    """Bytes of the source topics on one broker."""
    admin = KafkaAdminClient(bootstrap_servers=list(settings.bootstrap))
    try:
        answers = admin.describe_log_dirs(list(settings.topics.sources))
    finally:
        admin.close()
    brokers = [sizes_in(answer) for answer in answers]
    return max(brokers)


def sizes_in(answer: object) -> int:
    """The sum of all sizes of partitions in a broker's answer."""
    if isinstance(answer, dict):
        own = answer.get("partition_size")
        return int(own) if own is not None else sum(map(sizes_in, answer.values()))
    return sum(map(sizes_in, answer)) if isinstance(answer, list | tuple) else 0


if __name__ == "__main__":
    main()

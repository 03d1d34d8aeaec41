"""The whole job against a plain Faust agent that only counts: CPU per event of one worker, same machine, same events,
same run.

    python benchmarks/whole_job.py [--events 400000] [--posts 20000] [--hours 24] [--repeat 3]
    [--file EVENTS.ndjson.gz --posts-file POSTS.csv] [--core 1] [--against REV]

Makes topics and a database of its own on the Kafka and ClickHouse of ENGAGEMENT_KAFKA and ENGAGEMENT_CLICKHOUSE, fills
the topics, then runs each worker over them as a process of its own, pinned to one core. CPU is that of all threads and
children: of the job from when it is given its partitions until it has ended, of the agent that counts from its first
event until its last. Of some runs the median counts, on both sides.
ClickHouse's own CPU is printed beside it.

Two loads unless told otherwise: events as close together as they come where one worker's core is busy, 10,000 in a
second of their own time; and the same events spread over a day, where nearly each has a minute of a post for itself,
and so a row of post_minutes, and some of each conversation.

`--against REV` compares with the code of that revision instead, in as many pairs as --repeat says: exit 1 where the
worker takes 3 % more CPU an event than there, or ClickHouse 15 %.
"""

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _against import compare

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.kafka.topics import ensure_topics
from pipeline.observability.metrics import BATCH_STEPS
from pipeline.settings import Settings, load_settings
from schemas.topics import KINDS

LIVE = 10_000
"""Events a second."""

COUNTED_EVENTS = 60_000
"""Of the counting agent's events: at 100 to 200 us each more would only take longer."""


def main() -> None:
    options = arguments()
    if options.against:
        same = ["--events", options.events, "--posts", options.posts, "--core", options.core, "--repeat", 1]
        same += [each for hours in options.hours or () for each in ("--hours", hours)]
        sys.exit(not compare(options.against, options.repeat, [str(each) for each in same]))
    stamp = f"bench{int(time.time())}"
    hours = options.hours or ((None,) if options.file else (options.events / LIVE / 3600, 24.0))
    theirs: list[float] = []
    jobs: dict[float | None, list[dict[str, Any]]] = {length: [] for length in hours}
    for turn in range(options.repeat):
        for number, length in enumerate(hours):
            name = f"{stamp}n{turn}{number}"
            settings = begin(name)
            sent = fill(options, length)
            server = ClickHouse(settings)
            before = server_cpu(server)
            job = child("job", options.core, sent)
            jobs[length].append(job | {"sent": sent, "server": server_cpu(server) - before})
            counted = child("count", options.core, min(COUNTED_EVENTS, sent))
            theirs.append(counted["cpu"] / counted["events"] * 1e6)
            server.execute(f"DROP DATABASE {name}")
    usual = statistics.median(theirs)
    print(f"a Faust agent that counts, CPU us an event   {usual:.1f}   (of {listed(theirs)})")
    for length, found in jobs.items():
        tell(length, found, usual)


def listed(values: list[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in sorted(values))


def tell(length: float | None, jobs: list[dict[str, Any]], theirs: float) -> None:
    """Prints what one worker took for one load, which lasts for so many hours."""
    ours = [job["cpu"] / job["sent"] * 1e6 for job in jobs]
    usual = statistics.median_low(ours)
    job = jobs[ours.index(usual)]
    sent = job["sent"]
    said = f" of {length:.3g} hours, {sent / length / 3600:,.0f} a second" if length else ""
    print(f"\n{sent:,} events{said}")
    print(f"  the whole job, CPU us an event   {usual:.1f}   (of {listed(ours)}; {sent / job['wall']:,.0f} events/s)")
    print(f"  ratio                            {theirs / usual:.1f} x")
    print(f"  ClickHouse, CPU us an event      {job['server'] / sent:.1f}")
    print(f"  peak memory of the worker        {job['peak_mb']:.0f} MB")
    print("  where it goes, CPU us an event:")
    for step, seconds in job["steps"].items():
        if seconds > 1e-8 * sent:
            print(f"    {step:20s} {seconds / sent * 1e6:6.2f}")
    rest = usual - sum(job["steps"].values()) / sent * 1e6
    print(f"    {'fetch and loop':20s} {rest:6.2f}   (aiokafka, Faust, heartbeats: what no step of a thread is)")


def begin(name: str) -> Settings:
    """Topics and a database of that name, and an environment that points to them."""
    clickhouse = os.environ.get("ENGAGEMENT_CLICKHOUSE", "clickhouse://default@127.0.0.1:9000/engagement")
    os.environ.update(
        ENGAGEMENT_TOPIC_PREFIX=name,
        ENGAGEMENT_METRICS_PORT="0",
        ENGAGEMENT_LOG_LEVEL="WARNING",
        ENGAGEMENT_CLICKHOUSE=f"{clickhouse.rpartition('/')[0]}/{name}",
    )
    settings = load_settings()
    ensure_topics(settings)
    migrate(settings)
    return settings


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--posts", type=int, default=20_000)
    parser.add_argument(
        "--hours",
        type=float,
        action="append",
        help="how long they took, several times perhaps: the less, the more share a post's minute",
    )
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, of which the median counts")
    parser.add_argument("--file", type=Path, help="events to replay instead of simulated ones")
    parser.add_argument("--posts-file", type=Path)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--against", metavar="REV", help="compare with the code of a revision, of simulated events")
    parser.add_argument("--child", choices=("job", "count"))
    parser.add_argument("--until", type=int, default=0)
    parser.add_argument("--answer", type=Path)
    options = parser.parse_args()
    if options.child:
        said = {"job": run_job, "count": run_count}[options.child](load_settings(), options.until)
        options.answer.write_text(json.dumps(said))
        sys.exit(0)
    return options


def fill(options: argparse.Namespace, hours: float | None) -> int:
    """Sends the events; returns how many."""
    command = [
        "engagement",
        "simulate",
        "--events",
        str(options.events),
        "--posts",
        str(options.posts),
        "--hours",
        str(hours),
        "--start",
        "2026-01-01T00:00:00Z",
        "--duplicates",
        "0.02",
        "--json",
    ]
    if options.file:
        command = ["engagement", "replay", str(options.file), "--json"]
        command += ["--posts", str(options.posts_file)] if options.posts_file else []
    said = subprocess.run(
        [sys.executable, "-c", "from pipeline.cli import main; main()", *command[1:]],
        check=True,
        capture_output=True,
        text=True,
    )
    return sum(json.loads(said.stdout)["sent"].values())


def child(kind: str, core: int, until: int) -> dict[str, Any]:
    """Runs one worker in a process of its own; what it says of itself."""
    with tempfile.NamedTemporaryFile("r") as answer:  # Faust has its own ideas about stdout
        subprocess.run(
            [sys.executable, __file__, "--child", kind, "--until", str(until), "--answer", answer.name],
            check=True,
            stdout=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            timeout=900,
        )
        said: dict[str, Any] = json.load(answer)
    return said


def run_job(settings: Settings, until: int) -> dict[str, Any]:
    """`engagement work --until-caught-up`, and what it cost."""
    from processors.engagement.agent import EngagementAgent
    from processors.worker import WorkOptions, build_worker, start_worker

    started = {"cpu": 0.0, "wall": 0.0}
    assign = EngagementAgent.assign

    async def note(self: EngagementAgent, partitions: list[int], of: int) -> None:
        started.update(cpu=cpu(), wall=time.perf_counter())
        await assign(self, partitions, of)

    EngagementAgent.assign = note  # type: ignore[method-assign]
    app = build_worker(settings, WorkOptions(until_caught_up=True))
    start_worker(app, settings)
    snapshot = app.metrics.snapshot()
    steps = {
        step: snapshot[f'engagement_step_cpu_seconds_total{{step="{step}"}}'] for step in BATCH_STEPS if step != "fetch"
    }
    wall = time.perf_counter() - started["wall"]
    return {"cpu": cpu() - started["cpu"], "wall": wall, "steps": steps, "peak_mb": peak_mb()}


def run_count(settings: Settings, until: int) -> dict[str, Any]:
    """What one would write with Faust alone: a model, an agent, a dict."""
    import asyncio
    import signal

    import faust

    class Event(faust.Record, serializer="json"):  # type: ignore[call-arg]
        event_id: str
        kind: str
        post_id: str
        actor_id: str
        occurred_at: str

    app = faust.App(
        f"{settings.topic_prefix}-count-{until}",
        datadir=tempfile.mkdtemp(prefix="engagement-bench-"),
        broker=f"kafka://{settings.bootstrap[0]}",
        web_enabled=False,
        topic_disable_leader=True,
        worker_redirect_stdouts=False,
        consumer_auto_offset_reset="earliest",
    )
    counts: dict[str, int] = {}
    spent: dict[str, float] = {}

    @app.agent(app.topic(*(settings.topics.of(kind) for kind in KINDS), value_type=Event))
    async def count(events: Any) -> None:
        seen = 0
        async for event in events:
            if not seen:
                spent["first"] = cpu()
            counts[event.post_id] = counts.get(event.post_id, 0) + 1
            seen += 1
            if seen == until:
                spent["last"] = cpu()
                signal.raise_signal(signal.SIGTERM)

    loop = asyncio.new_event_loop()
    with contextlib.suppress(SystemExit):
        faust.Worker(app, loglevel="ERROR", loop=loop).execute_from_commandline()
    return {"cpu": spent["last"] - spent["first"], "events": until}


def cpu() -> float:
    """CPU seconds of all threads of this process and of its children."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def server_cpu(server: ClickHouse) -> float:
    """CPU microseconds that ClickHouse has used so far."""
    found = server.select("SELECT sum(value) FROM system.events WHERE event = 'OSCPUVirtualTimeMicroseconds'")
    return float(found[0][0])


if __name__ == "__main__":
    main()

"""What the calibration of the forecast costs: the worker's own part, and the process beside it.

    python benchmarks/forecast_calibration.py cascades.ndjson.gz posts.csv

Replays recorded cascades through a worker that does not calibrate, and then calibrates twice, by the process that a
worker starts about once an hour of event time. The first one learns all versions of years; the second one finds nothing
to do, as nearly all of a live worker do. Prints what the worker itself pays for each batch, and the CPU, the seconds
and the peak memory of both processes. Exit 1 beyond 0.2 us an event or 20 MB in the worker.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import tracemalloc
from contextlib import suppress
from typing import Final, NamedTuple

import psutil
from forget import command
from whole_job import begin

from pipeline.clickhouse.client import ClickHouse
from processors.calibration.runner import PAUSE_SECONDS, CalibrationRunner

MOST_US: Final = 0.2
MOST_MB: Final = 20.0
CALLS: Final = 500_000
LIVE_BATCH: Final = 100
"""The events of a batch of a worker that is read live at 1,000 a second; a backlog has tens of thousands."""

SAMPLE_SECONDS: Final = 0.02


class Cost(NamedTuple):
    """CPU seconds, seconds by the clock, and the peak of memory in MB, of a process."""

    cpu: float
    wall: float
    peak_mb: float


class _Idle:
    """A calibration that is over at once."""

    def is_alive(self) -> bool:
        return False

    def terminate(self) -> None: ...


def main() -> int:
    """Fills, calibrates, and prints what it cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events")
    parser.add_argument("posts")
    options = parser.parse_args()
    us, mb = worker_part()
    settings = begin(f"bench{int(time.time())}")
    replay = command("replay", options.events, "--posts", options.posts, "--json")
    said = subprocess.run(replay, check=True, stdout=subprocess.PIPE).stdout
    sent = sum(json.loads(said)["sent"].values())
    work = command("work", "--until-caught-up")
    subprocess.run(work, env=os.environ | {"ENGAGEMENT_CALIBRATE": "false"}, check=True)
    with ClickHouse(settings) as client:
        first, second = calibration(), calibration()
        [[versions]] = client.select("SELECT uniq(channel, holds_from) FROM forecast_versions")
        client.execute(f"DROP DATABASE {settings.clickhouse_url.database}")
    kept = us / LIVE_BATCH <= MOST_US and mb <= MOST_MB
    print(
        f"in the worker: {us:.2f} us a batch, {us / LIVE_BATCH:.4f} us an event; {mb:.3f} MB "
        f"({'kept' if kept else 'NOT kept'})"
    )
    print(
        f"the process beside it, {versions} versions of {sent:,} events: {first.cpu:.1f} s of CPU, "
        f"{first.cpu / max(versions, 1):.2f} a version, {first.wall:.1f} by the clock, {first.peak_mb:.0f} MB"
    )
    print(f"with nothing to learn: {second.cpu:.2f} s of CPU, {second.wall:.2f} by the clock, {second.peak_mb:.0f} MB")
    return int(not kept)


def worker_part() -> tuple[float, float]:
    """Measures the call that a worker makes with each batch: microseconds, and the memory in MB that stays."""
    tracemalloc.start()
    runner = CalibrationRunner(_Idle, lambda: PAUSE_SECONDS)
    for second in range(CALLS):
        runner.note(second * 1_000_000)
    stays, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    began = time.process_time()
    for second in range(CALLS, 2 * CALLS):
        runner.note(second * 1_000_000)
    return (time.process_time() - began) / CALLS * 1e6, stays / 1e6


def calibration() -> Cost:
    """Runs the process that a worker starts, and looks at it every few hundredths of a second."""
    began, cpu, peak = time.perf_counter(), 0.0, 0
    with psutil.Popen([sys.executable, "-m", CalibrationRunner.__module__]) as process:
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                times, memory = process.cpu_times(), process.memory_info()
                cpu, peak = max(cpu, times.user + times.system), max(peak, memory.rss)
            time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        sys.exit(f"the calibration ended with {process.returncode}")
    return Cost(cpu, time.perf_counter() - began, peak / 1e6)


if __name__ == "__main__":
    sys.exit(main())

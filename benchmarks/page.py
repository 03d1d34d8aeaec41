"""The live page in Chromium while events come at a fixed rate, all on one machine: paint, latency, frames, queries.

    python benchmarks/page.py [--rate 10000] [--seconds 60]

Starts a worker, a producer and `engagement serve` as processes of their own, on the Kafka and ClickHouse of
ENGAGEMENT_KAFKA and ENGAGEMENT_CLICKHOUSE or, where these are not set, on a stack of its own. Two windows are open: the
overview, whose frames are timed, and a post, to which likes are sent one by one until each is on the screen. A frame is
dropped where the time between two is above 100 ms. Exit 1 where a promise is broken: first paint within 1 s, an event
on the screen within 3 s (median), no dropped frame. Everything that it starts or makes is gone when it ends.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
from freshness import (
    WARM_UP_SECONDS,
    child,
    cpu,
    grown,
    head,
    move_to,
    on_a_stack,
    produce,
    ready,
    remove,
    servers,
    stamp,
)
from playwright.sync_api import Page, sync_playwright

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.kafka.publisher import open_publisher
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import Settings, load_settings

PAINT_MS: Final = 1000
SHOWN_SECONDS: Final = 3.0
FRAME_MS: Final = 100
LOST_SECONDS: Final = 30.0
WATCHED: Final = "watched"
CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")

TIME_FRAMES: Final = """() => {
    window.frames_ = [];
    let last = performance.now();
    const next = (now) => { frames_.push(now - last); last = now; requestAnimationFrame(next); };
    requestAnimationFrame(next);
}"""


def main() -> None:
    on_a_stack(arguments(), produce, measure)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=10_000, help="events a second")
    parser.add_argument("--seconds", type=int, default=60, help="how long is measured, after 10 s of warming up")
    parser.add_argument("--posts", type=int, default=20_000, help="posts that the events are about, by Zipf's law")
    parser.add_argument("--produce", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(options: argparse.Namespace) -> bool:
    """Measures on topics and a database of its own, and prints what came of it; whether all promises were kept."""
    os.environ.pop("ENGAGEMENT_PAGE_CLICKHOUSE", None)
    move_to(f"page{time.time_ns() // 1_000_000}")
    settings = load_settings()
    with ExitStack() as after:
        after.callback(remove, settings)
        ensure_topics(settings)
        migrate(settings)
        log = after.enter_context(tempfile.NamedTemporaryFile("w+"))
        command = [__file__, "--produce", f"--rate={options.rate}", f"--seconds={options.seconds}"]
        producer = after.enter_context(
            child([*command, f"--posts={options.posts}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
        worker = after.enter_context(child(["-c", "from pipeline.cli import main; main(['work'])"], stderr=log))
        serve = "from pipeline.cli import main; main(['serve', '--port', '0', '--json'])"
        page = after.enter_context(child(["-c", serve], stdout=subprocess.PIPE))
        address = json.loads(page.stdout.readline())["url"]
        producer.stdout.readline()  # its events are made
        ready(worker, Path(log.name))
        send_likes(settings, 0, 1)
        store = after.enter_context(ClickHouse(settings))
        driver = after.enter_context(sync_playwright())
        path = next(filter(None, map(shutil.which, CHROMIUM)), None) or sys.exit("no Chromium is installed")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        after.callback(browser.close)
        producer.stdin.write(b"go\n")
        producer.stdin.flush()
        time.sleep(WARM_UP_SECONDS)
        overview, post = browser.new_context().new_page(), browser.new_context().new_page()
        overview.goto(address)
        overview.locator("main h1").wait_for()
        painted = float(overview.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        post.goto(f"{address}/post/{WATCHED}")
        overview.evaluate(TIME_FRAMES)
        parts = {**servers(settings), "worker": worker.pid, "page": page.pid, "producer": producer.pid}
        before, asked, started = cpu(parts), queries(store), time.monotonic()
        latencies = watch(settings, post, options.seconds - WARM_UP_SECONDS)
        took = time.monotonic() - started
        used, frames = grown(before, cpu(parts)), overview.evaluate("frames_")
        asked = queries(store) - asked
    return report(painted, latencies, frames, used, asked / took, took)


def watch(settings: Settings, page: Page, seconds: int) -> list[float]:
    """Sends likes one by one, each when the one before is on the screen; returns the seconds that each took."""
    likes = page.locator("dl.figures dd span").first
    likes.wait_for(timeout=1000 * LOST_SECONDS)
    shown = int(likes.inner_text().replace(",", ""))
    latencies, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        started = time.monotonic()
        send_likes(settings, shown, 1)
        shown += 1
        # The content security policy lets no expression be evaluated in the page's own loop.
        while likes.inner_text() != f"{shown:,}" and time.monotonic() < started + LOST_SECONDS:
            time.sleep(0.05)
        latencies.append(time.monotonic() - started)
    return latencies


def send_likes(settings: Settings, first: int, count: int) -> None:
    """Sends likes of people whom nobody knows."""
    with open_publisher(settings) as publisher:
        for number in range(first, first + count):
            event = head("like", f"seen-{number}", WATCHED, f"stranger-{number}") + stamp()
            publisher.send(settings.topics.of("like"), WATCHED.encode(), event)


def queries(store: ClickHouse) -> float:
    """The SELECTs of the server so far."""
    return float(store.select("SELECT value FROM system.events WHERE event = 'SelectQuery'")[0][0])


def report(
    painted: float, latencies: list[float], frames: list[float], used: dict[str, float], asked: float, took: float
) -> bool:
    """Prints the figures; returns whether all promises were kept."""
    p50, p99 = np.percentile(latencies, (50, 99)).tolist()
    dropped = sum(frame > FRAME_MS for frame in frames)
    kept = painted <= PAINT_MS and p50 <= SHOWN_SECONDS and not dropped
    print(f"the live page: {'kept' if kept else 'NOT kept'}")
    print(f"  first paint, ms            {painted:.0f}")
    print(f"  event to screen, s         p50 {p50:.2f}   p99 {p99:.2f}   of {len(latencies)} likes")
    print(f"  frames of the overview     {len(frames):,}, longest {max(frames):.0f} ms, {dropped} above {FRAME_MS} ms")
    print(f"  queries of all, a second   {asked:.1f}")
    print("  CPU, % of one core        ", *(f"{part} {spent / took * 100:.0f}  " for part, spent in used.items()))
    return kept


if __name__ == "__main__":
    main()

"""The time from the second in which a spike is certain until a webhook gets the alert, while events come at a fixed
rate, all on one machine.

    python benchmarks/delivery.py [--rate 10000] [--usual 60] [--factor 8] [--storm 2000]

Starts a worker and a producer as processes of their own, on the Kafka and ClickHouse of ENGAGEMENT_KAFKA and
ENGAGEMENT_CLICKHOUSE or, where these are not set, on a stack of its own in a temporary folder. One conversation has a
day of history (written into the tables) and goes on at its usual rate; then its comments come `--factor` times as
often. The spike is certain once the count of sent comments in the open minute reaches the level that is sure to fire,
which the alert itself names. With `--storm` as many threads, each with a day of about a comment an hour, wake up at the
same moment. Exit 1 where the webhook gets the alert more than 10 s later. The benchmark removes all that it starts or
makes when it ends.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from _burst import CONVERSATION, PATIENCE_SECONDS, plant_past, produce, send
from freshness import child, cpu, grown, move_to, on_a_stack, read, ready, remove, servers

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import load_settings

PROMISE_SECONDS: Final = 10.0
SURE: Final = re.compile(r"the minute is not over: ([\d,]+) so far, ([\d,]+) are enough")
ALERTS: Final = """
receivers:
  hook: {{kind: webhook, url: "http://127.0.0.1:{port}/hook", secret: {{clear: benchmark}}}}
routes:
  - {{match: "{conversation}", to: hook, min_severity: info}}
"""


def main() -> None:
    on_a_stack(arguments(), produce, measure)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=10_000, help="events a second beside the spike")
    parser.add_argument("--posts", type=int, default=20_000, help="number of posts of these events, by Zipf's law")
    parser.add_argument("--usual", type=float, default=60.0, help="comments a minute that the conversation usually has")
    parser.add_argument("--factor", type=float, default=8.0, help="comments in the burst, as a multiple of the usual")
    parser.add_argument("--storm", type=int, default=0, help="threads that wake up at the same moment")
    parser.add_argument("--warm-up", type=int, default=75, help="seconds of usual traffic before the burst")
    parser.add_argument("--produce", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


class Webhook(threading.Thread):
    """A webhook that records each alert and its time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.alerts: list[tuple[float, dict[str, Any]]] = []
        alerts = self.alerts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                now = time.time()
                alerts.append((now, json.loads(self.rfile.read(int(self.headers["Content-Length"])))["data"]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]

    def run(self) -> None:
        self._server.serve_forever(0.02)


def measure(options: argparse.Namespace) -> bool:
    """Measures on topics and a database of its own, and prints the figures. Returns whether the promise is kept."""
    move_to(f"delivery{time.time_ns() // 1_000_000}")
    webhook = Webhook()
    webhook.start()
    with ExitStack() as after:
        path = after.enter_context(tempfile.NamedTemporaryFile("w", suffix=".yaml"))
        path.write(ALERTS.format(port=webhook.port, conversation=CONVERSATION))
        path.flush()
        os.environ["ENGAGEMENT_ALERTS"] = path.name
        settings = load_settings()
        after.callback(remove, settings)
        ensure_topics(settings)
        migrate(settings)
        with ClickHouse(settings) as store:
            plant_past(store, settings, options)
        log = after.enter_context(tempfile.NamedTemporaryFile("w+"))
        command = [__file__, "--produce", f"--rate={options.rate}", f"--posts={options.posts}"]
        producer = after.enter_context(child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        worker = after.enter_context(child(["-c", "from pipeline.cli import main; main(['work'])"], stderr=log))
        producer.stdout.readline()  # the producer has made its events
        status = ready(worker, Path(log.name))
        # Early in a minute, so that one minute is enough.
        burst = (time.time() + options.warm_up) // 60 * 60 + 65
        producer.stdin.write(f"{burst if options.storm else 0}\n".encode())
        producer.stdin.flush()
        parts = {**servers(settings), "worker": worker.pid, "producer": producer.pid}
        before, started, first = cpu(parts), time.time(), read(status)
        sent = send(settings, options, burst, lambda: bool(webhook.alerts))
        spent, took = cpu(parts), time.time() - started
        figures = read(status)
        steps = grown(first, figures)
        producer.stdin.write(b"end\n")
        producer.stdin.flush()
        rate = float(producer.stdout.readline())
        print(f"{rate:,.0f} events/s came of {options.rate:,}")
        print("  CPU, % of one core       ", *(f"{p} {(spent[p] - before[p]) / took * 100:.0f}  " for p in spent))
        print("  steps of a batch, ms     ", *means(steps))
        opened = int(figures['engagement_spikes_total{state="opened"}'])
        print(f"  evidence, s               {steps['engagement_spike_evidence_seconds_total']:.2f}")
        series = int(figures["engagement_spike_series"])
        print(f"  series watched {series:,}, spikes opened by then {opened:,}")
        with ClickHouse(settings) as store:
            stored = store.select(
                "SELECT toUnixTimestamp64Milli(min(stored_at)) / 1000 FROM conversation_spikes "
                f"WHERE conversation = '{CONVERSATION}' GROUP BY bitAnd(version, 1) AS told ORDER BY told"
            )
        return report(sent, webhook, burst, stored[0] if stored else [], rate >= 0.98 * options.rate)


def means(figures: Mapping[str, float]) -> Iterator[str]:
    """Yields the mean duration of each step of a batch."""
    for name, count in figures.items():
        if (match := re.fullmatch(r'engagement_step_duration_seconds_count\{step="(.*)"\}', name)) and count:
            spent = figures[name.replace("_count", "_sum")]
            yield f"{match[1]} {spent / count * 1000:.0f}  "


def report(sent: list[float], webhook: Webhook, burst: float, stored: list[float], is_full: bool) -> bool:
    """Prints the delay of the webhook. `sent`: times of the conversation's comments; `stored`: times at which the row
    of the spike was stored, before and after the message."""
    opened = [(at, alert) for at, alert in webhook.alerts if alert["state"] == "opened"]
    if not opened:
        print(f"NOT told within {PATIENCE_SECONDS:g} s of the burst")
        return False
    at, alert = opened[0]
    minute = datetime.fromisoformat(alert["as_of"]).timestamp() - 60
    counts = next((match for reason in alert["reasons"] if (match := SURE.fullmatch(reason))), None)
    if counts is None or at < burst:
        print(f"told at {clock(at)}, but not of an open minute in the burst: {alert['reasons']}")
        return False
    of_minute = [moment for moment in sent if minute <= moment < minute + 60]
    seen, enough = (int(text.replace(",", "")) for text in counts.groups())
    certain, last_counted = of_minute[enough - 1], of_minute[seen - 1]
    late = at - certain
    kept = late <= PROMISE_SECONDS
    verdict = "kept" if kept and is_full else "kept, but at a lower rate" if kept else "NOT kept"
    print(f"  burst from {clock(burst)}; certain at {clock(certain)} ({enough} in the minute); told at {clock(at)}")
    print(f"  certain until told, s     {late:.2f}   ({len(of_minute)} were sent by then, the alert knew {seen})")
    steps = {
        "last comment it counts": last_counted,
        **dict(zip(("row stored", "row told"), stored, strict=False)),
        "webhook": at,
    }
    print("  s after certain          ", *(f"{what} {moment - certain:.2f}  " for what, moment in steps.items()))
    print(f"  reasons                   {'; '.join(alert['reasons'])}")
    print(f"a spike is told within {PROMISE_SECONDS:g} s of being certain: {verdict}", flush=True)
    return kept


def clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%H:%M:%S.%f}"[:-4]


if __name__ == "__main__":
    main()

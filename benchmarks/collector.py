"""What the HTTP collector takes: requests at a fixed rate, each with some events, on a running stack.

    eval "$(engagement stack up)"; python benchmarks/collector.py --rate 2000 --events 10 --seconds 60

Two collectors take the same load one after the other, in turns: the real one, which answers when Kafka has acked, and
the same one whose sender acks at once. A request is due at its time whether or not earlier ones are answered, and its
latency counts from then. The promise is p99 <= 50 ms at 2,000 requests/s of 10 events on one core, and memory that
stays flat. Exit 1 where it is not kept.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import psutil
import uvloop

from pipeline.kafka.client import open_admin
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import Settings, load_settings
from producers.collector import command
from producers.collector.batch_sender import BatchSender
from producers.collector.outgoing import OutgoingRecord

PROMISED_MS: Final = 50.0
MOST_GROWTH: Final = 1.10
CONNECTIONS: Final = 64
TICK: Final = 0.002
WARM_UP: Final = 3.0
TOPICS: Final = ("posts", "likes", "shares", "comments", "conversations", "alerts", "dead-letters")


class InstantSender(BatchSender):
    """A sender without Kafka: every record is acked at once."""

    absence = ""  # type: ignore[assignment]

    def start(self) -> None:
        pass

    async def deliver(self, records: Sequence[OutgoingRecord]) -> dict[int, str]:
        return {}


@click.group(invoke_without_command=True)
@click.option("--rate", default=2000, show_default=True, help="Requests a second.")
@click.option("--events", default=10, show_default=True, help="Events in each request.")
@click.option("--seconds", default=30.0, show_default=True, help="Of each turn.")
@click.option("--rounds", default=1, show_default=True, help="Turns of each collector.")
@click.option("--posts", default=5000, show_default=True, help="Distinct posts.")
@click.pass_context
def main(ctx: click.Context, rate: int, events: int, seconds: float, rounds: int, posts: int) -> None:
    """Prints rate, latency, CPU and memory of both collectors, and their ratios."""
    if ctx.invoked_subcommand:
        return
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    settings = load_settings().model_copy(update={"topic_prefix": prefix})
    ensure_topics(settings)
    kept = True
    try:
        for number in range(rounds):
            found = {
                name: turn(settings, name, number, (rate, events, seconds, posts)) for name in ("kafka", "instant")
            }
            for name, said in found.items():
                print(line(name, said))
            real, bare = found["kafka"], found["instant"]
            print(
                f"ratio    CPU {real['cpu_us'] / bare['cpu_us']:.2f}   p99 {real['p99'] / bare['p99']:.2f}   "
                f"memory {real['rss'][-1] / real['rss'][len(real['rss']) // 3]:.3f} (end to a third)"
            )
            flat = real["rss"][-1] <= MOST_GROWTH * real["rss"][len(real["rss"]) // 3]
            kept = kept and real["p99"] <= PROMISED_MS and not real["other"] and flat
    finally:
        with open_admin(settings) as admin:
            admin.delete_topics([f"{prefix}.{name}" for name in TOPICS])
    sys.exit(not kept)


@main.command()
@click.argument("name")
def serve(name: str) -> None:
    """Serves one collector on a free port; for the benchmark itself."""
    if name == "instant":
        command.BatchSender = InstantSender  # type: ignore[misc]
    command.collect_events.main(["--port", "0"], standalone_mode=False)


def line(name: str, said: dict[str, Any]) -> str:
    rss = "  ".join(f"{megabytes:.0f}" for megabytes in said["rss"][:: max(1, len(said["rss"]) // 6)])
    cores = "  ".join(f"{part} {share:.0%}" for part, share in said["cores"].items())
    return (
        f"{name:8} {said['rate']:8,.0f} requests/s   p50 {said['p50']:6.1f} ms   p99 {said['p99']:6.1f} ms   "
        f"max {said['max']:6.0f} ms   not 202: {said['other']}   {said['cpu_us']:.1f} us of CPU an event\n"
        f"{'':8} CPU, of a core: {cores}   RSS, MiB: {rss}"
    )


def turn(settings: Settings, name: str, number: int, load: tuple[int, int, float, int]) -> dict[str, Any]:
    """Runs one collector under the load."""
    environment = {**os.environ, "ENGAGEMENT_TOPIC_PREFIX": settings.topic_prefix}
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__)), "serve", name], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        address = next(said for said in process.stderr if "listening on" in said).rpartition("//")[2].strip()
        wait_until_ready(address)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(Load(address, process.pid, f"{name}{number}", load).run())
    finally:
        process.terminate()
        process.communicate(timeout=30)


def wait_until_ready(address: str) -> None:
    for _ in range(100):
        try:
            if urllib.request.urlopen(f"http://{address}/readyz", timeout=5).status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("the collector is not ready within 10 s")


def listening_process(port: int) -> psutil.Process | None:
    """The process that listens on a port of this machine, Kafka's."""
    found = [each.pid for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr.port == port]
    return psutil.Process(found[0]) if found and found[0] else None


class Load:
    """An open loop: each request has its time."""

    def __init__(self, address: str, pid: int, tag: str, load: tuple[int, int, float, int]) -> None:
        self._host, _, port = address.partition(":")
        self._port, self._process, self._tag = int(port), psutil.Process(pid), tag
        self._rate, self._events, self._seconds, self._posts = load
        self._kafka = listening_process(int(load_settings().bootstrap[0].rpartition(":")[2]))
        self.latencies: list[float] = []
        self.free: list[Connection] = []
        self.waiting: list[float] = []
        self.other = self._made = 0

    async def run(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            _, connection = await loop.create_connection(lambda: Connection(self), self._host, self._port)
            self.free.append(connection)
        await self._send_for(WARM_UP, [])
        self.latencies.clear()
        rss: list[float] = []
        before, started = self._spent(), time.perf_counter()
        await self._send_for(self._seconds, rss)
        seconds = time.perf_counter() - started
        used = {name: value - before[name] for name, value in self._spent().items()}
        spent = used["collector"]
        found = sorted(self.latencies)
        return {
            "rate": len(found) / seconds,
            "p50": found[len(found) // 2] * 1000,
            "p99": found[int(len(found) * 0.99)] * 1000,
            "max": found[-1] * 1000,
            "cpu_us": spent / (len(found) * self._events) * 1e6,
            "cores": {name: value / seconds for name, value in used.items()},
            "other": self.other,
            "rss": rss,
        }

    def _spent(self) -> dict[str, float]:
        """CPU seconds so far of the collector, of Kafka, of this load, and of whatever else the machine does."""
        parts = {"collector": self._process, "Kafka": self._kafka, "load": psutil.Process()}
        found = {name: sum(part.cpu_times()[:2]) if part else 0.0 for name, part in parts.items()}
        machine = psutil.cpu_times()
        return found | {"all else": sum(machine[:8]) - machine.idle - machine.iowait - sum(found.values())}

    async def _send_for(self, seconds: float, rss: list[float]) -> None:
        started = time.perf_counter()
        sent, next_look = 0, 0.0
        while (now := time.perf_counter() - started) < seconds or self.waiting:
            while sent < min(now, seconds) * self._rate:
                self.waiting.append(started + sent / self._rate)
                sent += 1
            while self.waiting and self.free:
                self.free.pop(0).send(self.waiting.pop(0), self.request())
            if now >= next_look:
                rss.append(self._process.memory_info().rss / 2**20)
                next_look += max(1.0, self._seconds / 30)
            await asyncio.sleep(TICK)
        while len(self.free) < CONNECTIONS:
            await asyncio.sleep(TICK)

    def request(self) -> bytes:
        self._made += 1
        tag = self._tag.encode()
        events = b",".join(
            b'{"event_id":"%s-%d-%d","kind":"like","post_id":"post-%06d","actor_id":"actor-%06d",'
            b'"occurred_at":"2026-01-01T00:00:00Z","channel":"web"}'
            % (
                tag,
                self._made,
                each,
                (self._made * 31 + each * 7919) % self._posts,
                self._made % 100_003,
            )
            for each in range(self._events)
        )
        head = b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        head += b"Content-Length: %d\r\n\r\n"
        return head % (len(events) + 2) + b"[" + events + b"]"


class Connection(asyncio.Protocol):
    """A connection with one request at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._due, self._answer = 0.0, b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def send(self, due: float, request: bytes) -> None:
        self._due, self._answer = due, b""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        _, end, body = self._answer.partition(b"\r\n\r\n")
        if not end or not body.endswith(b"}"):
            return
        self._load.latencies.append(time.perf_counter() - self._due)
        if not self._answer.startswith(b"HTTP/1.1 202") or json.loads(body)["rejected"]:
            self._load.other += 1
        self._load.free.append(self)


if __name__ == "__main__":
    main()

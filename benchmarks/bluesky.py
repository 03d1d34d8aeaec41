"""What a frame of Bluesky costs, from the WebSocket to the record that is handed to Kafka; against its JSON alone.

    python benchmarks/bluesky.py --frames 200000

A host on loopback, in a process of its own, sends frames as fast as they are taken: seven likes, one repost, one reply,
one post in ten, and a delete for every twentieth. They are received, mapped and stored by `BlueskySource`, into a
destination that only counts: `publisher.py` has the price of Kafka. Each round then parses the same frames by the
standard library's json, nothing else. Exit 1 below 5,000 frames a second, or where memory grows.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import psutil
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from producers.bluesky.at_uri import EVENT_COLLECTIONS
from producers.bluesky.jetstream.connection import JetstreamConnection
from producers.bluesky.jetstream.endpoints import Wanted, parse_endpoint
from producers.bluesky.record_store import RecordStore, StorePolicy
from producers.bluesky.source import BlueskyPolicy, BlueskySource
from producers.sending import send_all
from producers.source import BadInput, SourceRecord

PROMISE = 5_000
GROWTH = 1.05
"""The most by which memory may grow from the middle of a long round to its end."""

START_US = 1_790_000_000_000_000
TEXT = (
    "Words of a post, as long as the middle one is on this network: a hundred and fifty characters or so, with a link, "
)


class Counting:
    """A destination that counts. `memory`: bytes of the process (RSS) every 10,000 records."""

    def __init__(self) -> None:
        self.records = self.bytes = 0
        self.memory: list[int] = []
        self._process = psutil.Process()

    def add(self, record: SourceRecord) -> None:
        self.records += 1
        self.bytes += len(record.value or b"")
        if self.records % 10_000 == 0:
            self.memory.append(self._process.memory_info().rss)

    def add_dead(self, bad: BadInput) -> None:
        raise AssertionError(bad)

    def flush(self) -> None: ...


@click.command()
@click.option("--frames", default=200_000, show_default=True, help="Frames of a round.")
@click.option("--rounds", default=3, show_default=True, help="Pairs of runs; the median counts.")
@click.option("--serve-only", is_flag=True, hidden=True)
def main(frames: int, rounds: int, serve_only: bool) -> None:
    """Prints frames per wall second, CPU a frame, the same for json alone, and memory."""
    if serve_only:
        serve_frames(frames)
        return
    with subprocess.Popen(
        [sys.executable, __file__, "--serve-only", "--frames", str(frames)], stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdout is not None
        try:
            url = host.stdout.readline().strip()
            runs = [(receive(url, frames), parse(frames)) for _ in range(rounds)]
        finally:
            host.terminate()
    rate = statistics.median(frames / wall for (wall, _, _), _ in runs)
    cost = statistics.median(cpu / frames for (_, cpu, _), _ in runs)
    alone = statistics.median(cpu / frames for _, cpu in runs)
    growth = max(memory[-1] / memory[len(memory) // 2] for (_, _, memory), _ in runs)
    print(f"{rate:10,.0f} frames/s by the clock, the host on the other core")
    print(f"{cost * 1e6:10.1f} us CPU a frame: {1 / cost:,.0f}/s on one core")
    print(f"{alone * 1e6:10.1f} us CPU for json.loads alone: ratio {cost / alone:.1f}")
    print(
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:10.0f} MB at most; {growth:.3f} x from the middle"
    )
    sys.exit(1 / cost < PROMISE or growth > GROWTH)


def receive(url: str, frames: int) -> tuple[float, float, list[int]]:
    """Receives all frames; returns wall and CPU seconds up to the last one, and the memory on the way."""
    with tempfile.TemporaryDirectory() as folder:
        stream = JetstreamConnection((parse_endpoint(url),), Wanted(tuple(EVENT_COLLECTIONS.values())))
        store = Path(folder) / "state.sqlite"
        # The records that are kept are bounded as in a long run: old ones leave while new ones come.
        source = BlueskySource(
            stream, lambda: RecordStore(store, StorePolicy(keep_records=frames // 4)), BlueskyPolicy(until_idle=0.5)
        )
        counting = Counting()
        started, cpu = time.perf_counter(), time.process_time()
        summary = send_all(source, counting)
        wall, spent = time.perf_counter() - started, time.process_time() - cpu
        source.close()
    assert summary.notes["frames"] == frames, summary
    assert summary.bad == 0
    return wall - 0.5, spent, counting.memory


def parse(frames: int) -> float:
    """Returns the CPU seconds of json.loads on every frame."""
    sample = [frame.encode() for frame in made(min(frames, 20_000))]
    started = time.process_time()
    for number in range(frames):
        json.loads(sample[number % len(sample)])
    return time.process_time() - started


def serve_frames(frames: int) -> None:
    """Serves the frames to each connection without a cursor, and prints the URL first."""
    texts = list(made(frames))

    def session(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            for text in texts:
                connection.send(text)
            connection.recv()

    with serve(session, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        print(f"ws://127.0.0.1:{server.socket.getsockname()[1]}/subscribe", flush=True)
        server.serve_forever()


def made(frames: int) -> Iterator[str]:
    """Yields frames of v1, of 350 to 900 bytes."""
    for n in range(frames):
        did, at = f"did:plc:{n * 7919 % 50_021:024d}", START_US + n * 200
        post = f"at://did:plc:{n % 997:024d}/app.bsky.feed.post/3mptb{n % 4001:08d}"
        created = f"2026-09-21T14:13:{n % 60:02d}.{n % 1000:03d}Z"
        cid = "bafyreidqpc7si3dbimffi64lz3xsx2qt45ip7rpna2qpslcddp23itjjzm"
        if n % 20 == 19:
            gone = n - 19
            body: dict[str, object] = {
                "operation": "delete",
                "collection": "app.bsky.feed.like",
                "rkey": f"3mpt{gone:09d}",
            }
            did = f"did:plc:{gone * 7919 % 50_021:024d}"
        else:
            kind = ("like",) * 7 + ("repost", "post", "post")
            collection = f"app.bsky.feed.{kind[n % 10]}"
            record: dict[str, object] = {"$type": collection, "createdAt": created}
            if kind[n % 10] != "post":
                record["subject"] = {"cid": cid, "uri": post}
            else:
                record |= {"langs": ["en"], "text": TEXT}
                if n % 10 == 8:
                    record["reply"] = {name: {"cid": cid, "uri": post} for name in ("parent", "root")}
                link = {"$type": "app.bsky.richtext.facet#link", "uri": f"https://example.org/{n}"}
                record["facets"] = [{"features": [link], "index": {"byteEnd": 9, "byteStart": 0}}]
            body = {
                "operation": "create",
                "collection": collection,
                "rkey": f"3mpt{n:09d}",
                "record": record,
                "cid": cid,
            }
        frame = {"did": did, "time_us": at, "kind": "commit", "commit": {"rev": "3mmoojp7vgo2g", **body}}
        yield json.dumps(frame, separators=(",", ":"))


if __name__ == "__main__":
    main()

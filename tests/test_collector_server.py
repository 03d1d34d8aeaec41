"""The collector's HTTP server over real sockets: slow and endless clients, keep-alive, TLS."""

import asyncio
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from uvicorn.server import ServerState

from producers.collector import http_protocol
from producers.collector.http_protocol import BoundedHttp
from producers.collector.reading.body import BodyPolicy
from tests.collector_process import CollectorProcess
from tests.end_to_end.workers import wait_until
from tests.fakes_collector import LIKE, FakeCollector, like
from tests.patience import SOON

BODY = json.dumps(LIKE).encode()
HEAD = b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
REQUEST = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def serving(collector: FakeCollector, keep_alive: int = 5) -> AsyncIterator[int]:
    """The port of a server around the application."""
    config = uvicorn.Config(
        collector.app, http=BoundedHttp, ws="none", lifespan="off", log_config=None, timeout_keep_alive=keep_alive
    )
    config.load()
    loop = asyncio.get_running_loop()
    state = ServerState()
    server = await loop.create_server(
        lambda: BoundedHttp(config=config, server_state=state, app_state={}, _loop=loop), "127.0.0.1", 0
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()


async def answer_of(streams: Streams) -> tuple[int, bytes]:
    """Status and body of an answer."""
    reader, _ = streams
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON)
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    return int(head.split()[1]), await reader.readexactly(length)


async def seconds_until_closed(reader: asyncio.StreamReader) -> float:
    started = time.monotonic()
    try:
        while await asyncio.wait_for(reader.read(65536), SOON):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - started


def test_requests_on_one_connection_and_pipelined() -> None:
    collector = FakeCollector()

    async def run() -> list[int]:
        async with serving(collector) as port:
            streams = await asyncio.open_connection("127.0.0.1", port)
            streams[1].write(REQUEST)
            codes = [(await answer_of(streams))[0]]
            streams[1].write(REQUEST * 3)
            return codes + [(await answer_of(streams))[0] for _ in range(3)]

    assert asyncio.run(run()) == [202] * 4


@pytest.mark.parametrize("said", [b"", b"POST /v1/ev", HEAD])
def test_a_head_that_does_not_come(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    """Also when it comes a byte at a time, and as the second request of a connection."""
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.5)

    async def run(after: bytes) -> float:
        async with serving(FakeCollector(), keep_alive=30) as port:
            reader, writer = streams = await asyncio.open_connection("127.0.0.1", port)
            if after:
                writer.write(after)
                await answer_of(streams)
            writer.write(said)

            async def dribble() -> None:
                while True:
                    await asyncio.sleep(0.05)
                    writer.write(b"x" if said else b"")

            dribbling = asyncio.create_task(dribble())
            try:
                return await seconds_until_closed(reader)
            finally:
                dribbling.cancel()

    assert 0.3 < asyncio.run(run(b"")) < SOON
    if said:
        assert 0.3 < asyncio.run(run(REQUEST)) < SOON


@pytest.mark.parametrize("endless", [b"X-Header: " + b"y" * 1000 + b"\r\n", b"z" * 1000])
@pytest.mark.parametrize("begun", [b"", b"Transfer-Encoding: chunked\r\n\r\n3\r\n{  \r\n0\r\n"])
def test_a_head_without_end(endless: bytes, begun: bytes) -> None:
    """Also of the headers that may come behind a chunked body."""

    async def run() -> int:
        async with serving(FakeCollector()) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + begun)
            sent = 0
            try:
                while sent < 10_000_000:
                    writer.write(endless)
                    await writer.drain()
                    sent += len(endless)
                    await asyncio.sleep(0)
            except ConnectionError:
                pass
            return sent

    assert asyncio.run(run()) < 5_000_000, "what the kernel's buffers hold at most"


def test_a_body_a_byte_at_a_time() -> None:
    collector = FakeCollector(body=BodyPolicy(seconds=0.5))

    async def run() -> tuple[int, float]:
        async with serving(collector) as port:
            streams = await asyncio.open_connection("127.0.0.1", port)
            streams[1].write(HEAD + b"Content-Length: 1000\r\n\r\n")

            async def dribble() -> None:
                while True:
                    streams[1].write(b" ")
                    await asyncio.sleep(0.05)

            dribbling = asyncio.create_task(dribble())
            status, _ = await answer_of(streams)
            closed = await seconds_until_closed(streams[0])
            dribbling.cancel()
            return status, closed

    status, closed = asyncio.run(run())
    assert status == 408
    assert closed < 2, "the connection is not kept"
    assert collector.ports.budget.held == 0


def test_a_refusal_is_seen_by_whoever_still_sends() -> None:
    """A refused request with a large body gets its answer, and the connection can go on."""
    collector = FakeCollector()
    collector.sender.absence = "Kafka is away"
    large = b" " * 2_000_000 + BODY

    async def run() -> list[int]:
        async with serving(collector) as port:
            streams = await asyncio.open_connection("127.0.0.1", port)
            codes = []
            for _ in range(2):
                streams[1].write(HEAD + b"Content-Length: %d\r\n\r\n" % len(large))
                streams[1].write(large)
                codes.append((await answer_of(streams))[0])
            collector.sender.absence = ""
            streams[1].write(REQUEST)
            return [*codes, (await answer_of(streams))[0]]

    assert asyncio.run(run()) == [503, 503, 202]


def test_a_client_that_goes_away() -> None:
    collector = FakeCollector()

    async def run() -> None:
        async with serving(collector) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + b"Content-Length: 1000\r\n\r\n{")
            await asyncio.sleep(0.2)
            writer.close()
            await asyncio.sleep(0.2)

    asyncio.run(run())
    assert collector.sender.sent == []
    assert collector.ports.budget.held == 0
    assert any('code="499"' in series for series in collector.ports.metrics.snapshot())


def test_chunks_of_one_byte_are_taken() -> None:
    collector = FakeCollector()
    padded = BODY + b" " * 100_000

    async def run() -> int:
        async with serving(collector) as port:
            streams = await asyncio.open_connection("127.0.0.1", port)
            chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in padded)
            streams[1].write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
            return (await answer_of(streams))[0]

    assert asyncio.run(run()) == 202


def test_chunks_and_expectations() -> None:
    collector = FakeCollector()

    async def run() -> list[int]:
        async with serving(collector) as port:
            streams = await asyncio.open_connection("127.0.0.1", port)
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:10], BODY[10:]))
            streams[1].write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
            codes = [(await answer_of(streams))[0]]
            streams[1].write(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
            assert b"100 Continue" in await streams[0].readuntil(b"\r\n\r\n")
            streams[1].write(BODY)
            codes.append((await answer_of(streams))[0])
            streams[1].write(HEAD + b"Expect: 100-continue\r\nContent-Length: 900000000\r\n\r\n")
            return [*codes, (await answer_of(streams))[0]]

    assert asyncio.run(run()) == [202, 202, 413]


def test_https_and_the_bound_on_connections(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key),
         "-out", str(certificate)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    environment = {
        **os.environ,
        "ENGAGEMENT_KAFKA": "127.0.0.1:1",
        "ENGAGEMENT_COLLECT_CERTIFICATE": str(certificate),
        "ENGAGEMENT_COLLECT_PRIVATE_KEY": str(key),
        "ENGAGEMENT_COLLECT_CONNECTIONS": "3",
    }
    with CollectorProcess(tmp_path, environment) as collector:
        url = f"https://127.0.0.1:{collector.port}"
        trusted = ssl.create_default_context(cafile=str(certificate))
        with httpx.Client(verify=trusted, base_url=url) as client:
            assert client.get("/healthz").status_code == 200
            assert client.get("/readyz").status_code == 503, "Kafka is away"
            answer = client.post("/v1/events", json=LIKE)
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            assert "127.0.0.1:1" in answer.json()["detail"]
            others = [httpx.Client(verify=trusted, base_url=url) for _ in range(3)]
            codes = [other.get("/healthz").status_code for other in others]
            assert codes[-1] == 503, codes
            for other in others:
                other.close()
        with pytest.raises(httpx.ConnectError):
            httpx.get(url, timeout=5)
        assert collector.end() == 0
        assert "stopped" in collector.log


def test_sigterm_while_kafka_is_away_ends_in_time(tmp_path: Path) -> None:
    environment = {**os.environ, "ENGAGEMENT_KAFKA": "127.0.0.1:1", "ENGAGEMENT_COLLECT_ACK_SECONDS": "2"}
    with CollectorProcess(tmp_path, environment) as collector:
        wait_until(lambda: collector.get("/readyz")[0] == 503, 10, "it does not answer")
        idle = collector.connect()
        idle.request("GET", "/healthz")
        idle.getresponse().read()
        started = time.monotonic()
        assert collector.end() == 0
        assert time.monotonic() - started < SOON
        idle.close()


def test_an_open_host_without_keys_is_wrong_use() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from pipeline.cli import main; main()", "collect", "--host", "0.0.0.0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("engagement: --host 0.0.0.0 is open to others")
    assert "collect-keys add" in done.stderr


def test_a_large_batch_holds_up_no_small_request() -> None:
    """Items are checked in turns: a request of 30,000 items does not make others wait for all of it."""
    collector = FakeCollector()
    large = json.dumps([like(number) for number in range(30_000)]).encode()

    async def run() -> tuple[int, float, float]:
        async with serving(collector) as port:
            first = await asyncio.open_connection("127.0.0.1", port)
            second = await asyncio.open_connection("127.0.0.1", port)
            started = time.monotonic()
            first[1].write(HEAD + b"Content-Length: %d\r\n\r\n" % len(large))
            first[1].write(large)
            big = asyncio.create_task(answer_of(first))
            while not collector.ports.budget.held:
                await asyncio.sleep(0.001)
            slowest = 0.0
            while not big.done():
                asked = time.monotonic()
                second[1].write(REQUEST)
                assert (await answer_of(second))[0] == 202
                slowest = max(slowest, time.monotonic() - asked)
            return (await big)[0], time.monotonic() - started, slowest

    status, whole, slowest = asyncio.run(run())
    assert status == 202
    assert slowest < whole * 0.7, "the others waited for nearly all of it"

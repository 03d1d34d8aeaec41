"""The live page on real data: a simulated network counted by a real worker, and the page served as users serve it."""

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from pipeline.clickhouse.client import ClickHouse
from pipeline.demo.stage import COMMAND, Worker, run_command
from pipeline.embedded.endpoints import StackEndpoints
from pipeline.kafka.publisher import open_publisher
from pipeline.settings import Settings

HOSTILE = {
    "author": "<img src=x onerror=document.title='hacked'>\u202egnp.exe\u200b" + "W" * 400,
    "tag": "\"><script>document.title='hacked'</script>",
    "text": "</bdi><script>alert(1)</script>\u2066\u202e javascript:alert(1) \u0007 & &amp; <b>bold</b>",
    "channel": "<u>net</u>",
    "url": "javascript:alert(document.domain)",
}
"""Names and texts of somebody who wants more than to be read."""


@dataclass(frozen=True)
class PageStage:
    """A database with what a simulation did, and a worker that counts what comes. `environment` is that of commands."""

    settings: Settings
    environment: Mapping[str, str]
    worker: Worker

    def send(self, *events: Mapping[str, Any]) -> None:
        """Sends events as producers do; ends when all are acked."""
        with open_publisher(self.settings) as publisher:
            for event in events:
                publisher.send(
                    self.settings.topics.of(event["kind"]), event["post_id"].encode(), json.dumps(event).encode()
                )

    def wait_for(self, sql: str, seconds: float) -> None:
        """Waits until a query finds rows."""
        deadline = time.monotonic() + seconds
        while not self.column(sql):
            assert time.monotonic() < deadline, f"{sql}: nothing within {seconds} s"
            time.sleep(0.2)

    def column(self, sql: str) -> list[Any]:
        """Returns the first column of a query."""
        with ClickHouse(self.settings) as client:
            columns = client.select(sql)
        return list(columns[0]) if columns else []


@contextmanager
def page_stage(addresses: StackEndpoints, folder: Path, brands: Path) -> Iterator[PageStage]:
    """Fills a database of its own: some thousand events with a spike; the worker goes on."""
    name = f"t{uuid.uuid4().hex[:12]}"
    _admin(addresses, f"CREATE DATABASE {name}")
    server = addresses.clickhouse.rpartition("/")[0]
    settings = Settings(
        kafka=addresses.kafka,
        clickhouse=SecretStr(f"{server}/{name}"),
        topic_prefix=name,
        partitions=2,
        metrics_port=0,
    )
    environment = {
        "ENGAGEMENT_KAFKA": settings.kafka,
        "ENGAGEMENT_CLICKHOUSE": settings.clickhouse.get_secret_value(),
        "ENGAGEMENT_TOPIC_PREFIX": name,
        "ENGAGEMENT_PARTITIONS": "2",
        "ENGAGEMENT_BRANDS": str(brands),
        "ENGAGEMENT_STORE_TEXT": "500",
        "ENGAGEMENT_IDLE_SECONDS": "2",
    }
    worker = None
    try:
        run_command(["init"], environment)
        options = ["--events", "30000", "--posts", "600", "--seed", "3", "--hours", "24", "--start", "now"]
        sent = run_command(["simulate", *options, "--spike", "hashtag:launch@1380x200"], environment)
        worker = Worker(environment, folder / "worker.log")
        worker.wait_ready()
        worker.wait_until_judged(sent["total"], 180)
        stage = PageStage(settings, environment, worker)
        stage.wait_for("SELECT spike_id FROM conversation_spikes_v WHERE conversation = 'hashtag:launch'", 60)
        yield stage
    finally:
        if worker is not None:
            worker.stop()
        _admin(addresses, f"DROP DATABASE IF EXISTS {name}")


@contextmanager
def served(environment: Mapping[str, str], log: Path, *options: str) -> Iterator[str]:
    """Runs `engagement serve` on a free port; yields its address."""
    with log.open("ab") as said:
        process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", "--json", *options],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=said,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        yield json.loads(line)["url"]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0, log.read_text()
        process.stdout.close()


def _admin(addresses: StackEndpoints, sql: str) -> None:
    with ClickHouse(Settings(clickhouse=SecretStr(addresses.clickhouse)), database="") as client:
        client.execute(sql)

"""Events over HTTP: the collector is killed and Kafka goes away while clients send; the tables are exact still."""

import os
import threading
import time
from pathlib import Path
from typing import Any

from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from pipeline.topic_reader import read_topic
from tests.collector_process import Client, CollectorProcess
from tests.end_to_end.checks import assert_exact, assert_recounted, engagement, environment_of
from tests.end_to_end.inputs import Input, simulated
from tests.end_to_end.workers import Workers
from tests.tcp_proxy import TcpProxy

CLIENTS = 4
BATCH = 20


class Senders:
    """Clients side by side; the events of a post all come from one of them, in order."""

    def __init__(self, collector: CollectorProcess, events: list[dict[str, Any]]) -> None:
        shares: list[list[dict[str, Any]]] = [[] for _ in range(CLIENTS)]
        for event in events:
            shares[hash(event["post_id"]) % CLIENTS].append(event)
        self._shares = shares
        self._clients = [Client(collector) for _ in range(CLIENTS)]
        self._threads = [
            threading.Thread(target=self._send, args=pair) for pair in zip(self._clients, shares, strict=True)
        ]
        self.accepted = 0
        self._lock = threading.Lock()
        self._failures: list[BaseException] = []
        for thread in self._threads:
            thread.start()

    def wait_for(self, accepted: int) -> None:
        while self.accepted < accepted:
            assert not self._failures, self._failures
            time.sleep(0.01)

    def join(self) -> int:
        """Until all is accepted; how often a batch was sent again."""
        for thread in self._threads:
            thread.join()
        assert not self._failures, self._failures
        return sum(client.retries for client in self._clients)

    def _send(self, client: Client, events: list[dict[str, Any]]) -> None:
        try:
            for start in range(0, len(events), BATCH):
                said = client.send(events[start : start + BATCH])
                assert not said["rejected"], said
                with self._lock:
                    self.accepted += said["accepted"]
        except BaseException as error:
            self._failures.append(error)


def assert_counted(settings: Settings, sent: Input, folder: Path) -> None:
    environment = environment_of(settings, os.environ)
    with Workers(folder, environment) as workers:
        workers.catch_up()
    assert_exact(settings, sent.truth)
    assert_recounted(environment)
    with ClickHouse(settings) as client:
        assert client.select("SELECT count() FROM dead_letters") == [[0]]


def test_killed_while_clients_send(settings: Settings, tmp_path: Path) -> None:
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    mixed = simulated(6_000, 200)
    with CollectorProcess(tmp_path, environment) as collector:
        collector.wait_until_ready()
        senders = Senders(collector, mixed.events)
        for share in (0.2, 0.4, 0.6):
            senders.wait_for(int(share * len(mixed.events)))
            collector.kill()
            time.sleep(0.2)
            collector.start()
        retries = senders.join()
        assert retries > 0, "nothing was lost on the way: nothing was tested"
        assert senders.accepted == len(mixed.events)
        assert collector.end() == 0, collector.log
    assert_counted(settings, mixed, tmp_path)


def test_kafka_away_while_clients_send(settings: Settings, broker_link: TcpProxy, tmp_path: Path) -> None:
    """Clients are told 503 and send again; nothing that was answered by 202 is lost, also with SIGTERM in between."""
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    mixed = simulated(3_000, 100)
    through = {**environment, "ENGAGEMENT_KAFKA": broker_link.address, "ENGAGEMENT_COLLECT_ACK_SECONDS": "2"}
    with CollectorProcess(tmp_path, through) as collector:
        collector.wait_until_ready()
        senders = Senders(collector, mixed.events)
        senders.wait_for(len(mixed.events) // 4)
        broker_link.cut()
        time.sleep(3)
        broker_link.mend()
        senders.wait_for(len(mixed.events) // 2)
        broker_link.sever()
        time.sleep(1)
        broker_link.mend()
        senders.wait_for(len(mixed.events) * 3 // 4)
        assert collector.end() == 0, collector.log
        collector.start()
        assert senders.join() > 0, "nothing had to be sent again: nothing was tested"
        assert senders.accepted == len(mixed.events)
    assert_counted(settings, mixed, tmp_path)


def test_every_202_is_in_kafka_after_sigterm(settings: Settings, tmp_path: Path) -> None:
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    with CollectorProcess(tmp_path, environment) as collector:
        collector.wait_until_ready()
        sent = simulated(20_000, 300).events
        senders = Senders(collector, sent)
        senders.wait_for(1_000)
        assert collector.end() == 0, collector.log
        answered = senders.accepted
        found = sum(1 for topic in settings.topics.sources for _ in read_topic(settings, topic))
        assert answered <= found < len(sent)
        collector.start()
        senders.join()

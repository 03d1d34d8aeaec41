"""A worker whose link to the broker is cut for longer than its session, again and again, while another worker's is not,
events keep coming and INSERTs are slow."""

import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline.clickhouse.migrations import migrate
from pipeline.kafka.topics import ensure_topics
from pipeline.settings import Settings
from tests.end_to_end.checks import environment_of
from tests.end_to_end.conftest import FULL, Run
from tests.end_to_end.group import Group
from tests.end_to_end.inputs import Input
from tests.end_to_end.workers import Worker, Workers, wait_until
from tests.patience import SCALE
from tests.tcp_proxy import TcpProxy

CUT_SECONDS = 16.0
"""A session is 10 s, and a rebalance waits as long for members that have not come."""

CUTS = 8 if FULL else 2
BACK_SECONDS = 30.0
INSERT_DELAY = 0.005
"""Seconds that each packet to ClickHouse takes: an INSERT is three or four, a batch some ten INSERTs."""

BATCHES = {"flush_seconds": 0.1, "flush_events": 640}
BACKLOG_SHARE = 0.3
SEND_SECONDS = CUTS * (CUT_SECONDS + 5)


class Feed:
    """Sends an input: a part of it as a backlog, the rest by and by, the last of it when the feed is ended. A fetch
    waits for records most of the time then, and they come at any time: also as a rebalance begins."""

    def __init__(self, settings: Settings, events: Input) -> None:
        backlog = int(len(events.events) * BACKLOG_SHARE)
        Input(events.events[:backlog]).send(settings)
        self._settings, self._rest = settings, events.events[backlog:]
        self._thread = threading.Thread(target=self._send)
        self._is_wanted = True

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Blocks until all is sent, at once from now on."""
        self._is_wanted = False
        self._thread.join(60 * SCALE)
        assert not self._thread.is_alive()

    def _send(self) -> None:
        step = max(1, int(len(self._rest) / SEND_SECONDS))
        first = 0
        while self._is_wanted:
            time.sleep(1)
            if first + step < len(self._rest):
                Input(self._rest[first : first + step]).send(self._settings)
                first += step
        Input(self._rest[first:]).send(self._settings)


@pytest.fixture
def fed(settings: Settings) -> Settings:
    """Tables and topics of this test alone."""
    its = settings.model_copy(update={"topic_prefix": f"l{uuid.uuid4().hex[:12]}"})
    ensure_topics(its)
    migrate(its)
    return its


@pytest.fixture
def fed_run(fed: Settings, mixed: Input, tmp_path: Path) -> Iterator[Run]:
    """`mixed` on its way through workers, of which nothing is sent yet."""
    group = Group(fed)
    with Workers(tmp_path, environment_of(fed, os.environ)) as workers:
        yield Run(fed, mixed, group, workers)
    group.close()


@pytest.mark.slow
def test_a_link_cut_beyond_the_session_again_and_again(fed_run: Run, mixed: Input, broker_link: TcpProxy) -> None:
    """The worker behind it is let in again each time, as is the one that had all partitions meanwhile, whether its
    connections lived or not; nothing is lost or counted twice."""
    run = fed_run
    store = urlsplit(run.settings.clickhouse.get_secret_value())
    assert store.hostname is not None
    assert store.port is not None
    feed = Feed(run.settings, mixed)
    with TcpProxy((store.hostname, store.port), delay=INSERT_DELAY) as slow_store:
        slow = store._replace(netloc=f"{store.username}:{store.password}@{slow_store.address}").geturl()
        near = run.workers.start(**BATCHES, clickhouse=slow)
        far = run.workers.start(**BATCHES, clickhouse=slow, kafka=broker_link.address)
        near.wait_until_ready()
        far.wait_until_ready()
        feed.start()
        try:
            for cut in range(CUTS):
                _wait_for_both(run, near, far)
                (broker_link.sever if cut % 2 else broker_link.cut)()
                time.sleep(CUT_SECONDS)
                assert not is_ready(far)
                broker_link.mend()
            _wait_for_both(run, near, far)
            assert run.group.committed() < run.total, "all was done before the link was whole: nothing is tested"
        finally:
            feed.end()
        slow_store.delay = 0.0
        wait_until(lambda: run.group.committed() == run.total, 90, "not all is committed", lambda: near.tail + far.tail)
        _wait_for_both(run, near, far)
        assert near.end() == 0, near.tail
        assert far.end() == 0, far.tail
    run.workers.catch_up(120)
    run.assert_done()


def is_ready(worker: Worker) -> bool:
    """Whether its /readyz says so."""
    url = re.search(r"status at (http://[^/]+)/", worker.log)
    assert url is not None, worker.tail
    try:
        with urllib.request.urlopen(f"{url[1]}/readyz", timeout=5) as answer:
            return bool(json.load(answer)["ready"])
    except urllib.error.HTTPError:
        return False


def _wait_for_both(run: Run, *workers: Worker) -> None:
    """Until both are in each group as the broker sees it, and say that they are ready."""

    def are_in() -> bool:
        for worker in workers:
            assert worker.alive, worker.tail
        members = {run.group.members(), run.group.members("-conversations")}
        return members == {len(workers)} and all(map(is_ready, workers))

    wait_until(are_in, BACK_SECONDS, "not both are members", lambda: "\n---\n".join(w.tail for w in workers))

"""How a worker ends: soon when it is told to, whatever is away; with a clear error when it cannot go on. Nothing is
lost."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.coordinator.assignors.range import RangePartitionAssignor

from pipeline.clickhouse.client import ClickHouse
from pipeline.embedded.stack import Stack
from pipeline.settings import Settings
from tests.end_to_end.checks import assert_exact, assert_recounted, engagement, environment_of
from tests.end_to_end.conftest import FULL, Run
from tests.end_to_end.inputs import simulated
from tests.end_to_end.test_outages import SLOW
from tests.end_to_end.workers import Worker, Workers, wait_until

INSERTS = "SELECT count() FROM system.processes WHERE query_kind = 'Insert' AND current_database = currentDatabase()"

END_SECONDS = 15.0
"""SIGTERM ends a worker within this."""


AWAY = [("clickhouse", signal.SIGSTOP), ("kafka-1", signal.SIGKILL)]
AWAY += [("clickhouse", signal.SIGKILL), ("kafka-1", signal.SIGSTOP)] if FULL else []


@pytest.mark.parametrize(("part", "how"), AWAY)
def test_sigterm_while_something_is_away(run: Run, fragile_stack: Stack, part: str, how: signal.Signals) -> None:
    """Dead, or there and silent."""
    worker = run.workers.start(**SLOW)
    run.wait_for_commit()
    if how == signal.SIGKILL:
        fragile_stack.kill(part)
    else:
        fragile_stack.signal(part, how)
    time.sleep(2)
    assert worker.alive, worker.tail
    assert worker.end(END_SECONDS) == 0, worker.tail
    if how == signal.SIGSTOP:
        fragile_stack.signal(part, signal.SIGCONT)
    fragile_stack.up()
    assert run.group.committed() < run.total
    run.workers.catch_up()
    run.assert_done()


def test_both_away_at_the_start(run: Run, fragile_stack: Stack) -> None:
    """It waits, ends when told to, and goes on by itself when they are there."""
    fragile_stack.kill("clickhouse")
    fragile_stack.kill("kafka-1")
    told = run.workers.start()
    waiting = run.workers.start("--until-caught-up")
    told.wait_for("does not answer", 60)
    assert told.end(END_SECONDS) == 0, told.tail
    fragile_stack.start("clickhouse")
    waiting.wait_for("Kafka at", 30)
    without_kafka = run.workers.start()
    without_kafka.wait_for("Kafka at", 60)
    assert without_kafka.end(END_SECONDS) == 0, without_kafka.tail
    assert waiting.alive, waiting.tail
    fragile_stack.start("kafka-1")
    assert waiting.wait(120) == 0, waiting.tail
    run.assert_done()


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.7] if FULL else [0.3])
def test_sigterm_in_a_rebalance(run: Run, seconds: float) -> None:
    first = run.workers.start(**SLOW)
    run.wait_for_commit()
    second = run.workers.start(**SLOW)
    second.wait_for("Ready", 60)
    time.sleep(seconds)
    first.signal(signal.SIGTERM)
    assert second.end(END_SECONDS) == 0, second.tail
    assert first.wait(END_SECONDS) == 0, first.tail
    run.workers.catch_up()
    run.assert_done()


def test_a_table_that_someone_altered(run: Run) -> None:
    worker = run.workers.start(**SLOW)
    run.wait_for_commit()
    with ClickHouse(run.settings) as client:
        # An INSERT that is under way while its column gets another name loses it: that is ClickHouse's part, not ours.
        wait_until(lambda: _stands_still(worker, client), 30, "it is always inserting")
        client.execute("ALTER TABLE events RENAME COLUMN url TO uri")
        worker.signal(signal.SIGCONT)
        assert worker.wait(30) == 1, worker.tail
        assert "url" in worker.log.splitlines()[-1]
        assert "engagement init" in worker.log.splitlines()[-1]
        again = run.workers.start()
        assert again.wait(60) == 1, again.tail
        assert "column events.url is missing" in again.log.splitlines()[-1]
        client.execute("ALTER TABLE events RENAME COLUMN uri TO url")
    assert run.group.committed() < run.total
    run.workers.catch_up()
    run.assert_done()


def _stands_still(worker: Worker, client: ClickHouse) -> bool:
    """Stops the worker for as long as it takes; lets it go on where that was in the middle of an INSERT."""
    worker.signal(signal.SIGSTOP)
    time.sleep(0.5)  # what was sent whole is inserted by then
    if client.select(INSERTS) == [[0]]:
        return True
    worker.signal(signal.SIGCONT)
    return False


def test_a_torn_assignment(run: Run) -> None:
    """A member that subscribes to fewer topics would tear the partitions of a post apart."""
    worker = run.workers.start(**SLOW)
    run.wait_for_commit()
    foreign = KafkaConsumer(
        *run.settings.topics.sources[:2],
        bootstrap_servers=run.settings.bootstrap,
        group_id=run.settings.topic_prefix,
        partition_assignment_strategy=[RangePartitionAssignor],
        enable_auto_commit=False,
    )
    with _Polled(lambda: foreign.poll(timeout_ms=100), foreign.close):
        assert worker.wait(60) == 1, worker.tail
        assert "torn assignment" in worker.log.splitlines()[-1], worker.tail
        assert "must subscribe to" in worker.log.splitlines()[-1]
    assert run.group.committed() < run.total
    run.workers.catch_up()
    run.assert_done()


def test_the_fuse(settings: Settings, tmp_path: Path) -> None:
    """A wrong schema does not drain a topic; what was good before it is counted."""
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    good = simulated(2_000, 50)
    good.send(settings)
    with Workers(tmp_path, environment) as workers:
        workers.catch_up()
        producer = KafkaProducer(bootstrap_servers=settings.bootstrap)
        for number in range(3_000):
            producer.send(settings.topics.of("like"), key=b"p", value=b'{"liked":%d}' % number)
        producer.close()
        blown = workers.start()
        assert blown.wait(60) == 1, blown.tail
        assert "dead-letters list" in blown.log.splitlines()[-1], blown.tail
        assert "ENGAGEMENT_FUSE" in blown.log.splitlines()[-1]
        good_again = simulated(2_000, 50, seed=8)
        good_again.send(settings)
        workers.catch_up(fuse_records=100_000)
    assert_exact(settings, {**good.truth, **good_again.truth})
    assert_recounted(environment)
    with ClickHouse(settings) as client:
        assert client.select("SELECT count() FROM dead_letters FINAL") == [[3_000]]


class _Polled:
    """Calls `poll` in a thread, again and again, then `close`."""

    def __init__(self, poll: Callable[[], object], close: Callable[[], object]) -> None:
        self._poll, self._close = poll, close
        self._ended = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._poll()
        self._close()

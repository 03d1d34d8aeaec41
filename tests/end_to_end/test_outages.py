"""Kafka, ClickHouse and other workers that go away and come back while there is work."""

import signal
import time

from pipeline.embedded.stack import Stack
from tests.end_to_end.conftest import FULL, Run
from tests.end_to_end.workers import Worker, wait_until

SLOW = {"flush_seconds": 0.1, "flush_events": 20_000 if FULL else 640, "test_pause": 0.15}
"""Batches of a worker in these tests: small, so that much is left when others come."""

SESSION_SECONDS = 10.0
AWAY_SECONDS = SESSION_SECONDS + 3


def test_the_broker_killed(run: Run, fragile_stack: Stack) -> None:
    worker = run.workers.start(**SLOW)
    committed = 0
    for _ in range(3 if FULL else 1):
        committed = run.wait_for_commit(beyond=committed, seconds=90)
        fragile_stack.kill("kafka-1")
        time.sleep(2)
        assert worker.alive, worker.tail
        fragile_stack.start("kafka-1")
    _wait_for_all(run, worker)
    assert worker.end() == 0, worker.tail
    _finish(run)


def test_clickhouse_away_while_a_worker_joins(run: Run, fragile_stack: Stack) -> None:
    """For longer than a session: nobody loses his place for it."""
    first = run.workers.start(**SLOW)
    run.wait_for_commit()
    fragile_stack.kill("clickhouse")
    second = run.workers.start(**SLOW)
    time.sleep(AWAY_SECONDS)
    assert first.alive, first.tail
    assert second.alive, second.tail
    assert "does not answer" in second.log
    assert run.group.committed() < run.total
    fragile_stack.start("clickhouse")
    second.wait_until_ready()
    _wait_for_all(run, first, second)
    assert first.end() == 0, first.tail
    assert second.end() == 0, second.tail
    _finish(run)


def test_clickhouse_silent_while_a_worker_joins(run: Run, fragile_stack: Stack) -> None:
    """It holds its connections and says nothing: a rebalance does not wait for it."""
    first, second = run.workers.start(**SLOW), run.workers.start(**SLOW)
    first.wait_until_ready()
    second.wait_until_ready()
    run.wait_for_commit()
    fragile_stack.signal("clickhouse", signal.SIGSTOP)
    time.sleep(1)
    begun = first.log.count("partitions of ours")
    second.kill()
    first.wait_for("partitions of ours", SESSION_SECONDS + 10, times=begun + 1)
    fragile_stack.signal("clickhouse", signal.SIGCONT)
    _wait_for_all(run, first)
    assert first.end() == 0, first.tail
    _finish(run)


def test_a_worker_stopped_beyond_its_session(run: Run) -> None:
    """Another takes over; when the first is let go on, in the middle of what it did, it harms nothing."""
    zombie = run.workers.start(**SLOW)
    committed = run.wait_for_commit()
    zombie.signal(signal.SIGSTOP)
    other = run.workers.start(**SLOW)
    run.wait_for_commit(beyond=committed)
    zombie.signal(signal.SIGCONT)
    _wait_for_all(run, zombie, other)
    assert zombie.end() == 0, zombie.tail
    assert other.end() == 0, other.tail
    _finish(run)


def test_three_workers_of_which_two_come_and_go(run: Run) -> None:
    lasting = run.workers.start(**SLOW)
    lasting.wait_until_ready()
    committed = run.wait_for_commit()
    leaving, dying = run.workers.start(**SLOW), run.workers.start(**SLOW)
    leaving.wait_until_ready()
    dying.wait_until_ready()
    committed = run.wait_for_commit(beyond=committed)
    assert leaving.end() == 0, leaving.tail
    dying.kill()
    assert run.group.committed() < run.total, "it had all been done before they went: nothing was tested"
    again = run.workers.start(**SLOW)
    _wait_for_all(run, lasting, again)
    assert again.end() == 0, again.tail
    assert lasting.end() == 0, lasting.tail
    _finish(run)


def _finish(run: Run) -> None:
    """What is committed of events is waited for above; conversations, a group of their own, come after."""
    run.workers.catch_up(120)
    run.assert_done()


def _wait_for_all(run: Run, *workers: Worker) -> None:
    def done() -> bool:
        for worker in workers:
            assert worker.alive, worker.tail
        return run.group.committed() == run.total

    wait_until(done, 900 if FULL else 120, "not all is committed", lambda: "\n---\n".join(w.tail for w in workers))

"""Two live workers of one ENGAGEMENT_INSTANCE: the later one has the name, the earlier one ends and says why.

Of two that start in the same moment both may end."""

import time

from tests.end_to_end.conftest import Run
from tests.end_to_end.test_outages import SLOW
from tests.end_to_end.workers import wait_until

NOTICED_SECONDS = 15.0
"""A heartbeat comes every 3.3 s; the rest is for a busy machine."""

AGAIN = 2
"""Assignments that the worker which stays may get in each of its groups: its own, and one more where the other was
just about to join."""


def test_the_earlier_one_ends_and_names_the_setting(run: Run) -> None:
    first = run.workers.start(instance="one", **SLOW)
    run.wait_for_commit()
    second = run.workers.start(instance="one", **SLOW)
    second.wait_until_ready()
    assert first.wait(NOTICED_SECONDS) == 1, first.tail
    last = first.log.splitlines()[-1]
    assert "ENGAGEMENT_INSTANCE=one" in last
    assert "a name of its own" in last
    time.sleep(8)  # two heartbeats: the name would have changed hands again by then
    assert second.alive, second.tail
    assert second.log.count("partitions of ours:") <= AGAIN, second.log
    assert second.log.count("partitions of conversations:") <= AGAIN, second.log
    assert second.end() == 0, second.tail
    run.workers.catch_up(instance="one")
    run.assert_done()


def test_of_two_that_start_at_once_no_more_than_one_stays(run: Run) -> None:
    """Each may win the name in another one of the worker's groups; then both end, and both say why."""
    pair = [run.workers.start(instance="one", **SLOW) for _ in range(2)]
    wait_until(lambda: not all(worker.alive for worker in pair), 60, "both go on", lambda: pair[0].tail + pair[1].tail)
    time.sleep(8)
    codes = [worker.end() if worker.alive else worker.wait(1) for worker in pair]
    assert codes in ([1, 0], [0, 1], [1, 1])
    for worker, code in zip(pair, codes, strict=True):
        assert code == 0 or "ENGAGEMENT_INSTANCE=one" in worker.log.splitlines()[-1], worker.tail
    run.workers.catch_up(instance="one")
    run.assert_done()

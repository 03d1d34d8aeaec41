"""Workers killed by SIGKILL: after each step of storing, within a step, at any moment. What was stored stays, what was
not is read again, and nothing counts twice."""

import random
import time
from pathlib import Path

import pytest

from processors.engagement.job import ENGAGEMENT_STEPS
from tests.end_to_end.conftest import FULL, Run
from tests.end_to_end.runner import PANES
from tests.end_to_end.test_outages import SESSION_SECONDS

SMALL = {"flush_seconds": 0.1, "flush_events": 40_000 if FULL else 2_500, "test_pause": 0.2}
"""Batches of a worker in these tests: many, so that there is something between two of them."""


@pytest.mark.parametrize("step", [*ENGAGEMENT_STEPS, PANES])
def test_killed_after_a_step(run: Run, tmp_path: Path, step: str) -> None:
    """After "messages" it is between storing and commit."""
    committed = 0
    for number in range(3 if FULL else 1):
        armed = tmp_path / f"armed-{number}"
        worker = run.workers.start("--die-after", step, "--armed-by", str(armed), instance="one", **SMALL)
        committed = run.wait_for_commit(beyond=committed)
        armed.touch()
        assert worker.wait(30) == -9, worker.tail
        assert run.group.committed() < run.total, "it had done all before it died: nothing was tested"
    run.workers.catch_up(instance="one")
    run.assert_done()


def test_killed_at_any_moment(run: Run) -> None:
    rng = random.Random(11)
    committed = 0
    for _ in range(6 if FULL else 2):
        worker = run.workers.start(**SMALL)
        committed = run.wait_for_commit(beyond=committed)
        time.sleep(rng.uniform(0, 0.5))
        worker.kill()
        assert run.group.committed() < run.total, "it had done all before it died: nothing was tested"
    run.workers.catch_up()
    run.assert_done()


def test_a_static_member_is_back_at_once(run: Run) -> None:
    """Killed and started again under the same name it has its partitions before its session has ended. A machine that
    is busy with other things has three tries."""
    worker = run.workers.start(instance="one", **SMALL)
    run.wait_for_commit()
    took: list[float] = []
    while len(took) < 3 and min(took, default=SESSION_SECONDS) >= SESSION_SECONDS - 1:
        worker.kill()
        started = time.monotonic()
        worker = run.workers.start(instance="one", **SMALL)
        worker.wait_until_ready()
        took.append(time.monotonic() - started)
    worker.kill()
    run.workers.catch_up(instance="one")
    run.assert_done()
    assert min(took) < SESSION_SECONDS - 1, "it waited for the session of its earlier self to end"


def test_two_megabytes_of_memory(run: Run) -> None:
    """Posts are evicted and read again from the log, with a crash in between."""
    worker = run.workers.start(test_memory_mb=2, instance="one", **SMALL)
    run.wait_for_commit()
    worker.kill()
    again = run.workers.catch_up(test_memory_mb=2, instance="one", **SMALL)
    assert again.log.count("evicted ") > 1, again.tail
    run.assert_done()

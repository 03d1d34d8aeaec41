"""What agents do about a step of an erasure that comes while they read their state again."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.errors import Unavailable
from pipeline.privacy.erased_hashes import NOTHING_ERASED
from processors import erasure_watch
from processors.conversation.agent import ConversationAgent
from processors.erasure_watch import ErasureWatch, StepAhead
from processors.runtime.batch import Batch
from processors.runtime.memory import MemoryBudget


class Steps:
    """The tables of erasures."""

    def __init__(self) -> None:
        self.step, self.acks, self.told, self.looks = (0, ""), list[int](), list[str](), 0
        self.is_away = False

    def latest(self) -> tuple[int, str]:
        self.looks += 1
        if self.is_away:
            raise Unavailable("away")
        return self.step

    def epoch(self) -> int:
        return self.latest()[0]

    def hashes(self, _: Any) -> Any:
        return NOTHING_ERASED

    def ack(self, _: str, partitions: tuple[int, ...], epoch: int) -> None:
        assert partitions == (0,)
        self.acks.append(epoch)

    def record(self, _: int, step: Any) -> None:
        self.told.append(step.step)


class Clock:
    """A clock that is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(erasure_watch, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def _watch(steps: Steps) -> ErasureWatch:
    watch = ErasureWatch("conversations", steps, None)  # type: ignore[arg-type]
    watch.join()
    watch.assign([0])
    return watch


def test_a_step_breaks_off_what_is_under_way_once_it_is_due(clock: Clock) -> None:
    steps = Steps()
    watch, emptied = _watch(steps), list[int]()
    watch.look(lambda erased, step: emptied.append(0))
    steps.step = (1, "refuse")
    looks = steps.looks
    for _ in range(1000):
        watch.break_off()
    assert steps.looks == looks, "a look is a query: at most one a second"
    clock.now += 1
    with pytest.raises(StepAhead):
        watch.break_off()
    assert (emptied, steps.acks) == ([], []), "the agent takes a step up between two batches alone"
    watch.look(lambda erased, step: emptied.append(1))
    assert (emptied, steps.acks, steps.told) == ([1], [1], [])
    clock.now += 1
    watch.break_off()
    assert steps.looks == looks + 3
    steps.is_away = True
    clock.now += 1
    watch.break_off()  # publishing waits for the store by itself
    assert steps.looks == looks + 4


class Job:
    """A conversation job that says what it is told; `under_way` is called in the middle of a batch."""

    erased, closed_until, judged, memory = NOTHING_ERASED, None, (0, 0), (0, 0)

    def __init__(self, under_way: Callable[[], None] = lambda: None) -> None:
        self.done, self._under_way = list[str](), under_way

    def assign(self, *_: Any) -> None:
        self.done.append("emptied")

    def read_again(self) -> None:
        self.done.append("reads cells again")

    def process(self, *_: Any) -> bool:
        self.done.append("loads")
        self._under_way()
        self.done.append("stored")
        return True


def _agent(watch: ErasureWatch, job: Job) -> ConversationAgent:
    async def run(action: Callable[..., Any], *arguments: Any, **_: Any) -> Any:
        return action(*arguments)

    thread = SimpleNamespace(erasures=watch, judge=lambda judged: None, note_store=lambda error: None, run=run)
    return ConversationAgent(thread, job, MemoryBudget(1 << 30), None)  # type: ignore[arg-type]


async def _one_batch(agent: ConversationAgent) -> bool:
    return await agent.process(Batch([], {}))


def test_a_batch_is_begun_anew_after_each_step_that_came_meanwhile(clock: Clock) -> None:
    steps = Steps()
    watch = _watch(steps)

    def under_way() -> None:
        if steps.step[0] < 3:
            steps.step = (steps.step[0] + 1, "step")
        clock.now += 1
        watch.break_off()

    job = Job(under_way)
    assert asyncio.run(_one_batch(_agent(watch, job)))
    assert job.done == ["loads", "emptied", "loads", "emptied", "loads", "emptied", "loads", "stored"]
    assert steps.acks == [1, 2, 3]


@pytest.mark.parametrize(
    ("came", "done"),
    [
        ((1, "refuse"), []),
        ((1, "fold"), []),
        ((1, "count"), ["reads cells again"]),
        ((1, "roll"), []),
        ((1, "done"), ["emptied"]),
        ((1, "allow"), []),
        ((1, "stale"), ["emptied"]),
        ((1, "a step of a later version"), ["emptied"]),
        ((2, "roll"), ["emptied"]),
    ],
)
def test_an_agent_empties_what_a_step_has_changed(clock: Clock, came: tuple[int, str], done: list[str]) -> None:
    """What is read again costs a minute among millions of closed minutes; steps that went by may have been any."""
    steps, job = Steps(), Job()
    watch = _watch(steps)
    steps.step = came
    assert asyncio.run(_one_batch(_agent(watch, job)))
    assert job.done == [*done, "loads", "stored"]
    assert steps.acks == [came[0]]

"""`engagement work` that can be told to kill itself where no signal from outside would find it.

    python -m tests.end_to_end.runner [--until-caught-up] [--armed-by FILE]
        [--die-after STEP | --hold-events | --hold-minutes]

With --die-after it dies by SIGKILL right after that step (ENGAGEMENT_STEPS, CONVERSATION_STEPS) once FILE is there, or
with `panes` between the two halves of step 2: minutes stored, metrics not. With --hold-events its engagement
agent waits, a batch folded and nothing of it stored, until FILE is gone, and the log names each step from then on. With
--hold-minutes its conversation agent waits before it stores minutes, until FILE is gone.

With ENGAGEMENT_TEST_PAUSE it sleeps so many seconds after each batch: so a fast machine has work left when others come.
With ENGAGEMENT_TEST_MEMORY_MB it has less memory than a setting may say, and its log tells of posts that are evicted.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.clickhouse.client import ClickHouse
from pipeline.errors import EngagementError
from pipeline.observability.metrics import WorkerMetrics
from pipeline.settings import load_settings
from processors.conversation.closing.closing import CONVERSATION_STEPS
from processors.engagement.job import ENGAGEMENT_STEPS
from processors.worker import WorkOptions, run_worker
from schemas.tables import CONVERSATION_MINUTES, EVENTS, POST_MINUTES

PANES = "panes"


def main(arguments: Sequence[str] | None = None) -> None:
    """Exits as `engagement work` does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--until-caught-up", action="store_true")
    parser.add_argument("--die-after", choices=(*ENGAGEMENT_STEPS, PANES, *CONVERSATION_STEPS))
    parser.add_argument("--hold-events", action="store_true")
    parser.add_argument("--hold-minutes", action="store_true")
    parser.add_argument("--armed-by", type=Path)
    given = parser.parse_args(arguments)

    pause = float(os.environ.get("ENGAGEMENT_TEST_PAUSE", "0"))

    def die_after(step: str) -> None:
        if step == given.die_after and given.armed_by.exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if given.hold_events:
            print(f"done: {step}", flush=True)
        if step == ENGAGEMENT_STEPS[-1]:
            time.sleep(pause)

    tell_of_panes(die_after)
    if given.hold_events:
        before_insert(EVENTS.name, lambda: hold(given.armed_by))
    if given.hold_minutes:
        before_insert(CONVERSATION_MINUTES.name, lambda: hold(given.armed_by))
    tell_of_evictions()
    try:
        settings = load_settings()
        memory_mb = int(os.environ.get("ENGAGEMENT_TEST_MEMORY_MB", settings.memory_mb))
        settings = settings.model_copy(update={"memory_mb": memory_mb})
        run_worker(settings, WorkOptions(until_caught_up=given.until_caught_up, after_step=die_after))
    except EngagementError as error:
        print(f"engagement: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def tell_of_panes(tell: Callable[[str], None]) -> None:
    """Calls `tell` after each INSERT of panes."""
    insert = ClickHouse.insert

    def insert_and_tell(self: ClickHouse, table: str, columns: Any) -> int:
        rows = insert(self, table, columns)
        if table == POST_MINUTES.name:
            tell(PANES)
        return rows

    ClickHouse.insert = insert_and_tell  # type: ignore[method-assign]


def before_insert(wanted: str, act: Callable[[], None]) -> None:
    """Calls `act` before each INSERT into a table."""
    insert = ClickHouse.insert

    def act_and_insert(self: ClickHouse, table: str, columns: Any) -> int:
        if table == wanted:
            act()
        return insert(self, table, columns)

    ClickHouse.insert = act_and_insert  # type: ignore[method-assign]


def hold(armed_by: Path) -> None:
    """Blocks while the file is there."""
    if armed_by.exists():
        print("holding", flush=True)
        while armed_by.exists():
            time.sleep(0.1)


def tell_of_evictions() -> None:
    """Has the log say so."""
    count = WorkerMetrics.count_evicted

    def count_and_tell(self: WorkerMetrics, posts: int) -> None:
        if posts:
            print(f"evicted {posts} posts", flush=True)
        count(self, posts)

    WorkerMetrics.count_evicted = count_and_tell  # type: ignore[method-assign]


if __name__ == "__main__":
    main()

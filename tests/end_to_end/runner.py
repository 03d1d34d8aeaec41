"""`engagement work` that can be told to kill itself where no signal from outside would find it.

    python -m tests.end_to_end.runner [--until-caught-up] [--die-after STEP --armed-by FILE]

Once FILE is there it dies by SIGKILL right after that step of the job (processors.engagement.job.STEPS), or with
`panes` between the two halves of step 2: minutes stored, metrics not.
With ENGAGEMENT_TEST_PAUSE it sleeps so many seconds after each batch: so a fast machine has work left when others come.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.clickhouse import ClickHouse
from pipeline.errors import EngagementError
from pipeline.settings import load_settings
from processors.engagement.job import STEPS
from processors.worker import WorkOptions, run_worker
from schemas.tables import POST_MINUTES

PANES = "panes"


def main(arguments: Sequence[str] | None = None) -> None:
    """Exits as `engagement work` does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--until-caught-up", action="store_true")
    parser.add_argument("--die-after", choices=(*STEPS, PANES))
    parser.add_argument("--armed-by", type=Path)
    given = parser.parse_args(arguments)

    pause = float(os.environ.get("ENGAGEMENT_TEST_PAUSE", "0"))

    def die_after(step: str) -> None:
        if step == given.die_after and given.armed_by.exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if step == STEPS[-1]:
            time.sleep(pause)

    tell_of_panes(die_after)
    try:
        run_worker(load_settings(), WorkOptions(until_caught_up=given.until_caught_up, after_step=die_after))
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


if __name__ == "__main__":
    main()

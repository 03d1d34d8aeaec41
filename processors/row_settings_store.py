"""The stored row settings: who compares them with its own, and who replaces them.

a worker at its start    stores values that are not stored yet, and refuses to work with other values; it adopts a
                         higher fold version, so that a new version of the program can be installed worker by worker
a worker at its work     compares every CHECK_SECONDS and after each assignment, and ends once other values have been
                         adopted; an older version of the program works on until it ends
recount --check          compares before it reads rows
recount                  refuses to write rows of another shape
recount --adopt          replaces the stored values, waits until all workers have compared, and writes all rows anew
"""

import logging
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from pipeline.clickhouse.client import ClickHouse
from pipeline.errors import CheckFailed, Unavailable
from processors.row_settings import CODE_SETTING, RECOUNTED, Adopted, is_newer, is_older, mismatches, refusal
from schemas.tables import ROW_SETTINGS

CHECK_SECONDS: Final = 5.0
"""The time between two comparisons of a worker, each a small query of a few milliseconds."""

NOTICE_SECONDS: Final = 2 * CHECK_SECONDS
"""The time that an adoption waits for workers to end. Rows that they store meanwhile are written anew afterwards."""

log = logging.getLogger(__name__)


class StoredRowSettings:
    """The table `row_settings`, on a connection for lists. Every method blocks, and raises Unavailable, Refused."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    def read(self) -> dict[str, Adopted]:
        """Reads the stored value of each setting."""
        columns = self._clickhouse.select(
            "SELECT setting, value, adopted_by, toString(toDateTime(adopted_at, 'UTC')), version "
            f"FROM {ROW_SETTINGS.name} FINAL"
        )
        return {name: Adopted(*row) for name, *row in zip(*columns, strict=True)} if columns else {}

    def write(self, values: Mapping[str, str], command: str, stored: Mapping[str, Adopted]) -> None:
        """Stores values above the stored ones, which were read before."""
        by = f"engagement {command} on {socket.gethostname()}"
        self._clickhouse.insert(
            ROW_SETTINGS.name,
            {
                "setting": list(values),
                "value": list(values.values()),
                "adopted_by": [by] * len(values),
                "version": [stored[name].version + 1 if name in stored else 1 for name in values],
            },
        )


class WorkerAgreement:
    """The agreement of one worker with the stored values. One thread calls it."""

    def __init__(self, here: Mapping[str, str], stored: StoredRowSettings) -> None:
        self._here, self._stored = here, stored
        self._due = 0.0
        self._has_warned = False

    def join(self) -> None:
        """Compares before the worker joins its groups, and stores missing values. Raises SettingsError where values
        differ; Unavailable, Refused."""
        stored = self._stored.read()
        differing = mismatches(self._here, stored)
        newer = next(filter(is_newer, differing), None)
        if refused := [mismatch for mismatch in differing if mismatch is not newer]:
            raise refusal(refused)
        new = {name: value for name, value in self._here.items() if name not in stored}
        if newer is not None:
            log.warning("%s: rows of this version win; once all workers have it, run `engagement recount`", newer)
            new[CODE_SETTING] = newer.here
        if new:
            self._stored.write(new, "work", stored)
        self.look_soon()

    def look_soon(self) -> None:
        """Has the next `check` compare."""
        self._due = 0.0

    def check(self) -> None:
        """Compares before a batch, when a comparison is due. Raises SettingsError once other values have been adopted.
        A store that is away is asked again by the next check."""
        if time.monotonic() < self._due:
            return
        with suppress(Unavailable):
            differing = mismatches(self._here, self._stored.read())
            if refused := [mismatch for mismatch in differing if not is_older(mismatch)]:
                raise refusal(refused)
            if differing and not self._has_warned:
                log.warning("%s: a newer version has come, which may take over from this worker", differing[0])
                self._has_warned = True
        self._due = time.monotonic() + CHECK_SECONDS


def check_for_comparison(here: Mapping[str, str], stored: StoredRowSettings) -> None:
    """Compares before `recount --check`. Raises SettingsError where the stored rows follow from other settings,
    CheckFailed where all rows are older than this program."""
    differing = [mismatch for mismatch in mismatches(here, stored.read()) if mismatch.setting in RECOUNTED]
    if differing and all(map(is_newer, differing)):
        raise CheckFailed(f"{differing[0]}: `engagement recount` writes all rows anew")
    if differing:
        raise refusal(differing)


def agree_for_recount(
    here: Mapping[str, str], stored: StoredRowSettings, adopt: bool, tell: Callable[[str], None]
) -> bool:
    """Replaces the stored values by those of this program, before `recount` writes rows. Returns False where no row has
    to be written for that. Raises SettingsError where values differ that `adopt` is needed for."""
    before = stored.read()
    differing = mismatches(here, before)
    shaping = [mismatch for mismatch in differing if mismatch.setting in RECOUNTED]
    allowed = [mismatch for mismatch in shaping if is_newer(mismatch) or (adopt and not is_older(mismatch))]
    if len(allowed) < len(shaping):
        raise refusal([mismatch for mismatch in shaping if mismatch not in allowed])
    changed = differing if adopt else allowed
    missing = {name: value for name, value in here.items() if name in RECOUNTED and name not in before}
    new = missing | {mismatch.setting: mismatch.here for mismatch in changed}
    if new:
        stored.write(new, "recount", before)
    for mismatch in changed:
        tell(f"adopted {mismatch}")
    if adopt and changed and not shaping:
        tell("no stored row follows from that: start workers with these settings")
        return False
    if any(not is_newer(mismatch) for mismatch in changed):
        tell(f"waiting {NOTICE_SECONDS:g} s: workers with other settings end meanwhile")
        time.sleep(NOTICE_SECONDS)
    return True

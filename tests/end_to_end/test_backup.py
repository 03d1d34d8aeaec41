"""A backup while a worker runs, the loss of all of ClickHouse, and the way back, by the very statements of
docs/operations.md."""

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Final

from pipeline.clickhouse.client import ClickHouse
from tests.end_to_end.checks import engagement, environment_of
from tests.end_to_end.conftest import Run
from tests.end_to_end.test_outages import SLOW
from tests.end_to_end.workers import wait_until

OPERATIONS: Final = Path(__file__).parents[2] / "docs/operations.md"


def statements(database: str, backup: str) -> dict[str, str]:
    """The statements of the section on backups by their first word, for a database and a backup of these names."""
    section = OPERATIONS.read_text().split("\n## Backups\n")[1].split("\n## ")[0]
    found = re.findall(r"```sql\n(.+?)```", section, re.DOTALL)
    assert all("engagement" in statement for statement in found)
    named = [re.sub(r"'engagement-[\d-]+'", f"'{backup}'", statement) for statement in found]
    named = [re.sub(r"\bengagement\b", database, statement) for statement in named]
    by_word = {statement.split()[0]: statement for statement in named}
    assert by_word.keys() == {"BACKUP", "RESTORE", "INSERT", "SELECT"}
    return by_word


def test_all_that_was_lost_comes_back(run: Run) -> None:
    database = run.settings.clickhouse_url.database
    said = statements(database, f"b-{uuid.uuid4().hex[:8]}")
    environment = environment_of(run.settings, os.environ)

    worker = run.workers.start(**SLOW)
    run.wait_for_commit()
    with ClickHouse(run.settings, database="") as client:
        client.execute(said["BACKUP"])
        at_backup = _logged(client, database)
        # Rows, not commits, which come later: what is committed after a backup may lie in it.
        wait_until(lambda: _logged(client, database) > at_backup, 60, "nothing comes any more", lambda: worker.tail)
    assert worker.end() == 0, worker.tail

    with ClickHouse(run.settings, database="") as client:
        before = _logged(client, database)
        client.execute(f"DROP DATABASE {database} SYNC")
        client.execute(said["RESTORE"])
        restored = _logged(client, database)
        client.execute(said["INSERT"])
        # A second of margin, not ten minutes: all records came within some seconds.
        [[read_from]] = client.select(said["SELECT"].replace("INTERVAL 10 MINUTE", "INTERVAL 1 SECOND"))
    assert 0 < restored < before, "nothing was lost: nothing is tested"
    assert engagement(environment, "init") == "all is there: nothing to do\n"
    engagement(environment, "recount")
    work = ["work", "--from", read_from.strftime("%Y-%m-%d %H:%M:%S"), "--until-caught-up"]
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", *work]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    run.assert_done()


def _logged(client: ClickHouse, database: str) -> int:
    """Events in the log."""
    return int(client.select(f"SELECT count() FROM {database}.events FINAL")[0][0])

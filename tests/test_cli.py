"""The command line as a person meets it: a process of its own, its exit code and its two outputs."""

import os
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pipeline.cli import all_commands, engagement
from processors.worker import WorkOptions

NOWHERE = {
    "ENGAGEMENT_KAFKA": "127.0.0.1:1",
    "ENGAGEMENT_CLICKHOUSE": "clickhouse://u:hunter2@127.0.0.1:1/engagement",
}
GROUPS = {
    "alerts": ("check",),
    "collect-keys": ("add", "list", "revoke"),
    "stack": ("up", "down", "status"),
    "dead-letters": ("list", "show", "replay"),
}


def _engagement(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments]
    env = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, check=False)


@pytest.mark.parametrize(
    "command",
    [*([name] for name in all_commands()), *([name, each] for name, them in GROUPS.items() for each in them), []],
)
def test_help_has_an_example(command: list[str]) -> None:
    done = CliRunner().invoke(engagement, [*command, "--help"], prog_name="engagement")
    assert done.exit_code == 0
    assert re.search(rf"Example: .*{' '.join(['engagement', *command])}", done.output)


@pytest.mark.parametrize("command", [["recount", "--check"], ["dead-letters", "list"]])
def test_clickhouse_away_is_one_line_on_stderr(command: list[str]) -> None:
    done = _engagement(*command, **NOWHERE)
    assert done.returncode == 1
    assert not done.stdout
    [line] = done.stderr.splitlines()
    assert line.startswith("engagement: ClickHouse at 127.0.0.1:1 does not answer")
    assert line.endswith("is ENGAGEMENT_CLICKHOUSE right?")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["bogus"], "No such command 'bogus'. There are demo, stack, check,"),
        (["wrok"], "No such command 'wrok'. Did you mean work?"),
        (["Recount"], "No such command 'Recount'. Did you mean recount?"),
        (["dead-letter"], "Did you mean dead-letters?"),
        (["alerts", "chekc"], "No such command 'chekc'. Did you mean check?"),
        (["stack", "start"], "Did you mean status?"),
        (["dead-letters", "resend"], "There are edit, list, replay, show."),
        (["forecast", "fitt"], "Did you mean fit?"),
        (["spikes", "back-test"], "Did you mean backtest?"),
        (["work", "--bogus"], "No such option: --bogus"),
        (["work", "--until-caugth-up"], "Did you mean --until-caught-up?"),
        (["recount", "x"], "x"),
    ],
)
def test_wrong_use(command: list[str], said: str) -> None:
    done = _engagement(*command)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    "said", ["2026-01-01", "2026-01-01 00:00:00", "2026-01-01T00:00:00Z", "2026-01-01T02:00:00+02:00"]
)
def test_work_from_a_time_in_utc_or_with_a_zone(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[WorkOptions] = []
    monkeypatch.setattr("processors.commands.run_worker", lambda settings, options: given.append(options))
    assert CliRunner().invoke(engagement, ["work", "--from", said]).exit_code == 0
    assert given == [WorkOptions(rewind_to=1_767_225_600_000)]


def test_a_setting_that_makes_no_sense_is_wrong_use() -> None:
    done = _engagement("init", ENGAGEMENT_PARTITIONS="many")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("engagement: ENGAGEMENT_PARTITIONS: ")


@pytest.mark.parametrize("time", ["2999-01-01", "2999-01-01T00:00:00+02:00"])
def test_a_worker_cannot_read_again_what_is_still_to_come(time: str) -> None:
    done = CliRunner().invoke(engagement, ["work", "--from", time])
    assert done.exit_code == 2
    assert "is still to come" in done.output

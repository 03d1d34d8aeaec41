"""README, followed line by line as a newcomer does: each command passes, and each query and view shows something."""

import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from deploy.clickhouse.views import all_views
from pipeline.clickhouse.client import ClickHouse
from pipeline.settings import Settings
from tests.end_to_end.workers import wait_until
from tests.patience import SCALE

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
USE_IT = README.split("## Use it")[1].split("\n## ")[0]
ASK_IT = README.split("## Ask it")[1].split("\n## ")[0]

FIRST_BLOCK = re.findall(r"(?:^ {4}\S.*\n)+", USE_IT, re.MULTILINE)[0]
"""The sequence to follow. Blocks behind it need a network."""

COMMANDS = [line.strip() for line in FIRST_BLOCK.splitlines()]
TUTORIAL = (ROOT / "docs/tutorial.md").read_text()
QUERIES = re.findall(r"^```sql\n(.*?)^```", ASK_IT + TUTORIAL, re.MULTILINE | re.DOTALL)
VIEWS = re.findall(r"`(\w+)(?:\(.*?\))?`", " ".join(re.findall(r"^\| (`.*?) \|", ASK_IT, re.MULTILINE)))

ARGUMENTS = {
    "post_metrics_at": "(t = now('UTC'))",
    "post_metrics_active_at": "(t = now('UTC'))",
    **dict.fromkeys(
        ("post_metrics_between", "authors_between", "conversations_between"),
        "(since = now('UTC') - INTERVAL 1 DAY, until = now('UTC'))",
    ),
    "over_performance": "(author = 'acme', channel = (SELECT any(channel) FROM posts_v WHERE author_id = 'acme'))",
    "over_performance_between": "(author = 'acme', channel = (SELECT any(channel) FROM posts_v "
    "WHERE author_id = 'acme'), since = now('UTC') - INTERVAL 1 DAY, until = now('UTC'))",
    "share_of_voice": "(since = now('UTC') - INTERVAL 1 DAY, until = now('UTC'))",
}
CONDITIONS = {
    "carry_over_v": "channels > 1 AND engagement > 0",
    "over_performance_v": "over_performance_default IS NOT NULL",
    "conversation_spikes_v": "conversation = 'hashtag:launch'",
}
"""What makes a row of a view worth looking at."""

LATER: Final = {"forecast_versions_v", "forecast_habits_v"}
"""Views without rows until posts of the made-up day have finished, which takes a week of event time."""

SPIKE_SECONDS = 120.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout as after `make setup`: the stack of whoever runs the tests is another one."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "deploy").symlink_to(ROOT / "deploy")
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[ClickHouse]:
    """ClickHouse after all commands but the last ones, which end what runs; these run when the tests are over."""
    last = next(number for number, line in enumerate(COMMANDS) if line.startswith("kill"))
    pause = "env > said; while [ ! -e asked ]; do sleep 0.2; done"
    script = "\n".join(["set -e", *COMMANDS[:last], pause, *COMMANDS[last:], "touch ended"])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ENGAGEMENT_")}
    with (folder / "log").open("wb") as log:
        shell = subprocess.Popen(
            ["bash", "-c", script], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )

    def has_come(name: str) -> bool:
        assert shell.poll() is None or (folder / name).exists(), (folder / "log").read_text()[-3000:]
        return (folder / name).exists()

    try:
        wait_until(lambda: has_come("said"), 240, "README's commands take too long", (folder / "log").read_text)
        said = dict(line.split("=", 1) for line in (folder / "said").read_text().splitlines() if "=" in line)
        with ClickHouse(Settings(clickhouse=said["ENGAGEMENT_CLICKHOUSE"])) as client:  # type: ignore[arg-type]
            yield client
        (folder / "asked").touch()
        wait_until(lambda: has_come("ended"), 60, "README's last commands do not end it", (folder / "log").read_text)
        assert shell.wait(10) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
        subprocess.run(
            [sys.executable, "-c", "from pipeline.cli import main; main()", "stack", "down"], cwd=folder, check=False
        )


def test_there_is_something_to_follow() -> None:
    assert len(COMMANDS) >= 7
    assert [shlex.split(line, comments=True)[0] for line in COMMANDS[-2:]] == ["kill", "engagement"]
    assert len(QUERIES) >= 7
    assert set(VIEWS) >= set(ARGUMENTS) | set(CONDITIONS) | LATER
    assert set(VIEWS) <= {view.name for view in all_views()}


def test_the_tutorial_has_the_same_commands_in_the_same_order() -> None:
    """So the tests that follow README follow the tutorial, too."""
    blocks = re.findall(r"^```sh\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL)
    told = [line for block in blocks for line in block.splitlines()]
    assert [shlex.split(line) for line in told] == [shlex.split(line, comments=True) for line in COMMANDS]


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_pass_and_the_rows_agree(client: ClickHouse, folder: Path) -> None:
    log = (folder / "log").read_text()
    assert re.search(r"^sent 10,\d{3} events \(.*posts.*\) in ", log, re.MULTILINE)
    assert re.search(r"^200 posts, 10,\d{3} events: 0 differences$", log, re.MULTILINE)


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("query", QUERIES, ids=[query.splitlines()[0].removeprefix("-- ")[:40] for query in QUERIES])
def test_every_query_shows_something(client: ClickHouse, query: str) -> None:
    found = client.select(query)
    assert found, "no rows"
    names = client.select(f"DESCRIBE ({query})")[0]
    unknown = {name for name, column in zip(names, found, strict=True) if all(value is None for value in column)}
    # Where R_t is known of each post there is no reason why not, and where they have all faded there is only a reason.
    assert unknown in (set(), {"spread_reason"}, {"reproduction"}), "columns without any value"


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("view", [view for view in VIEWS if view not in LATER])
def test_every_view_has_rows(client: ClickHouse, view: str) -> None:
    sql = f"SELECT count() FROM {view}{ARGUMENTS.get(view, '')} WHERE {CONDITIONS.get(view, 'true')}"
    wait_until(
        lambda: client.select(sql)[0][0] > 0,
        SPIKE_SECONDS if view == "conversation_spikes_v" else 2 / SCALE,
        f"{view} is empty",
        pause=0.5,
    )


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_curl_reaches_it(client: ClickHouse, folder: Path) -> None:
    """README's `curl`, with the address that `stack up` prints and the password where docs/operations.md says."""
    assert "curl -u reader:PASSWORD 'http://HOST:PORT/?database=engagement' --data-binary\n'SELECT ...'" in USE_IT
    [address] = set(re.findall(r"(http://127\.0\.0\.1:\d+)$", (folder / "log").read_text(), re.MULTILINE))
    [find] = re.findall(r"\| `reader` \|.*\| `(python -c .*)` \|$", OPERATIONS, re.MULTILINE)
    script = f'. .venv/bin/activate; echo "reader:$({find})"'
    found = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    login = b64encode(found.stdout.strip().encode()).decode()
    request = urllib.request.Request(
        f"{address}/?database=engagement",
        data=b"SELECT count() FROM posts_v",
        headers={"Authorization": f"Basic {login}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.read() == b"200\n"

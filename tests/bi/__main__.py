"""Asks a seeded database through BI tools, each in an environment of its own, and compares with clickhouse-driver.

    python -m tests.bi [--only superset]      (make check-bi)

The environments are made in .cache/bi: one for libraries and dbt, one for Superset, 1.4 GB in all. The tools log in as
the user who only reads. Exit 1 where a number differs or a tool fails.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import click

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.embedded.clickhouse import DATABASE, READER
from pipeline.embedded.stack import Stack
from pipeline.embedded.state import load_state
from pipeline.settings import Settings
from tests.bi.seeding import fill_with_past

ROOT: Final = Path(__file__).resolve().parents[2]
CACHE: Final = ROOT / ".cache/bi"
TOOLS: Final = Path(__file__).with_name("tools")

LIBRARIES: Final = (
    "sqlalchemy>=2,<3",
    "clickhouse-connect==1.12.0",
    "clickhouse-sqlalchemy==0.3.2",
    "pandas",
    "dbt-core<1.12",
    "dbt-clickhouse==1.10.3",
    "setuptools",
)
SUPERSET: Final = (
    "apache-superset==6.1.0",
    "clickhouse-connect==1.12.0",
    "rich",
    "cachetools",
    "flask-caching==2.3.1",
    "setuptools",
)
CHECKS: Final = {
    "libraries": ("tools", LIBRARIES),
    "dbt_sources": ("tools", LIBRARIES),
    "superset": ("superset", SUPERSET),
}
"""Script in tests/bi/tools -> its environment, and what the environment has."""

Numbers = dict[str, Any]


@click.command()
@click.option("--only", type=click.Choice(sorted(CHECKS)), help="One check alone.")
def main(only: str | None) -> None:
    """Prints a line for each number of each tool."""
    failures = 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the stack is stopped
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "stack")
        try:
            asked = seeded(stack, Path(folder))
            for name, (environment, packages) in CHECKS.items():
                if only in (None, name):
                    python = environment_with(environment, packages)
                    failures += check(name, python, asked, Path(folder) / name)
        finally:
            stack.down()
    sys.exit(failures > 0)


def seeded(stack: Stack, folder: Path) -> Numbers:
    """Starts the stack, fills its database, and returns where it is and what clickhouse-driver says of it."""
    addresses = stack.up()
    settings = Settings(kafka=addresses.kafka, clickhouse=addresses.clickhouse, metrics_port=0)  # type: ignore[arg-type]
    migrate(settings)
    past = fill_with_past(settings, folder)
    state = load_state(stack.directory)
    assert state is not None
    since = (past.now.replace(minute=30) - 3 * (past.now - past.since(1))).strftime("%Y-%m-%d %H:%M:%S")
    by_hour = f"SELECT toString(hour), sum(likes) FROM post_minutes_v WHERE minute >= '{since}' GROUP BY hour"
    questions = {
        "posts, likes, comments": "SELECT count(), sum(likes), sum(comments) FROM post_metrics_v",
        "posts by kind": "SELECT kind, sum(posts) FROM conversation_minutes_v GROUP BY kind ORDER BY kind",
        "likes by hour": f"{by_hour} ORDER BY hour",
    }
    truths = {name: rows(past.client, sql) for name, sql in questions.items()}
    views = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View' ORDER BY name"
    truths["views"] = rows(past.client, views)
    past.client.close()
    return {
        "host": "127.0.0.1",
        "http_port": state.clickhouse_http,
        "tcp_port": state.clickhouse_tcp,
        "user": READER,
        "password": state.reader_password.get_secret_value(),
        "database": DATABASE,
        "since": since,
        "questions": questions,
        "truths": truths,
    }


def rows(client: ClickHouse, sql: str) -> list[list[Any]]:
    """Returns the rows of an answer."""
    return [list(row) for row in zip(*client.select(sql), strict=True)]


def environment_with(name: str, packages: tuple[str, ...]) -> Path:
    """Makes the environment where it is missing, and returns its Python. Raises CalledProcessError."""
    python = CACHE / name / "bin/python"
    marker = CACHE / f"{name}.ready"
    if not marker.exists() or marker.read_text() != "\n".join(packages):
        say(f"installing {name} into {CACHE / name}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", CACHE / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        marker.write_text("\n".join(packages))
    return python


def check(name: str, python: Path, asked: Numbers, folder: Path) -> int:
    """Runs a script, which prints a JSON object of numbers a line, and returns how many of them differ."""
    folder.mkdir()
    began = time.monotonic()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ENGAGEMENT_", "PYTHON"))}
    done = subprocess.run(
        [python, TOOLS / f"{name}.py"],
        input=json.dumps(asked),
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment | {"HOME": str(folder)},
        check=False,
    )
    failures = done.returncode != 0
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"tool"')]
    for each in said:
        truth = asked["truths"].get(each["question"], each.get("expected"))
        is_right = each["answer"] == truth
        failures += not is_right
        print(f"{'ok' if is_right else 'WRONG':<6}{each['tool']}: {each['question']}")
        if not is_right:
            print(f"      {each['answer']}\n      clickhouse-driver: {truth}")
    if not said or done.returncode:
        print(f"FAILED {name}: exit code {done.returncode}, {len(said)} answers")
    say(f"{name}: {len(said)} answers in {time.monotonic() - began:.0f} s")
    return failures + (not said)


def say(text: str) -> None:
    """Prints a line about the work."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

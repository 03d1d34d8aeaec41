"""What people ask of the database, and what each answer costs: every query of README, every panel of the dashboards at
its default range, and the analyst's questions of docs/bi.md.

    python benchmarks/queries.py [--posts 1000000] [--only PATTERN] [--dir FOLDER] [--json] [--against FILE]

Starts a ClickHouse of its own, fills a database (benchmarks/_filling.py) and asks each query three times as the user
who reads only. Printed are the medians of the seconds by the clock and of the server's CPU, the rows that were read,
the rows that the query's own range holds (benchmarks/_asked.py), the peak of the memory, and whether the budget was
kept: 0.5 s and three times the rows of the range, 0.05 s where one post or one conversation is asked for. With --dir
the filled database is kept and used again, after `init` has brought it to this version. With --against, a file that
--json printed at another number of posts, each query as of now also gets the growth of its CPU since then, which may be
1.5 times. Exit 1 where a budget is not kept.
"""

import http.client
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click
import psutil
from _asked import Asked, asked_queries, rows_of_range
from _filling import fill, roll_days

from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.embedded.clickhouse import DATABASE, READER, clickhouse_serves, start_clickhouse
from pipeline.embedded.endpoints import endpoints_of
from pipeline.embedded.ports import HOST, find_free_port
from pipeline.embedded.processes import stop
from pipeline.embedded.state import StackState, kept_password
from pipeline.settings import Settings

REPEATS: Final = 3
MOST_SECONDS: Final = 0.5
MOST_SECONDS_OF_ONE: Final = 0.05
MOST_ROWS: Final = 3
MOST_GROWTH: Final = 1.5
LEAST_CPU_SECONDS: Final = 0.05
"""Less CPU than this is taken for as much: planning a query and the clock of the process are as long."""

AS_OF_NOW: Final = re.compile(r"\b(\w+_active_v|share_of_voice_v)\b")
"""The views of what goes on: active posts and conversations."""

LEAST_ROWS: Final = 100_000
"""Rows that any query may read: a range that holds a few still takes whole granules of each column."""

START_SECONDS: Final = 120.0
FILLED: Final = "posts"
"""The file of a kept database that says how many posts it has."""


@dataclass(frozen=True)
class Cost:
    """The cost of a query: seconds by the clock and of the server's CPU (medians), rows read, rows of the query's own
    range, peak memory in MiB, or why it failed."""

    where: str
    title: str
    seconds: float
    cpu_seconds: float
    rows_read: int
    rows_of_range: int
    memory_mib: float
    most_seconds: float
    is_of_now: bool
    error: str = ""

    @property
    def most_rows(self) -> int:
        return max(MOST_ROWS * self.rows_of_range, LEAST_ROWS)

    @property
    def verdict(self) -> str:
        """Says whether the budget is kept, and if not, by what."""
        if self.error:
            return f"FAILED: {self.error}"
        over = [
            *(["slow"] if self.seconds > self.most_seconds else []),
            *(["rows"] if self.rows_read > self.most_rows else []),
        ]
        return "over: " + ", ".join(over) if over else "kept"


@click.command()
@click.option("--posts", default=1_000_000, show_default=True, help="50,000 are of one day.")
@click.option("--only", default="", help="A regular expression: only queries whose place and title it is found in.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where the database is kept.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a query.")
@click.option("--against", type=click.Path(exists=True, path_type=Path), help="What --json printed at other posts.")
def main(posts: int, only: str, folder: Path | None, as_json: bool, against: Path | None) -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as temporary, server(folder or Path(temporary)) as (state, process):
        settings = Settings(clickhouse=endpoints_of(state).clickhouse)  # type: ignore[arg-type]
        migrate(settings)
        with ClickHouse(settings) as client:
            filled = (folder or Path(temporary)) / FILLED
            if not filled.exists():
                fill(client, posts, say)
                filled.write_text(str(posts))
            posts = int(filled.read_text())
            roll_days(client)
            say(f"{posts:,} posts, {sizes(client)}")
            costs = []
            for asked in asked_queries(client):
                if re.search(only, f"{asked.where}: {asked.title}"):
                    costs.append(cost_of(client, state, process, asked))
                    print(json.dumps(shown(costs[-1])) if as_json else line(costs[-1]), flush=True)
    kept = [cost for cost in costs if cost.verdict == "kept"]
    say(f"{len(kept)} of {len(costs)} within their budget at {posts:,} posts")
    grown = growth(costs, against.read_text()) if against else {}
    for name, ratio in sorted(grown.items(), key=lambda item: item[1]):
        say(f"{name:<58}{ratio:8.2f} x the CPU")
    if grown:
        few = sum(ratio <= MOST_GROWTH for ratio in grown.values())
        say(f"{few} of {len(grown)} queries as of now took at most {MOST_GROWTH} x the CPU of {against}")
    sys.exit(len(kept) < len(costs) or any(ratio > MOST_GROWTH for ratio in grown.values()))


def growth(costs: list[Cost], lines: str) -> dict[str, float]:
    """Returns the CPU of each query as of now, divided by that of the same query in an earlier run's lines of JSON."""
    earlier = {
        f"{row['where']}: {row['title']}": float(row["cpu_seconds"]) for row in map(json.loads, lines.splitlines())
    }
    named = ((f"{cost.where}: {cost.title}", cost) for cost in costs if cost.is_of_now)
    return {
        name: max(cost.cpu_seconds, LEAST_CPU_SECONDS) / max(earlier[name], LEAST_CPU_SECONDS)
        for name, cost in named
        if name in earlier
    }


@contextmanager
def server(folder: Path) -> Iterator[tuple[StackState, psutil.Process]]:
    """Runs ClickHouse with the data of a folder."""
    tcp = find_free_port(())
    state = StackState(
        cluster_id="queries",
        brokers=[],
        clickhouse_tcp=tcp,
        clickhouse_http=find_free_port((tcp,)),
        password=kept_password(None),
        reader_password=kept_password(None),
    )
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    process = start_clickhouse(folder, state, folder / "log")
    try:
        end = time.monotonic() + START_SECONDS
        while not clickhouse_serves(state):
            if time.monotonic() > end:
                sys.exit(f"ClickHouse does not answer: see {folder / 'log'}")
            time.sleep(0.2)
        yield state, psutil.Process(process.pid)
    finally:
        stop(process, grace=60)


def cost_of(client: ClickHouse, state: StackState, process: psutil.Process, asked: Asked) -> Cost:
    """Asks a query some times, as the reader does over HTTP; the answer's summary says what was read."""
    budget = MOST_SECONDS_OF_ONE if asked.of_one else MOST_SECONDS
    seconds, cpu, rows, memory, error = [], [], 0, 0, ""
    for _ in range(REPEATS):
        began, used = time.perf_counter(), sum(process.cpu_times()[:2])
        summary, error = ask(state, asked.sql)
        seconds.append(time.perf_counter() - began)
        cpu.append(sum(process.cpu_times()[:2]) - used)
        rows = max(rows, int(summary.get("read_rows", 0)))
        memory = max(memory, int(summary.get("memory_usage", 0)))
        if error:
            break
    return Cost(
        where=asked.where,
        title=asked.title,
        seconds=round(statistics.median(seconds), 3),
        cpu_seconds=round(statistics.median(cpu), 3),
        rows_read=rows,
        rows_of_range=rows_of_range(client, asked),
        memory_mib=round(memory / 2**20, 1),
        most_seconds=budget,
        is_of_now=AS_OF_NOW.search(asked.sql) is not None,
        error=error,
    )


def ask(state: StackState, sql: str) -> tuple[dict[str, str], str]:
    """Returns the summary of a query and the first line of its error, if any."""
    connection = http.client.HTTPConnection(HOST, state.clickhouse_http, timeout=120)
    try:
        credentials = {"X-ClickHouse-User": READER, "X-ClickHouse-Key": state.reader_password.get_secret_value()}
        path = f"/?database={DATABASE}&wait_end_of_query=1&default_format=Null"
        connection.request("POST", path, body=sql.encode(), headers=credentials)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        summary = json.loads(answer.headers.get("X-ClickHouse-Summary") or "{}")
        return summary, "" if answer.status == 200 else text.splitlines()[0][:200]
    except TimeoutError:
        return {}, "no answer within 120 s"
    finally:
        connection.close()


def sizes(client: ClickHouse) -> str:
    """Tells the rows and bytes of the larger tables."""
    columns = client.select(
        "SELECT name, total_rows, total_bytes FROM system.tables WHERE database = currentDatabase() "
        "AND total_rows > 1000 ORDER BY total_rows DESC"
    )
    return ", ".join(f"{name} {rows:,} ({size / 2**20:,.0f} MiB)" for name, rows, size in zip(*columns, strict=True))


def line(cost: Cost) -> str:
    """Writes a row of the table."""
    times = f"{cost.seconds:8.3f} s {cost.cpu_seconds:6.2f} s CPU"
    numbers = f"{times} {cost.rows_read:12,} {cost.rows_of_range:12,} {cost.memory_mib:6.0f} MiB"
    return f"{cost.where + ': ' + cost.title:<58}{numbers}  {cost.verdict}"


def shown(cost: Cost) -> dict[str, object]:
    """Returns the row as --json prints it."""
    return asdict(cost) | {"most_rows": cost.most_rows, "verdict": cost.verdict}


def say(text: str) -> None:
    """Prints a line about the work, beside the table."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

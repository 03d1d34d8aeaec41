"""`engagement demo`: a tour on the embedded stack that shows results and checks them against a recount."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

import deploy
from pipeline.clickhouse.client import ClickHouse
from pipeline.demo.page import go_on, open_page
from pipeline.demo.stage import Worker, freshness, run_command
from pipeline.embedded.stack import Stack
from pipeline.errors import CheckFailed
from pipeline.settings import Settings
from schemas.alert_words import in_digits, rate_in_words
from schemas.topics import KINDS

FOLDER: Final = Path(".engagement/demo")
BRANDS_EXAMPLE: Final = Path(deploy.__file__).with_name("brands.example.yaml")
BACKLOG_OPTIONS: Final = ("--events", "200000", "--posts", "4000", "--seed", "7", "--hours", "24", "--start", "now")
AWKWARD: Final = (
    "--duplicates",
    "0.05",
    "--out-of-order",
    "0.02",
    "--late",
    "0.01",
    "--awkward",
    "0.01",
    "--malformed",
    "0.0005",
)
SPIKE: Final = ("--spike", "hashtag:launch@1380x8")
LIVE_OPTIONS: Final = (
    "--events",
    "20000",
    "--posts",
    "300",
    "--seed",
    "8",
    "--hours",
    "2",
    "--start",
    "now",
    "--rate",
    "2000",
)
WAIT_SECONDS: Final = 120.0

HOTTEST_POSTS: Final = """
SELECT post_id, author_id, channel, likes, shares, comments, actors, likes_5m, likes_1h, likes_24h,
       round(likes_velocity_1h, 2), round(score_default_24h), round(hot_6h_now, 1)
FROM post_metrics_v ORDER BY hot_6h_now DESC NULLS LAST LIMIT 8
"""
HOTTEST_POSTS_HEADS: Final = (
    "post", "author", "channel", "likes", "shares", "comments", "actors",
    "likes 5m", "1h", "24h", "a minute (1h)", "score 24h", "hot",
)  # fmt: skip
SPREAD: Final = """
SELECT post_id, shares, round(forecast_shares_next_1h, 1), round(reproduction, 2), share_depth, share_max_breadth,
       round(share_structural_virality, 2), round(forecast_shares), round(half_life_shares), comments, comments_actors,
       thread_h_index, round(thread_reciprocity, 2), unanswered
FROM post_metrics_v ORDER BY forecast_shares_next_1h DESC NULLS LAST, post_id LIMIT 5
"""
SPREAD_HEADS: Final = (
    "post", "shares", "next hour", "R", "depth", "breadth", "virality", "in the end", "half-life", "comments",
    "voices", "h-index", "reciprocity", "unanswered",
)  # fmt: skip
TALKED_ABOUT: Final = """
SELECT conversation, posts, comments, shares, likes, voices, channels, posts_1h + comments_1h, minutes
FROM conversations_v WHERE NOT startsWith(conversation, 'thread:')
ORDER BY posts_1h + comments_1h DESC, conversation LIMIT 6
"""
TALKED_ABOUT_HEADS: Final = (
    "conversation", "posts", "comments", "shares", "likes", "voices", "channels", "posts + comments 1h", "minutes",
)  # fmt: skip
SPIKES: Final = """
SELECT conversation, toString(started_at), state, severity, observed, expected, ratio, scale_minutes, voices
FROM conversation_spikes_v ORDER BY startsWith(conversation, 'hashtag:') DESC, ratio DESC, conversation LIMIT 5
"""
SPIKES_HEADS: Final = (
    "conversation", "began", "now", "severity", "comments and posts", "usual", "times", "over minutes", "voices",
)  # fmt: skip
EVENTS_BY_KIND: Final = """
SELECT toString(kind), countIf(action = 'add'), countIf(action = 'retract')
FROM events FINAL GROUP BY kind ORDER BY kind
"""
DEAD_REASONS: Final = (
    "SELECT reason, count() FROM dead_letters FINAL GROUP BY reason ORDER BY count() DESC, reason LIMIT 4"
)

NEXT_STEPS: Final = (
    ". .venv/bin/activate",
    'eval "$(engagement stack up)"',
    "engagement init",
    "engagement work &",
    "engagement bluesky",
)
"""Commands that connect the first real source, which needs no account."""


@click.command(epilog="Example: engagement demo --keep")
@click.option("--keep", is_flag=True, help="Go on with a live simulation behind the page, until Ctrl-C.")
def demo(keep: bool) -> None:
    """Send a simulated day of a social network through Kafka and Faust into ClickHouse, and show the results.

    Prints the address of the live page, where the numbers can be watched. Ends in a minute or two, with --keep at
    Ctrl-C, and leaves nothing running. Exits with 1 when the numbers are not equal to a recount.
    """
    stack = Stack(FOLDER)
    stack.down()
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        addresses = stack.up()
        environment = addresses.environment() | {"ENGAGEMENT_BRANDS": str(BRANDS_EXAMPLE)}
        _title("A real Kafka and a real ClickHouse, on this machine")
        _say(f"Kafka {addresses.kafka}   ClickHouse {addresses.without_password.clickhouse}")
        with open_page(environment, FOLDER / "page.log") as page:
            _say(f"the live page: {click.style(page, bold=True)}")
            exact = _play(environment, ClickHouse(Settings(clickhouse=addresses.clickhouse)))
            if keep:
                _say(f"\nlive from now on, a spike of #launch begins in two minutes: {click.style(page, bold=True)}")
                _say(f'in another terminal: eval "$(engagement stack up --dir {FOLDER})"; Ctrl-C ends all of it')
                go_on(environment, FOLDER)
    finally:
        stack.down()
    if not exact:
        raise CheckFailed("the derived rows are not equal to a recount of the log: this is a defect, please report it")
    _say("\nnext, a real network: " + "; ".join(NEXT_STEPS).replace("&;", "&"))
    if not keep:
        _say("  (to look around: engagement demo --keep)")
    _say("  (needs no account; Mastodon, GitHub, files, topics and webhooks: docs/sources.md)")


def _play(environment: dict[str, str], clickhouse: ClickHouse) -> bool:
    """Runs the tour; returns whether the derived rows are equal to a recount."""
    run_command(["init"], environment)
    _title("What was sent: a day with everything that goes wrong in one")
    sent = run_command(["simulate", *BACKLOG_OPTIONS, *AWKWARD, *SPIKE], environment)
    _table((*(f"{kind}s" for kind in KINDS), "malformed", "records", "sent a second"), [_sent(sent)])
    work = _run_worker(environment, sent["total"] + sent["malformed"])
    _show_counts(clickhouse, work.after)
    _show_tables(clickhouse)
    _show_speed(work, sent["total"] + sent["malformed"])
    _title("Is it right?")
    check = run_command(["recount", "--check"], environment)
    clickhouse.close()
    exact = bool(check["differences"] == 0)
    _say(
        f"{check['events']:,} events of {check['posts']:,} posts counted again from the log: {check['differences']} "
        "differences"
    )
    _say(
        click.style(f"equal to an exact recount: {'yes' if exact else 'NO'}", fg="green" if exact else "red", bold=True)
    )
    return exact


@dataclass(frozen=True)
class _Work:
    """How the worker did: seconds for the backlog, live events a second, samples of /metrics around the live events."""

    backlog_seconds: float
    live_per_second: float
    before: dict[tuple[str, str], float]
    after: dict[tuple[str, str], float]


def _run_worker(environment: dict[str, str], records: int) -> _Work:
    """Has a worker process the backlog of so many records, then live events."""
    worker = Worker(environment, FOLDER / "worker.log")
    try:
        worker.wait_ready()
        started = time.monotonic()
        worker.wait_until_judged(records, WAIT_SECONDS)
        seconds = time.monotonic() - started
        before = worker.samples()
        live = run_command(["simulate", *LIVE_OPTIONS], environment)
        worker.wait_until_judged(records + live["total"], WAIT_SECONDS)
        return _Work(seconds, live["per_second"], before, worker.samples())
    finally:
        worker.stop()


def _show_counts(clickhouse: ClickHouse, samples: dict[tuple[str, str], float]) -> None:
    _title("What was counted")
    kinds = dict.fromkeys(KINDS, (0, 0)) | {row[0]: row[1:] for row in _rows(clickhouse, EVENTS_BY_KIND)}
    _table(("kind", "distinct", "taken back"), [(kind, *counts) for kind, counts in kinds.items()])
    outcomes = {outcome: _total(samples, outcome) for outcome in ("new", "late", "duplicate", "conflicting", "dead")}
    _say("records: " + ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items()))
    for reason, count in _rows(clickhouse, DEAD_REASONS):
        _say(f"  {count:>5,} dead letters: {reason}"[:118])


def _show_tables(clickhouse: ClickHouse) -> None:
    for title, heads, sql in (
        ("The hottest posts, as of now (SELECT ... FROM post_metrics_v)", HOTTEST_POSTS_HEADS, HOTTEST_POSTS),
        ("What spreads, and whether people talk to each other", SPREAD_HEADS, SPREAD),
        ("What is talked about (SELECT ... FROM conversations_v)", TALKED_ABOUT_HEADS, TALKED_ABOUT),
        ("What is suddenly talked about (SELECT ... FROM conversation_spikes_v)", SPIKES_HEADS, SPIKES),
    ):
        _title(title)
        rows = _rows(clickhouse, sql)
        _table(heads, _with_words(rows) if sql is SPIKES else rows)


def _with_words(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Returns rows of SPIKES with rates and ratio as people write them."""
    return [
        [
            *row[:4],
            rate_in_words(row[4]),
            "none" if row[6] is None else rate_in_words(row[5]),
            "" if row[6] is None else in_digits(row[6]),
            *row[7:],
        ]
        for row in rows
    ]


def _show_speed(work: _Work, records: int) -> None:
    _title("How fast")
    _say(
        f"backlog: {records / work.backlog_seconds:,.0f} events a second through one worker, Kafka and ClickHouse "
        "beside it"
    )
    bounds = [freshness(work.before, work.after, share) for share in (0.5, 0.99)]
    _say(
        f"live, {work.live_per_second:,.0f} events a second: half of the events could be queried within "
        f"{bounds[0]:g} s, 99 % within {bounds[1]:g} s"
    )


def _sent(sent: dict[str, Any]) -> tuple[Any, ...]:
    kinds = sent["sent"]
    records = sent["total"] + sent["malformed"]
    return (
        *(kinds.get(kind, 0) for kind in KINDS),
        sent["malformed"],
        records,
        round(sent["per_second"]),
    )


def _total(samples: dict[tuple[str, str], float], outcome: str) -> int:
    return int(
        sum(
            value
            for (name, labels), value in samples.items()
            if name == "engagement_events_total" and f'outcome="{outcome}"' in labels
        )
    )


def _rows(clickhouse: ClickHouse, sql: str) -> list[tuple[Any, ...]]:
    return list(zip(*clickhouse.select(sql), strict=True))


def _title(text: str) -> None:
    click.echo("\n" + click.style(text, bold=True))


def _say(text: str) -> None:
    click.echo(text)


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints a table, with columns of numbers aligned to the right."""
    texts = [[_text(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
    numbers = [all(isinstance(row[place], int | float | None) for row in rows) for place in range(len(heads))]
    for line in (heads, *texts):
        cells = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numbers, strict=True)
        )
        click.echo("  " + "  ".join(cells).rstrip())


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int | float) else str(value)

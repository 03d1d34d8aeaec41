"""The commands `replay` and `simulate`."""

import hashlib
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from pipeline.event_files import STDIN
from pipeline.publisher import open_publisher
from pipeline.settings import Settings, load_settings
from producers.bookmark import Bookmark
from producers.event_lines import read_post_csv
from producers.pacing import PacePolicy
from producers.progress import Progress
from producers.simulation.policy import PlantedSpike, SimulationPolicy
from producers.simulation.records import simulated_records
from producers.sources.replay import ReplayPolicy
from producers.sources.replay import replay as send_files
from producers.sources.simulate import paced, send_records, write_records
from producers.summary import Summary

SHARE: Final = click.FloatRange(0, 1)


@click.command()
@click.argument("events", nargs=-1, required=True)
@click.option(
    "--posts", type=click.Path(path_type=Path), help="CSV: post_id,author_id,created_at,channel; sent as post events."
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds of event time a second; as fast as it can without.",
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="At most so many events a second.")
@click.option(
    "--resume", is_flag=True, help="Go on where the last --resume of these files stopped, and keep a bookmark."
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="The bookmark's file; by default one below ~/.local/state/engagement.",
)
@click.option("--strict", is_flag=True, help="Stop at the first bad line instead of skipping it.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON on stdout.")
def replay(
    events: tuple[str, ...],
    posts: Path | None,
    speed: float | None,
    rate: float | None,
    resume: bool,
    state: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Send files of EVENTS (- is stdin) into Kafka: our NDJSON or the cascades format, plain or gzipped.

    \b
    Example: engagement replay cascades.ndjson.gz --posts posts.csv --resume
    """
    settings = load_settings()
    if state is not None and not resume:
        raise click.UsageError("--state is the bookmark of --resume; add --resume")
    if resume and STDIN in events:
        raise click.UsageError("--resume needs files: standard input cannot be read again")
    if posts is not None and not posts.is_file():
        raise click.UsageError(f"--posts: {posts} is not a file")
    bookmark = Bookmark(state or default_state(settings, events), events) if resume else None
    known = read_post_csv(posts) if posts is not None else None
    progress = Progress(sys.stderr, "replayed")
    with open_publisher(settings) as publisher:
        summary = send_files(
            events,
            publisher,
            settings.topics,
            ReplayPolicy(strict, PacePolicy(rate, speed)),
            posts=known,
            bookmark=bookmark,
            progress=progress,
            complain=lambda said: click.echo(said, err=True),
        )
    progress.end()
    show(summary, as_json)


@click.command()
@click.option(
    "--events",
    default=10_000,
    show_default=True,
    type=click.IntRange(0),
    help="Likes, shares, comments and retractions.",
)
@click.option("--posts", default=200, show_default=True, type=click.IntRange(1), help="Posts, which come on top.")
@click.option(
    "--seed",
    default=1,
    show_default=True,
    type=click.IntRange(0),
    help="The same seed and options give the same bytes.",
)
@click.option(
    "--start",
    default="2026-01-01T00:00:00Z",
    show_default=True,
    help="ISO 8601 with zone; 'now': it ends at this minute.",
)
@click.option(
    "--hours",
    default=24.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="How long all of it lasts.",
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="At most so many events a second.")
@click.option(
    "--out", type=click.Path(path_type=Path, allow_dash=True), help="NDJSON file (- is stdout) instead of Kafka."
)
@click.option(
    "--retractions", default=0.02, show_default=True, type=SHARE, help="Share of events that take another back."
)
@click.option("--duplicates", default=0.0, type=SHARE, help="Share that is sent again.")
@click.option("--late", default=0.0, type=SHARE, help="Share that is sent 1 to 6 hours after it occurred.")
@click.option("--out-of-order", default=0.0, type=SHARE, help="Share that is sent some minutes after it occurred.")
@click.option("--future", default=0.0, type=SHARE, help="Share that is dated after the year 2100: dead letters.")
@click.option("--malformed", default=0.0, type=SHARE, help="Share that is no event (19 flaws in turn): dead letters.")
@click.option(
    "--awkward", default=0.0, type=SHARE, help="Share taken back early, twice, in vain; one id on two kinds or posts."
)
@click.option("--spike", "spikes", multiple=True, help="hashtag:NAME@MINUTExFACTOR, or mention:...: a planted spike.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON on stdout.")
def simulate(
    start: str, rate: float | None, out: Path | None, spikes: tuple[str, ...], as_json: bool, **amounts: Any
) -> None:
    """Send a seeded, self-exciting social network into Kafka, or write it to a file.

    \b
    Example: engagement simulate --events 100000 --posts 2000 --duplicates 0.05 --spike hashtag:launch@600x20
    """
    policy = SimulationPolicy(
        start=parse_start(start, amounts["hours"]), spikes=tuple(map(PlantedSpike.parse, spikes)), **amounts
    )
    if out is not None and as_json and str(out) == STDIN:
        raise click.UsageError("--out - and --json both want stdout; leave one out")
    records = paced(simulated_records(policy), rate)
    progress = Progress(sys.stderr, "simulated")
    if out is not None:
        summary = write_records(records, out, progress)
    else:
        settings = load_settings()
        with open_publisher(settings) as publisher:
            summary = send_records(records, publisher, settings.topics, settings.partitions, progress)
    progress.end()
    if str(out) != STDIN:
        show(summary, as_json)


def parse_start(said: str, hours: float) -> datetime:
    """Raises click.BadParameter for a time without zone."""
    if said == "now":
        return datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=hours)
    try:
        start = datetime.fromisoformat(said)
    except ValueError:
        raise click.BadParameter(
            f"{said!r} is no ISO 8601 time like 2026-01-01T00:00:00Z", param_hint="--start"
        ) from None
    if start.tzinfo is None:
        raise click.BadParameter(f"{said!r} names no zone; add Z for UTC", param_hint="--start")
    return start


def default_state(settings: Settings, events: tuple[str, ...]) -> Path:
    """One bookmark for each set of files, cluster and topic prefix."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    named = [settings.kafka, settings.topic_prefix, *(str(Path(name).resolve()) for name in events)]
    return base / "engagement" / f"replay-{hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]}.json"


def show(summary: Summary, as_json: bool) -> None:
    """The end of a replay, for a program or for people."""
    said = summary.as_dict()
    if as_json:
        click.echo(json.dumps(said))
        return
    kinds = ", ".join(f"{count:,} {kind}s" for kind, count in said["sent"].items()) or "nothing"
    click.echo(f"sent {said['total']:,} events ({kinds}) in {said['seconds']:.1f} s: {said['per_second']:,.0f}/s")
    if said["skipped_lines"]:
        click.echo(f"{said['skipped_lines']:,} lines were sent by an earlier replay")
    if said["bad_lines"]:
        click.echo(f"{said['bad_lines']:,} lines were not events and were left out", err=True)
    if said["malformed"]:
        click.echo(f"{said['malformed']:,} more records were malformed on purpose")

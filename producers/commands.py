"""The commands `replay` and `simulate`."""

import hashlib
import json
import os
import sys
from pathlib import Path

import click

from pipeline.publisher import open_publisher
from pipeline.settings import Settings, load_settings
from producers.bookmark import Bookmark
from producers.inputs import STDIN, read_posts
from producers.pacing import PacePolicy
from producers.progress import Progress
from producers.replay import ReplayPolicy, Summary
from producers.replay import replay as send_files


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
    known = read_posts(posts) if posts is not None else None
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
    click.echo(
        f"sent {said['total']:,} events ({kinds}) in {said['seconds']:.1f} s: {said['per_second']:,.0f}/s, all acked"
    )
    if said["skipped_lines"]:
        click.echo(f"{said['skipped_lines']:,} lines were sent by an earlier replay")
    if said["bad_lines"]:
        click.echo(f"{said['bad_lines']:,} lines were not events and were left out", err=True)

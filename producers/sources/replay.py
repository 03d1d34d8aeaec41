"""Replay: files of events, at least once. A resumed replay goes on behind the last acked line."""

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click

from pipeline.event_files import STDIN, EventFile
from pipeline.settings import Settings, load_settings
from producers.bookmark import Bookmark, FilePosition
from producers.command import JSON_OPTION, RATE_OPTION, print_summary, send_to_kafka
from producers.event_lines import Parse, ParsedLine, format_of, read_post_csv
from producers.pacing import PacePolicy
from producers.sending import SendPolicy
from producers.source import SKIPPED, BadInput, Source, SourceItem, SourceRecord
from schemas.events import InvalidEvent


class ReplaySource(Source):
    """The events of files in order, each post of `posts` before its first event. With a bookmark the source is
    resumable."""

    verb = "replayed"

    def __init__(
        self, names: tuple[str, ...], posts: dict[str, ParsedLine] | None = None, bookmark: Bookmark | None = None
    ) -> None:
        self._names, self._posts, self._bookmark = names, posts or {}, bookmark
        self.is_resumable = bookmark is not None
        self._position = (0, 0)
        self._file: EventFile | None = None

    def items(self) -> Iterator[SourceItem]:
        start = self._bookmark.read() if self._bookmark else FilePosition()
        self._position = (start.file, start.line)
        unsent_posts = dict(self._posts)
        for number in range(start.file, len(self._names)):
            yield from self._items_of_file(number, start.line if number == start.file else 0, unsent_posts)
        for post in unsent_posts.values():
            yield _record(post, goes_along=True)

    @property
    def fraction(self) -> float | None:
        return None if self._file is None else self._file.fraction

    def save_position(self) -> None:
        if self._bookmark is not None:
            self._bookmark.write(FilePosition(*self._position))

    def forget_position(self) -> None:
        if self._bookmark is not None:
            self._bookmark.remove()

    def _items_of_file(self, number: int, sent_lines: int, unsent_posts: dict[str, ParsedLine]) -> Iterator[SourceItem]:
        """Yields the items of file `number`, whose first `sent_lines` lines an earlier replay has sent."""
        name = self._names[number]
        self._file = EventFile(name)
        parse: Parse | None = None
        for line_number, line in self._file.lines():
            parse = parse or format_of(line)
            if line_number <= sent_lines:
                yield SKIPPED
                continue
            try:
                parsed = parse(line)
            except InvalidEvent as error:
                self._position = (number, line_number)
                yield BadInput(f"{name}:{line_number}", str(error))
                continue
            post = unsent_posts.pop(parsed.event["post_id"], None) if unsent_posts else None
            if post is not None:
                yield _record(post, parsed.event["occurred_at"])
            self._position = (number, line_number)
            yield _record(parsed, parsed.event["occurred_at"], goes_along=post is not None)


def _record(parsed: ParsedLine, occurred: datetime | None = None, goes_along: bool = False) -> SourceRecord:
    return SourceRecord(parsed.event["kind"], parsed.event["post_id"].encode(), parsed.value, occurred, goes_along)


@click.command("replay")
@click.argument("events", nargs=-1, required=True)
@click.option(
    "--posts", type=click.Path(path_type=Path), help="CSV: post_id,author_id,created_at,channel; sent as post events."
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds of event time a second; as fast as it can without.",
)
@RATE_OPTION
@click.option(
    "--resume", is_flag=True, help="Go on where the last --resume of these files stopped, and keep a bookmark."
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="The bookmark's file; by default one below ~/.local/state/engagement.",
)
@click.option("--strict", is_flag=True, help="Stop at the first bad line instead of skipping it.")
@JSON_OPTION
def replay_files(
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
    source = ReplaySource(events, read_post_csv(posts) if posts is not None else None, bookmark)
    print_summary(send_to_kafka(source, settings, SendPolicy(strict, PacePolicy(rate, speed))), as_json)


def default_state(settings: Settings, events: tuple[str, ...]) -> Path:
    """Returns the file of the bookmark: one for each set of files, cluster and topic prefix."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    named = [settings.kafka, settings.topic_prefix, *(str(Path(name).resolve()) for name in events)]
    return base / "engagement" / f"replay-{hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]}.json"
